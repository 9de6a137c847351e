#!/usr/bin/env python3
"""Makes an MLX folder of the SmolLM2 GGUF, for mlx-lm.

    .cache/oracle/venv/bin/python scripts/oracle/smollm2_to_mlx.py [GGUF [FOLDER]]

MLX reads the file itself (mx.load of .gguf), so the packed weights, scales and
biases are MLX's own reading of it and owe nothing to models/gguf. What is left to
do here is what files of the llama architecture differ in: names, and the order of
rows in the query and key projections. config.json, tokenizer.json and
tokenizer_config.json are made of the file's metadata.
"""

import json
import pathlib
import sys

import mlx.core as mx
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
GGUF = ROOT / ".cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
OUT = ROOT / ".cache/oracle/smollm2"

MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hf_name(name):
    if name.startswith("blk."):
        _, layer, module, part = name.split(".")
        return f"model.layers.{layer}.{MODULES[module]}.{part}"
    module, part = name.split(".")
    return {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[module] + "." + part


def split_halves(w, heads):
    """Rows 2i and 2i+1 of a head, the pairs that the file keeps together, become
    rows i and i+half, as Hugging Face and MLX have them."""
    return w.reshape(heads, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def convert(gguf, out):
    mx.set_default_device(mx.cpu)
    tensors, meta = mx.load(str(gguf), return_metadata=True)
    number = lambda key: meta[key].item()
    heads, kv_heads = number("llama.attention.head_count"), number("llama.attention.head_count_kv")

    weights = {}
    for name, w in tensors.items():
        if ".attn_q." in name:
            w = split_halves(w, heads)
        elif ".attn_k." in name:
            w = split_halves(w, kv_heads)
        weights[hf_name(name)] = w

    quantization = {"group_size": 32, "bits": 4}
    for name, scales in weights.items():
        if name.endswith(".scales"):
            module = name.removesuffix(".scales")
            bits = 32 * weights[module + ".weight"].shape[-1] // (32 * scales.shape[-1])
            if bits != quantization["bits"]:
                quantization[module] = {"group_size": 32, "bits": bits}
    config = dict(
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        hidden_size=number("llama.embedding_length"),
        intermediate_size=number("llama.feed_forward_length"),
        num_hidden_layers=number("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=number("llama.embedding_length") // heads,
        max_position_embeddings=number("llama.context_length"),
        rms_norm_eps=float(f"{number('llama.attention.layer_norm_rms_epsilon'):.7g}"),
        rope_theta=number("llama.rope.freq_base"),
        vocab_size=number("llama.vocab_size"),
        tie_word_embeddings="lm_head.weight" not in weights,
        bos_token_id=number("tokenizer.ggml.bos_token_id"),
        eos_token_id=number("tokenizer.ggml.eos_token_id"),
        quantization=quantization,
    )
    out.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(out / "model.safetensors"), weights, {"format": "mlx"})
    (out / "config.json").write_text(json.dumps(config, indent=1))

    vocab, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"].tolist()
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(vocab)}, merges=merges))
    # tokenizer.ggml.pre is "smollm"
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True) for x, kind in zip(vocab, kinds) if kind == 3])
    t.save(str(out / "tokenizer.json"))
    token = lambda key: vocab[number(f"tokenizer.ggml.{key}_token_id")]
    (out / "tokenizer_config.json").write_text(
        json.dumps(
            dict(
                tokenizer_class="PreTrainedTokenizerFast",
                bos_token=token("bos"),
                eos_token=token("eos"),
                pad_token=token("padding"),
                unk_token=token("unknown"),
                chat_template=meta["tokenizer.chat_template"],
                clean_up_tokenization_spaces=False,
            )
        )
    )


if __name__ == "__main__":
    arguments = [pathlib.Path(a) for a in sys.argv[1:]]
    convert(*(arguments + [GGUF, OUT][len(arguments) :]))
