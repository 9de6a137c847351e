#!/usr/bin/env python3
"""Makes a GGUF of a reference configuration with random 4-bit weights, to time llama.cpp on.

    python3 scripts/device/random_gguf.py Qwen3-30B-A3B-4bit /tmp/models/qwen3.gguf [--layers N]

Weights are Q4_0 throughout, the head and the embeddings too, as `llama-quantize --pure` makes
them; experts of gpt-oss are MXFP4, routers float32, as llama.cpp has them. One block of random
bytes is used over and over: what is timed depends on where a weight lies, not on what it is.
There is no vocabulary, only its size: llama-bench feeds random tokens. Needs numpy alone, so
that seventeen gigabytes take some seconds.
"""

import argparse
import json
import math
import pathlib
import struct
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
F32, Q4_0, MXFP4 = 0, 2, 39
BYTES = {F32: (1, 4), Q4_0: (32, 18), MXFP4: (32, 17)}  # elements of a block, bytes of it
POOL = 1 << 20  # blocks that differ


class Model:
    """Metadata and tensors in the order of the file. Shapes are GGUF's: columns first."""

    def __init__(self, arch):
        self.arch, self.kv, self.tensors = arch, {}, []

    def set(self, **kv):
        self.kv.update({k.replace("__", "."): v for k, v in kv.items()})

    def add(self, name, *shape, kind=Q4_0, fill=None):
        """fill: 1 for norms, 0 for biases, None for random values."""
        self.tensors.append((name, shape, kind, fill))

    def norm(self, name, n):
        self.add(name, n, kind=F32, fill=1)

    def bias(self, name, *shape):
        self.add(name, *shape, kind=F32, fill=0)

    def attention(self, b, hidden, heads, kv_heads, head, bias=False):
        for name, rows in ("q", heads), ("k", kv_heads), ("v", kv_heads):
            self.add(f"{b}.attn_{name}.weight", hidden, rows * head)
            if bias:
                self.bias(f"{b}.attn_{name}.bias", rows * head)
        self.add(f"{b}.attn_output.weight", heads * head, hidden)
        if bias:
            self.bias(f"{b}.attn_output.bias", hidden)

    def mlp(self, b, hidden, inner, suffix=""):
        for name in "gate", "up":
            self.add(f"{b}.ffn_{name}{suffix}.weight", hidden, inner)
        self.add(f"{b}.ffn_down{suffix}.weight", inner, hidden)

    def experts(self, b, hidden, inner, experts, kind=Q4_0):
        self.add(f"{b}.ffn_gate_inp.weight", hidden, experts, kind=F32)
        for name in "gate", "up":
            self.add(f"{b}.ffn_{name}_exps.weight", hidden, inner, experts, kind=kind)
        self.add(f"{b}.ffn_down_exps.weight", inner, hidden, experts, kind=kind)


def qwen3_moe(c):
    m = Model("qwen3moe")
    m.set(expert_count=c["num_experts"], expert_used_count=c["num_experts_per_tok"], expert_feed_forward_length=c["moe_intermediate_size"])
    for i in range(c["num_hidden_layers"]):
        b = f"blk.{i}"
        m.norm(f"{b}.attn_norm.weight", c["hidden_size"])
        m.attention(b, c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"])
        m.norm(f"{b}.attn_q_norm.weight", c["head_dim"])
        m.norm(f"{b}.attn_k_norm.weight", c["head_dim"])
        m.norm(f"{b}.ffn_norm.weight", c["hidden_size"])
        m.experts(b, c["hidden_size"], c["moe_intermediate_size"], c["num_experts"])
    return m


def lfm2_moe(c):
    m = Model("lfm2moe")
    full = [t == "full_attention" for t in c["layer_types"][: c["num_hidden_layers"]]]
    head = c["hidden_size"] // c["num_attention_heads"]
    m.set(expert_count=c["num_experts"], expert_used_count=c["num_experts_per_tok"], expert_feed_forward_length=c["moe_intermediate_size"],
          leading_dense_block_count=c["num_dense_layers"], expert_gating_func=2, shortconv__l_cache=c["conv_L_cache"],
          attention__head_count_kv=[c["num_key_value_heads"] * f for f in full])
    for i, attends in enumerate(full):
        b = f"blk.{i}"
        m.norm(f"{b}.attn_norm.weight", c["hidden_size"])
        if attends:
            m.attention(b, c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], head)
            m.norm(f"{b}.attn_q_norm.weight", head)
            m.norm(f"{b}.attn_k_norm.weight", head)
        else:
            m.add(f"{b}.shortconv.conv.weight", c["conv_L_cache"], c["hidden_size"], kind=F32)
            m.add(f"{b}.shortconv.in_proj.weight", c["hidden_size"], 3 * c["hidden_size"])
            m.add(f"{b}.shortconv.out_proj.weight", c["hidden_size"], c["hidden_size"])
        m.norm(f"{b}.ffn_norm.weight", c["hidden_size"])
        if i < c["num_dense_layers"]:
            m.mlp(b, c["hidden_size"], c["intermediate_size"])
        else:
            m.experts(b, c["hidden_size"], c["moe_intermediate_size"], c["num_experts"])
            m.bias(f"{b}.exp_probs_b.bias", c["num_experts"])
    return m


