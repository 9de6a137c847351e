"""Makes what models/gguf is tested against, in models/gguf/testdata.

tiny-llama.gguf, tiny-qwen3moe.gguf, tiny-mixtral.gguf, tiny-lfm2.gguf, tiny-lfm2moe.gguf, tiny-gemma.gguf,
tiny-gemma2.gguf, tiny-gemma3.gguf
                                      small files with every supported tensor and value type
NAME.tsv                              what mlx.core.load makes of the file, one array a row:
                                      GGUF name, Hugging Face name, dtype, shape, sha256, and
                                      the sha256 under the Hugging Face name ("=" if the same);
                                      a shape that is another one there stands behind a ">"
tiny-*.json                           the config.json that belongs to it

NAME is also SmolLM2-135M-Instruct.Q4_1, if that file is in .cache. MLX reads the
files that this script wrote or that are pinned by sha256; it must not read others, for it
crashes on broken ones. BF16 is the one type where MLX's reader is no oracle: it rounds to
float16, and models/gguf keeps the bits.

Needs mlx[cpu]==0.32.2, gguf==0.19.0, numpy:
    .cache/oracle/venv/bin/python scripts/oracle/gguf_goldens.py [--check]
"""
import hashlib
import json

import gguf
import golden
import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)
REAL = golden.ROOT / ".cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
REAL_SHA = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
T = gguf.GGMLQuantizationType
V = gguf.GGUFValueType

MODULES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.switch_mlp.gate_proj", "ffn_up_exps": "mlp.switch_mlp.up_proj",
    "ffn_down_exps": "mlp.switch_mlp.down_proj",
}


GEMMA = {"post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}


def hf_name(name, experts="mlp", modules=MODULES):
    p = name.split(".")
    if p[0] == "blk":
        if p[2].endswith("_exps") or p[2] == "ffn_gate_inp":
            return f"model.layers.{p[1]}.{MODULES[p[2]].replace('mlp', experts, 1)}.{p[3]}"
        return f"model.layers.{p[1]}.{modules[p[2]]}.{p[3]}"
    return {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[p[0]] + "." + p[1]


def permute(w, heads):  # convert_hf_to_gguf.py, LlamaModel.permute
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def sha(a):
    return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()


def goldens(path, out, heads, kv_heads, bf16=None, originals=None, experts="mlp", modules=MODULES, shift=0):
    """bf16: the 16-bit patterns of those tensors by name; originals: rows before permute, or
    norms before the shift, by name; shift: what the converter adds to norms."""
    rows = []
    for name, a in mx.load(str(path)).items():
        a, dtype = np.array(a), str(a.dtype).removeprefix("mlx.core.")
        if bf16 and name in bf16:
            a, dtype = bf16[name], "bfloat16"
        h = a
        if heads and ".attn_q." in name:
            h = unpermute(a, heads)
        if shift and name.endswith("norm.weight"):
            h = a - np.float32(shift)
        if heads and ".attn_k." in name:
            h = unpermute(a, kv_heads)
        if originals and name in originals:
            assert sha(h) == sha(originals[name]), name
        rows.append("\t".join([name, hf_name(name, experts, modules), dtype, "x".join(map(str, a.shape)), sha(a), "=" if sha(h) == sha(a) else sha(h)]))
    with open(out, "w") as f:
        f.write("\n".join(sorted(rows)) + "\n")


def random_blocks(rng, type_, *shape):
    """Blocks of random codes under the float16 scales where exponent arithmetic goes wrong."""
    block = {T.Q4_0: 18, T.Q4_1: 20, T.Q8_0: 34}[type_]
    n = int(np.prod(shape)) // 32
    data = rng.integers(0, 256, (n, block), dtype=np.uint8)
    scales = rng.standard_normal(n).astype(np.float16)
    edge = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x007F, 0x0080, 0x03FF, 0x0400, 0x8400, 0x5FFF, 0x6000,
                     0x6BFF, 0x6C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00], dtype=np.uint16).view(np.float16)
    scales[: len(edge)] = edge[:n]
    data[:, :2] = scales.view(np.uint8).reshape(n, 2)
    return data.reshape(*shape[:-1], -1)


