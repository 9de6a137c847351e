#!/usr/bin/env python3
"""Makes models/gguf/testdata/tiny-gpt-oss.gguf, a GPT-OSS of two layers, and what is
expected of it: tiny-gpt-oss.tsv and tiny-gpt-oss.json, as gguf_goldens.py describes them.

MLX reads no MXFP4 from GGUF, so the arrays are those that mlx-lm itself makes of the
checkpoint in OpenAI's layout (Model.sanitize), from which the file was written with the
names of gguf-py. The two readings of a block, gguf-py's and MLX's, are compared number by
number here.

    .cache/oracle/venv/bin/python scripts/oracle/gguf_gpt_oss_goldens.py [--check]
"""

import json

import gguf
import golden
import mlx.core as mx
import numpy as np
from gguf_goldens import T, add, sha
from mlx_lm.models.gpt_oss import Model, ModelArgs

mx.set_default_device(mx.cpu)
LAYERS, D, FF, VOCAB, HEADS, KV, HD, EXPERTS = 2, 32, 64, 24, 2, 1, 32, 3


def checkpoint(rng):
    """The tensors of an original checkpoint. Exponents are of a range that float32 has."""
    x = lambda *s: rng.standard_normal(s).astype(np.float32)
    u8 = lambda lo, hi, *s: rng.integers(lo, hi, s, dtype=np.uint8)
    out = {"model.embed_tokens.weight": x(VOCAB, D), "model.norm.weight": x(D), "lm_head.weight": x(VOCAB, D)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        out.update({p + "input_layernorm.weight": x(D), p + "post_attention_layernorm.weight": x(D), p + "self_attn.sinks": x(HEADS)})
        for name, rows, cols in (("q", HEADS * HD, D), ("k", KV * HD, D), ("v", KV * HD, D), ("o", D, HEADS * HD)):
            out.update({f"{p}self_attn.{name}_proj.weight": x(rows, cols), f"{p}self_attn.{name}_proj.bias": x(rows)})
        out.update({p + "mlp.router.weight": x(EXPERTS, D), p + "mlp.router.bias": x(EXPERTS)})
        e = p + "mlp.experts."
        for name, rows, cols in (("gate_up_proj", 2 * FF, D), ("down_proj", D, FF)):
            out.update({e + name + "_blocks": u8(0, 256, EXPERTS, rows, cols // 32, 16), e + name + "_scales": u8(1, 252, EXPERTS, rows, cols // 32),
                        e + name + "_bias": x(EXPERTS, rows)})
    # Where exponent arithmetic goes wrong: the smallest and the largest numbers there are.
    out["model.layers.0.mlp.experts.down_proj_scales"][0, :4, 0] = 0, 1, 2, 252
    return out


def ggml_blocks(weight, scales):
    """MLX's codes, eight to a uint32, as ggml's blocks: an exponent, then 16 bytes with
    number j in the low half of byte j and number j+16 in the high one."""
    codes = (np.array(weight)[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15).astype(np.uint8)
    codes = codes.reshape(*scales.shape, 2, 16)
    return np.concatenate([scales[..., None], codes[..., 0, :] | codes[..., 1, :] << 4], axis=-1).reshape(*scales.shape[:-1], -1)


def make(folder):
    source = checkpoint(np.random.default_rng(4))
    args = ModelArgs(num_hidden_layers=LAYERS, num_local_experts=EXPERTS, vocab_size=VOCAB, hidden_size=D, intermediate_size=FF, head_dim=HD,
                     num_attention_heads=HEADS, num_key_value_heads=KV)
    mlx = {k: np.array(v) for k, v in Model(args).sanitize({k: mx.array(v) for k, v in source.items()}).items()}

    path = f"{folder}/tiny-gpt-oss.gguf"
    w = gguf.GGUFWriter(path, "gpt-oss")
    w.add_context_length(131072), w.add_block_count(LAYERS), w.add_embedding_length(D), w.add_feed_forward_length(FF)
    w.add_head_count(HEADS), w.add_head_count_kv(KV), w.add_key_length(HD), w.add_value_length(HD)
    w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(150000.0)
    w.add_expert_count(EXPERTS), w.add_expert_used_count(2), w.add_expert_feed_forward_length(FF), w.add_sliding_window(16)
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN), w.add_rope_scaling_factor(32.0), w.add_rope_scaling_orig_ctx_len(4096)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT_OSS, LAYERS)
    rows = []
    for name in sorted(mlx):
        if name.endswith(".scales"):
            continue
        a, kind = mlx[name], T.F32
        to = names.get_name(name if not name.endswith("sinks") else name + ".weight", try_suffixes=(".weight", ".bias"))
        assert to, name
        parts = {"": a}
        if name.removesuffix(".weight") + ".scales" in mlx:
            scales = mlx[name.removesuffix(".weight") + ".scales"]
            kind, blocks = T.MXFP4, ggml_blocks(a, scales)
            ours = mx.dequantize(mx.array(a), mx.array(scales), group_size=32, bits=4, mode="mxfp4", dtype=mx.float32)
            theirs = gguf.quants.dequantize(blocks, T.MXFP4)
            assert np.array_equal(np.array(ours), theirs), name
            parts = {"weight": a, "scales": scales}
            add(w, to, blocks, kind)
        else:
            if "_proj.weight" in name or "embed_tokens" in name:
                kind, a = T.F16, a.astype(np.float16)
                parts = {"": a}
            add(w, to, a, kind)
        for part, x in parts.items():
            file, hf = (n.removesuffix("weight") + part if part else n for n in (to, name))
            rows.append("\t".join([file, hf, str(x.dtype), "x".join(map(str, x.shape)), sha(x)]))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    with open(f"{folder}/tiny-gpt-oss.tsv", "w") as f:
        f.write("\n".join(sorted(rows)) + "\n")
    config = dict(model_type="gpt_oss", architectures=["GptOssForCausalLM"], hidden_size=D, intermediate_size=FF, num_hidden_layers=LAYERS,
                  num_attention_heads=HEADS, num_key_value_heads=KV, head_dim=HD, rms_norm_eps=1e-5, rope_theta=150000.0,
                  rope_scaling=dict(type="yarn", factor=32.0, original_max_position_embeddings=4096), sliding_window=16,
                  vocab_size=VOCAB, max_position_embeddings=131072, tie_word_embeddings=False, attention_bias=True,
                  num_local_experts=EXPERTS, num_experts_per_tok=2, quantization=dict(group_size=32, bits=4, mode="mxfp4"))
    json.dump(config, open(f"{folder}/tiny-gpt-oss.json", "w"), indent=1)


if __name__ == "__main__":
    golden.run(__doc__, "models/gguf/testdata", make)