def gpt_oss(c):
    m = Model("gpt-oss")
    y = c["rope_scaling"]
    m.set(expert_count=c["num_local_experts"], expert_used_count=c["num_experts_per_tok"], expert_feed_forward_length=c["intermediate_size"],
          attention__sliding_window=c["sliding_window"], rope__scaling__type="yarn", rope__scaling__factor=float(y["factor"]),
          rope__scaling__original_context_length=y["original_max_position_embeddings"])
    for i in range(c["num_hidden_layers"]):
        b = f"blk.{i}"
        m.norm(f"{b}.attn_norm.weight", c["hidden_size"])
        m.attention(b, c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], bias=True)
        m.bias(f"{b}.attn_sinks.weight", c["num_attention_heads"])
        m.norm(f"{b}.post_attention_norm.weight", c["hidden_size"])
        m.experts(b, c["hidden_size"], c["intermediate_size"], c["num_local_experts"], MXFP4)
        m.bias(f"{b}.ffn_gate_inp.bias", c["num_local_experts"])
        for name, rows in ("gate", c["intermediate_size"]), ("up", c["intermediate_size"]), ("down", c["hidden_size"]):
            m.bias(f"{b}.ffn_{name}_exps.bias", rows, c["num_local_experts"])
    return m


def glm4_moe_lite(c):
    m = Model("deepseek2")
    rank, rope, nope, heads = c["kv_lora_rank"], c["qk_rope_head_dim"], c["qk_nope_head_dim"], c["num_attention_heads"]
    m.set(expert_count=c["n_routed_experts"], expert_used_count=c["num_experts_per_tok"], expert_shared_count=c["n_shared_experts"],
          expert_feed_forward_length=c["moe_intermediate_size"], expert_weights_scale=float(c["routed_scaling_factor"]),
          expert_weights_norm=c["norm_topk_prob"], expert_gating_func=2, expert_group_count=c["n_group"], expert_group_used_count=c["topk_group"],
          leading_dense_block_count=c["first_k_dense_replace"], attention__q_lora_rank=c["q_lora_rank"], attention__kv_lora_rank=rank,
          attention__head_count_kv=1, attention__key_length=rank + rope, attention__value_length=rank,
          attention__key_length_mla=nope + rope, attention__value_length_mla=c["v_head_dim"], rope__dimension_count=rope)
    for i in range(c["num_hidden_layers"]):
        b = f"blk.{i}"
        m.norm(f"{b}.attn_norm.weight", c["hidden_size"])
        m.norm(f"{b}.attn_q_a_norm.weight", c["q_lora_rank"])
        m.norm(f"{b}.attn_kv_a_norm.weight", rank)
        m.add(f"{b}.attn_q_a.weight", c["hidden_size"], c["q_lora_rank"])
        m.add(f"{b}.attn_q_b.weight", c["q_lora_rank"], heads * (nope + rope))
        m.add(f"{b}.attn_kv_a_mqa.weight", c["hidden_size"], rank + rope)
        m.add(f"{b}.attn_k_b.weight", nope, rank, heads)
        m.add(f"{b}.attn_v_b.weight", rank, c["v_head_dim"], heads)
        m.add(f"{b}.attn_output.weight", heads * c["v_head_dim"], c["hidden_size"])
        m.norm(f"{b}.ffn_norm.weight", c["hidden_size"])
        if i < c["first_k_dense_replace"]:
            m.mlp(b, c["hidden_size"], c["intermediate_size"])
        else:
            m.experts(b, c["hidden_size"], c["moe_intermediate_size"], c["n_routed_experts"])
            m.bias(f"{b}.exp_probs_b.bias", c["n_routed_experts"])
            m.mlp(b, c["hidden_size"], c["moe_intermediate_size"] * c["n_shared_experts"], "_shexp")
    return m


FAMILIES = dict(qwen3_moe=qwen3_moe, lfm2_moe=lfm2_moe, gpt_oss=gpt_oss, glm4_moe_lite=glm4_moe_lite)