def add(w, name, a, type_):
    if type_ in (T.F32, T.F16):
        w.add_tensor(name, a.astype(np.float32 if type_ == T.F32 else np.float16))
    else:
        w.add_tensor(name, a if a.dtype == np.uint8 else gguf.quants.quantize(a, type_), raw_dtype=type_)


def tiny_llama(folder):
    rng = np.random.default_rng(1)
    d, ff, vocab, heads, kv = 64, 96, 48, 4, 2
    path = f"{folder}/tiny-llama.gguf"
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(128), w.add_block_count(2), w.add_embedding_length(d), w.add_feed_forward_length(ff)
    w.add_head_count(heads), w.add_head_count_kv(kv), w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(50000.0)
    w.add_vocab_size(vocab), w.add_rope_dimension_count(d // heads)
    w.add_tokenizer_model("gpt2"), w.add_tokenizer_pre("smollm"), w.add_token_list(["t", "0", "1", "t0", "t1"] + [f"t{i}é" for i in range(5, vocab)])
    w.add_token_types([3] + [1] * (vocab - 1)), w.add_token_merges(["t 0", "t 1"])
    w.add_bos_token_id(1), w.add_eos_token_id(2), w.add_eot_token_id(5), w.add_eom_token_id(4), w.add_add_bos_token(False), w.add_chat_template("{{ messages }}")
    for key, value, kind in [("u8", 200, V.UINT8), ("i8", -100, V.INT8), ("u16", 60000, V.UINT16), ("i16", -30000, V.INT16),
                             ("u32", 4000000000, V.UINT32), ("i32", -2000000000, V.INT32), ("f32", 0.1, V.FLOAT32),
                             ("bool", True, V.BOOL), ("string", "grüße", V.STRING), ("u64", 2**63 + 1, V.UINT64),
                             ("i64", -(2**62), V.INT64)]:  # no float64: MLX takes 4 bytes of the 8, and crashes
        w.add_key_value("test." + key, value, kind)
        # An array of every element type.
        w.add_key_value("test.array." + key, [value, value], V.ARRAY, kind)
    originals, bf16 = {}, {}

    def proj(name, rows, cols, type_, h=0):
        x = rng.standard_normal((rows, cols)).astype(np.float32)
        if h:
            if type_ == T.F16:
                originals[name] = x.astype(np.float16)
            x = permute(x, h)
        if type_ == T.BF16:
            bf16[name] = gguf.quants.quantize(x, T.BF16).view(np.uint16)
        add(w, name, x, type_)

    proj("token_embd.weight", vocab, d, T.Q8_0)
    kinds = [dict(attn_q=T.Q4_1, attn_k=T.Q4_0, attn_v=T.Q8_0, attn_output=T.F16, ffn_up=T.BF16),
             dict(attn_q=T.F16, attn_k=T.F16, attn_v=T.BF16, attn_output=T.F32, ffn_up=T.Q4_1)]
    for i, k in enumerate(kinds):
        b = f"blk.{i}."
        add(w, b + "attn_norm.weight", rng.standard_normal(d), T.F32)
        proj(b + "attn_q.weight", d, d, k["attn_q"], heads)
        proj(b + "attn_k.weight", kv * d // heads, d, k["attn_k"], kv)
        proj(b + "attn_v.weight", kv * d // heads, d, k["attn_v"])
        proj(b + "attn_output.weight", d, d, k["attn_output"])
        add(w, b + "ffn_norm.weight", rng.standard_normal(d), T.F32)
        add(w, b + "ffn_gate.weight", random_blocks(rng, [T.Q4_0, T.Q8_0][i], ff, d), [T.Q4_0, T.Q8_0][i])
        proj(b + "ffn_up.weight", ff, d, k["ffn_up"])
        add(w, b + "ffn_down.weight", random_blocks(rng, T.Q4_1, d, ff), T.Q4_1)
    add(w, "output_norm.weight", rng.standard_normal(d), T.F32)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    goldens(path, f"{folder}/tiny-llama.tsv", heads, kv, bf16, originals)
    config = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=d, intermediate_size=ff, num_hidden_layers=2,
                  num_attention_heads=heads, num_key_value_heads=kv, head_dim=d // heads, rms_norm_eps=1e-5, rope_theta=50000.0,
                  vocab_size=vocab, max_position_embeddings=128, tie_word_embeddings=True, attention_bias=False,
                  bos_token_id=1, eos_token_id=2,
                  quantization={"group_size": 32, "bits": 4, **{m: {"group_size": 32, "bits": 8} for m in (
                      "model.embed_tokens", "model.layers.0.self_attn.v_proj", "model.layers.1.mlp.gate_proj")}})
    json.dump(config, open(f"{folder}/tiny-llama.json", "w"), indent=1)


def tiny_qwen3moe(folder):
    rng = np.random.default_rng(2)
    d, ff, moe, vocab, heads, kv, hd, experts = 32, 64, 32, 40, 2, 1, 32, 4
    path = f"{folder}/tiny-qwen3moe.gguf"
    w = gguf.GGUFWriter(path, "qwen3moe")
    w.add_context_length(64), w.add_block_count(1), w.add_embedding_length(d), w.add_feed_forward_length(ff)
    w.add_head_count(heads), w.add_head_count_kv(kv), w.add_key_length(hd), w.add_value_length(hd)
    w.add_layer_norm_rms_eps(1e-6), w.add_rope_freq_base(1000000.0)
    w.add_expert_count(experts), w.add_expert_used_count(2), w.add_expert_feed_forward_length(moe)
    x = lambda *s: rng.standard_normal(s).astype(np.float32)
    add(w, "token_embd.weight", x(vocab, d), T.Q4_1)
    add(w, "output.weight", x(vocab, d), T.Q8_0)
    add(w, "output_norm.weight", x(d), T.F32)
    for name in ("attn_norm", "ffn_norm"):
        add(w, f"blk.0.{name}.weight", x(d), T.F32)
    for name in ("attn_q_norm", "attn_k_norm"):
        add(w, f"blk.0.{name}.weight", x(hd), T.F32)
    for name, rows, cols in (("attn_q", heads * hd, d), ("attn_k", kv * hd, d), ("attn_v", kv * hd, d), ("attn_output", d, heads * hd)):
        add(w, f"blk.0.{name}.weight", x(rows, cols), T.Q8_0)
    add(w, "blk.0.ffn_gate_inp.weight", x(experts, d), T.F32)
    add(w, "blk.0.ffn_gate_exps.weight", x(experts, moe, d), T.Q4_0)
    add(w, "blk.0.ffn_up_exps.weight", x(experts, moe, d), T.Q8_0)
    add(w, "blk.0.ffn_down_exps.weight", x(experts, d, moe), T.Q4_1)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    goldens(path, f"{folder}/tiny-qwen3moe.tsv", 0, 0)
    q8 = {"group_size": 32, "bits": 8}
    q4 = {"group_size": 32, "bits": 4}
    config = dict(model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], hidden_size=d, intermediate_size=ff, num_hidden_layers=1,
                  num_attention_heads=heads, num_key_value_heads=kv, head_dim=hd, rms_norm_eps=1e-6, rope_theta=1000000.0,
                  vocab_size=vocab, max_position_embeddings=64, tie_word_embeddings=False, attention_bias=False,
                  num_experts=experts, num_experts_per_tok=2, moe_intermediate_size=moe, norm_topk_prob=True,
                  decoder_sparse_step=1, mlp_only_layers=[],
                  quantization={**q8, "model.embed_tokens": q4, "model.layers.0.mlp.switch_mlp.gate_proj": q4,
                                "model.layers.0.mlp.switch_mlp.down_proj": q4})
    json.dump(config, open(f"{folder}/tiny-qwen3moe.json", "w"), indent=1)


def tiny_mixtral(folder):
    """What convert_hf_to_gguf.py makes of a Mixtral: architecture llama, with experts."""
    rng = np.random.default_rng(3)
    d, ff, vocab, heads, kv, experts = 64, 96, 40, 4, 2, 4
    path = f"{folder}/tiny-mixtral.gguf"
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(64), w.add_block_count(1), w.add_embedding_length(d), w.add_feed_forward_length(ff)
    w.add_head_count(heads), w.add_head_count_kv(kv), w.add_rope_dimension_count(d // heads)
    w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(1000000.0)
    w.add_expert_count(experts), w.add_expert_used_count(2)
    x = lambda *s: rng.standard_normal(s).astype(np.float32)
    add(w, "token_embd.weight", x(vocab, d), T.Q4_0)
    add(w, "output.weight", x(vocab, d), T.Q8_0)
    add(w, "output_norm.weight", x(d), T.F32)
    for name in ("attn_norm", "ffn_norm"):
        add(w, f"blk.0.{name}.weight", x(d), T.F32)
    for name, rows, h in (("attn_q", d, heads), ("attn_k", kv * d // heads, kv)):
        add(w, f"blk.0.{name}.weight", permute(x(rows, d), h), T.Q4_1)
    for name, rows in (("attn_v", kv * d // heads), ("attn_output", d)):
        add(w, f"blk.0.{name}.weight", x(rows, d), T.Q4_0)
    add(w, "blk.0.ffn_gate_inp.weight", x(experts, d), T.F16)
    add(w, "blk.0.ffn_gate_exps.weight", x(experts, ff, d), T.Q4_0)
    add(w, "blk.0.ffn_up_exps.weight", x(experts, ff, d), T.Q4_1)
    add(w, "blk.0.ffn_down_exps.weight", x(experts, d, ff), T.Q8_0)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    goldens(path, f"{folder}/tiny-mixtral.tsv", heads, kv, experts="block_sparse_moe")
    q8 = {"group_size": 32, "bits": 8}
    config = dict(model_type="mixtral", architectures=["MixtralForCausalLM"], hidden_size=d, intermediate_size=ff, num_hidden_layers=1,
                  num_attention_heads=heads, num_key_value_heads=kv, head_dim=d // heads, rms_norm_eps=1e-5, rope_theta=1000000.0,
                  vocab_size=vocab, max_position_embeddings=64, tie_word_embeddings=False, attention_bias=False,
                  num_local_experts=experts, num_experts_per_tok=2,
                  quantization={"group_size": 32, "bits": 4, "lm_head": q8, "model.layers.0.block_sparse_moe.switch_mlp.down_proj": q8})
    json.dump(config, open(f"{folder}/tiny-mixtral.json", "w"), indent=1)


def tiny_lfm2(folder, arch):
    """What convert_hf_to_gguf.py makes of an LFM2 with attention in its second layer, experts there and
    behind it: filters are matrices, experts are stacked. The names are those of gguf-py's own table."""
    rng = np.random.default_rng(5)
    moe = arch == gguf.MODEL_ARCH.LFM2MOE
    d, ff, expert, vocab, heads, kv, experts, layers, taps = 64, 96, 32, 40, 4, 2, 4, 3, 3
    name = gguf.MODEL_ARCH_NAMES[arch]
    path = f"{folder}/tiny-{name}.gguf"
    names = gguf.get_tensor_name_map(arch, layers)
    w = gguf.GGUFWriter(path, name)
    w.add_context_length(64), w.add_block_count(layers), w.add_embedding_length(d), w.add_feed_forward_length(ff)
    w.add_head_count(heads), w.add_head_count_kv([0, kv, 0]), w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(1000000.0)
    w.add_vocab_size(vocab), w.add_shortconv_l_cache(taps)
    if moe:
        w.add_expert_count(experts), w.add_expert_used_count(2), w.add_expert_feed_forward_length(expert)
        w.add_leading_dense_block_count(1), w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    rows, x = [], lambda *s: rng.standard_normal(s).astype(np.float32)

    def put(source, ours, a, type_, suffix="weight", shape=None):
        """source: the module as the converter looks it up; ours: mlx-lm's name; shape: mlx-lm's, where it is another one."""
        full = f"{names.get_name(source)}.{suffix}"
        add(w, full, a, type_)
        rows.append((names.get_name(source), suffix, ours, shape))

    put("model.embed_tokens", "model.embed_tokens", x(vocab, d), T.Q8_0)
    put("model.embedding_norm", "model.embedding_norm", x(d), T.F32)
    for i in range(layers):
        m = f"model.layers.{i}"
        for norm in ("operator_norm", "ffn_norm"):
            put(f"{m}.{norm}", f"{m}.{norm}", x(d), T.F32)
        if i == 1:
            for p, n in (("q_proj", d), ("k_proj", kv * d // heads), ("v_proj", kv * d // heads), ("out_proj", d)):
                put(f"{m}.self_attn.{p}", f"{m}.self_attn.{p}", x(n, d), T.Q4_0)
            for p in ("q_layernorm", "k_layernorm"):
                put(f"{m}.self_attn.{p}", f"{m}.self_attn.{p}", x(d // heads), T.F32)
        else:
            put(f"{m}.conv.in_proj", f"{m}.conv.in_proj", x(3 * d, d), T.Q4_0)
            put(f"{m}.conv.out_proj", f"{m}.conv.out_proj", x(d, d), T.Q8_0)
            put(f"{m}.conv.conv", f"{m}.conv.conv", x(d, 1, taps).squeeze(1), T.F32, shape=(d, taps, 1))
        block = f"{m}.feed_forward"
        ours = dict(w1="gate_proj", w2="down_proj", w3="up_proj") if moe else dict(w1="w1", w2="w2", w3="w3")
        if not moe or i < 1:
            for p, shape in (("w1", (ff, d)), ("w2", (d, ff)), ("w3", (ff, d))):
                put(f"{block}.{p}", f"{block}.{ours[p]}", x(*shape), T.Q4_0)
            continue
        put(f"{block}.gate", f"{block}.gate", x(experts, d), T.F32)
        put(f"{block}.expert_bias", f"{block}.expert_bias", x(experts), T.F32, "bias")
        for p, shape in (("w1", (expert, d)), ("w2", (d, expert)), ("w3", (expert, d))):
            put(f"layers.{i}.feed_forward.experts.{p}", f"{block}.switch_mlp.{ours[p]}", x(experts, *shape), T.Q4_1)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    loaded, out = mx.load(str(path)), []
    for module, suffix, ours, shape in rows:
        for s in (suffix, "scales", "biases"):
            if f"{module}.{s}" in loaded:
                a = np.array(loaded[f"{module}.{s}"])
                text = "x".join(map(str, a.shape)) + (">" + "x".join(map(str, shape)) if shape else "")
                out.append("\t".join([f"{module}.{s}", ours if s == "bias" else f"{ours}.{s}", str(a.dtype), text, sha(a), "="]))
    assert len(out) == len(loaded)
    with open(f"{folder}/tiny-{name}.tsv", "w") as f:
        f.write("\n".join(sorted(out)) + "\n")
    q8 = {"group_size": 32, "bits": 8}
    config = dict(hidden_size=d, intermediate_size=ff, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=d // heads,
                  norm_eps=1e-5, rope_theta=1000000.0, vocab_size=vocab, max_position_embeddings=64, tie_word_embeddings=True,
                  layer_types=["conv", "full_attention", "conv"], conv_bias=False, conv_L_cache=taps,
                  quantization={"group_size": 32, "bits": 4, "model.embed_tokens": q8, "model.layers.0.conv.out_proj": q8, "model.layers.2.conv.out_proj": q8})
    if moe:
        config.update(model_type="lfm2_moe", architectures=["Lfm2MoeForCausalLM"], num_experts=experts, num_experts_per_tok=2, moe_intermediate_size=expert,
                      num_dense_layers=1, norm_topk_prob=True, use_expert_bias=True, routed_scaling_factor=1.0)
    else:
        config.update(model_type="lfm2", architectures=["Lfm2ForCausalLM"], block_dim=d, block_ff_dim=ff, block_multiple_of=1, block_auto_adjust_ff_dim=False)
def tiny_gemma(folder, name, arch, layers, **more):
    """What convert_hf_to_gguf.py makes of a Gemma: 1 is added to the weights of all norms."""
    rng = np.random.default_rng(4)
    d, ff, vocab, heads, kv, hd = 32, 64, 40, 2, 1, 32
    path = f"{folder}/tiny-{name}.gguf"
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(64), w.add_block_count(layers), w.add_embedding_length(d), w.add_feed_forward_length(ff)
    w.add_head_count(heads), w.add_head_count_kv(kv), w.add_key_length(hd), w.add_value_length(hd), w.add_layer_norm_rms_eps(1e-6)
    config = dict(model_type=arch, hidden_size=d, intermediate_size=ff, num_hidden_layers=layers, num_attention_heads=heads,
                  num_key_value_heads=kv, head_dim=hd, rms_norm_eps=1e-6, rope_theta=10000.0, vocab_size=vocab, max_position_embeddings=64,
                  tie_word_embeddings=True, attention_bias=False, quantization={"group_size": 32, "bits": 4, "model.embed_tokens": {"group_size": 32, "bits": 8}})
    norms = dict.fromkeys(("attn_norm", "ffn_norm"), d)
    if arch == "gemma":
        config.update(architectures=["GemmaForCausalLM"])
    else:
        norms.update(post_attention_norm=d, post_ffw_norm=d)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(50.0), w.add_final_logit_softcapping(30.0), w.add_sliding_window(16)
        config.update(architectures=["Gemma2ForCausalLM"], attn_logit_softcapping=50.0, final_logit_softcapping=30.0, sliding_window=16,
                      query_pre_attn_scalar=d // heads if layers == 46 else hd)
    if arch == "gemma3":
        norms.update(attn_q_norm=hd, attn_k_norm=hd)
        w.add_rope_freq_base(1000000.0), w.add_sliding_window(16)
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), w.add_rope_scaling_factor(8.0)
        config.update(model_type="gemma3_text", architectures=["Gemma3ForCausalLM"], rope_theta=1000000.0, rope_local_base_freq=10000.0, sliding_window=16,
                      sliding_window_pattern=6, query_pre_attn_scalar=hd, rope_scaling=dict(type="linear", factor=8.0))
    originals = {}

    def norm(name, n):  # bfloat16, as published
        x = (0.3 * rng.standard_normal(n)).astype(np.float32)
        originals[name] = (x.view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
        add(w, name, originals[name] + 1, T.F32)

    x = lambda *s: rng.standard_normal(s).astype(np.float32)
    add(w, "token_embd.weight", x(vocab, d), T.Q8_0)
    norm("output_norm.weight", d)
    for i in range(layers):
        for module, n in norms.items():
            norm(f"blk.{i}.{module}.weight", n)
        for module, rows, cols in (("attn_q", heads * hd, d), ("attn_k", kv * hd, d), ("attn_v", kv * hd, d), ("attn_output", d, heads * hd),
                                   ("ffn_gate", ff, d), ("ffn_up", ff, d), ("ffn_down", d, ff)):
            add(w, f"blk.{i}.{module}.weight", x(rows, cols), T.Q4_0)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    modules = MODULES if arch == "gemma" else {**MODULES, **GEMMA}
    goldens(path, f"{folder}/tiny-{name}.tsv", 0, 0, originals=originals, modules=modules, shift=1)
    json.dump(config, open(f"{folder}/tiny-{name}.json", "w"), indent=1)


def make(folder):
    tiny_gemma(folder, "gemma", "gemma", 1)
    tiny_gemma(folder, "gemma2", "gemma2", 1)
    tiny_gemma(folder, "gemma3", "gemma3", 6)
    tiny_llama(folder)
    tiny_qwen3moe(folder)
    tiny_mixtral(folder)
    tiny_lfm2(folder, gguf.MODEL_ARCH.LFM2)
    tiny_lfm2(folder, gguf.MODEL_ARCH.LFM2MOE)
    if REAL.exists():
        assert hashlib.sha256(REAL.read_bytes()).hexdigest() == REAL_SHA
        goldens(REAL, f"{folder}/SmolLM2-135M-Instruct.Q4_1.tsv", 9, 3)
    else:
        print("not there, its goldens are left as they are:", REAL)


if __name__ == "__main__":
    assert mx.__version__ == "0.32.2", mx.__version__
    golden.run(__doc__, "models/gguf/testdata", make)
