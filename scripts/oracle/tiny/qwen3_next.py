"""Qwen3-Next: gated delta nets, attention with a gate, a shared expert."""

import numpy as np

from . import COMMON, LONG
from . import RUNS as SHORT

NEXT = dict(
    COMMON,
    model_type="qwen3_next",
    num_hidden_layers=4,
    full_attention_interval=2,
    linear_num_value_heads=4,
    linear_num_key_heads=2,
    linear_key_head_dim=16,
    linear_value_head_dim=24,
    linear_conv_kernel_dim=4,
    num_experts=8,
    num_experts_per_tok=4,
    decoder_sparse_step=1,
    shared_expert_intermediate_size=64,
    mlp_only_layers=[1],
    moe_intermediate_size=64,
    partial_rotary_factor=0.25,
    norm_topk_prob=True,
    rms_norm_eps=5e-2,  # large: what a head gives may be nearly nothing, and its norm would be all error
    tie_word_embeddings=False,
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "qwen3_next-f32": (NEXT, "float32", None),
    "qwen3_next-f32-4bit": (dict(NEXT, linear_value_head_dim=32), "float32", (4, 32, "affine")),
    "qwen3_next-bf16-4bit": (dict(NEXT, num_hidden_layers=2, mlp_only_layers=[], linear_value_head_dim=32, num_experts_per_tok=8, attention_bias=True), "bfloat16", (4, 32, "affine")),
    "qwen3_next-heads-f32": (dict(NEXT, linear_num_key_heads=4, num_experts=0, mlp_only_layers=[], tie_word_embeddings=True), "float32", None),
}


def RUNS(name):
    return LONG if name == "qwen3_next-f32" else SHORT + [(1, [2, 1, 3])]


def weight(path, shape, rng):
    if path.endswith("A_log"):
        return np.log(rng.uniform(0.5, 8, shape))
    if path.endswith("dt_bias"):
        return rng.standard_normal(shape)
    return None