def model(c):
    if c["model_type"] not in FAMILIES:
        raise SystemExit(f"{c['model_type']}: this script has no GGUF for it, only for {', '.join(FAMILIES)}")
    m = FAMILIES[c["model_type"]](c)
    lfm2 = m.arch == "lfm2moe"
    general = dict(
        vocab_size=c["vocab_size"], context_length=c["max_position_embeddings"], embedding_length=c["hidden_size"], block_count=c["num_hidden_layers"],
        feed_forward_length=c["intermediate_size"], attention__head_count=c["num_attention_heads"], attention__head_count_kv=c["num_key_value_heads"],
        attention__layer_norm_rms_epsilon=c.get("norm_eps") if lfm2 else c["rms_norm_eps"],
        rope__freq_base=float(c["rope_theta"] if "rope_theta" in c else c["rope_parameters"]["rope_theta"]),
    )
    if "head_dim" in c:
        general.update(attention__key_length=c["head_dim"], attention__value_length=c["head_dim"])
    own, m.kv = m.kv, {}
    m.set(**general)
    m.kv.update(own)  # a family's own word counts
    body, m.tensors = m.tensors, []
    m.add("token_embd.weight", c["hidden_size"], c["vocab_size"])
    m.norm("token_embd_norm.weight" if lfm2 else "output_norm.weight", c["hidden_size"])
    if not c["tie_word_embeddings"]:
        m.add("output.weight", c["hidden_size"], c["vocab_size"])
    m.tensors += body
    return m


def size(shape, kind):
    elements, width = BYTES[kind]
    if shape[0] % elements:
        raise SystemExit(f"rows of {shape[0]} elements cannot be packed in blocks of {elements}")
    return math.prod(shape) // elements * width


def string(s):
    return struct.pack("<Q", len(s)) + s.encode()


def value(v):
    if isinstance(v, bool):
        return struct.pack("<I?", 7, v)
    if isinstance(v, int):
        return struct.pack("<II", 4, v)
    if isinstance(v, float):
        return struct.pack("<If", 6, v)
    if isinstance(v, str):
        return struct.pack("<I", 8) + string(v)
    return struct.pack("<IIQ", 9, 4, len(v)) + struct.pack(f"<{len(v)}I", *v)


class Values:
    """Bytes of a tensor, as pieces to be written one after the other."""

    def __init__(self):
        self.random, self.pools = np.random.default_rng(1), {}

    def pool(self, columns, kind):
        if (columns, kind) not in self.pools:
            width = BYTES[kind][1]
            blocks = np.frombuffer(self.random.bytes(POOL * width), np.uint8).reshape(POOL, width).copy()
            if kind == Q4_0:  # codes stand for -8..7; without -8 they have no mean, and a deviation of 4.2
                codes = blocks[:, 2:]
                codes |= np.where(codes & 0x0F, 0, 0x08).astype(np.uint8) | np.where(codes & 0xF0, 0, 0x80).astype(np.uint8)
                blocks[:, :2] = np.frombuffer(np.float16(1 / 4.2 / columns**0.5).tobytes(), np.uint8)
            else:  # a deviation of 2.9, with a power of two
                blocks[:, 0] = 127 - round(0.5 * math.log2(8.4 * columns))
            self.pools[columns, kind] = memoryview(blocks.reshape(-1))
        return self.pools[columns, kind]

    def pieces(self, shape, kind, fill):
        if kind == F32:
            n = math.prod(shape)
            v = np.full(n, fill, np.float32) if fill is not None else self.random.standard_normal(n, np.float32) / shape[0] ** 0.5
            yield memoryview(v.astype(np.float32).view(np.uint8))
            return
        pool, left = self.pool(shape[0], kind), size(shape, kind)
        while left:
            piece = pool[:left]
            yield piece
            left -= len(piece)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("name", help="a reference configuration, or a config.json")
    p.add_argument("out")
    p.add_argument("--layers", type=int, help="only the first layers")
    args = p.parse_args()
    start = time.monotonic()
    path = pathlib.Path(args.name)
    config = json.loads((path if path.suffix == ".json" else ROOT / f"models/reference/{args.name}.json").read_text())
    if args.layers:
        config["num_hidden_layers"] = args.layers
    m = model(config)
    head = {"general.architecture": m.arch, "general.name": path.stem, "general.file_type": 2, "general.quantization_version": 2}
    head.update({f"{m.arch}.{k}": v for k, v in m.kv.items()})
    head["tokenizer.ggml.model"] = "none"
    text = b"GGUF" + struct.pack("<IQQ", 3, len(m.tensors), len(head)) + b"".join(string(k) + value(v) for k, v in head.items())
    at = 0
    for name, shape, kind, _ in m.tensors:
        text += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, at)
        at += -(-size(shape, kind) // 32) * 32
    pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    values = Values()
    with open(args.out + ".part", "wb", buffering=0) as f:
        f.write(text + b"\0" * (-len(text) % 32))
        for name, shape, kind, fill in m.tensors:
            written = 0
            for piece in values.pieces(shape, kind, fill):
                while len(piece):
                    n = f.write(piece)
                    piece = piece[n:]
                    written += n
            f.write(b"\0" * (-written % 32))
    pathlib.Path(args.out + ".part").rename(args.out)
    print(f"{args.name}: {len(m.tensors)} tensors, {at / 1e9:.2f} GB in {args.out}, {time.monotonic() - start:.1f} s")


main()
