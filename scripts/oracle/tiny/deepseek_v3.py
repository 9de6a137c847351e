"""DeepSeek-V3, and Kimi-K2, which mlx-lm reads as the same: latent attention, and groups
of experts of which the best are kept."""

from . import LONG
from . import RUNS as USUAL
from ._latent import LATENT, unmake, weight  # noqa: F401

YARN = dict(type="yarn", factor=40, original_max_position_embeddings=64, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
GROUPS = dict(n_routed_experts=16, n_group=4, topk_group=2)
DEEPSEEK = dict(LATENT, **GROUPS, model_type="deepseek_v3", routed_scaling_factor=2.5, rope_scaling=YARN)
# All experts, each weighed: a choice among them would be another one wherever an engine
# that rounds half types otherwise meets a near-tie.
ALL = dict(DEEPSEEK, n_routed_experts=8, num_experts_per_tok=8, n_group=1, topk_group=1)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    # MLX on the CPU has gather_mm, of experts that are not quantized, for float32 only.
    "deepseek_v3-f32": (DEEPSEEK, "float32", None),
    "deepseek_v3-f32-4bit": (DEEPSEEK, "float32", (4, 32, "affine")),
    "deepseek_v3-bf16-4bit": (ALL, "bfloat16", (4, 32, "affine")),
    "deepseek_v3-f16-4bit": (dict(ALL, qk_nope_head_dim=64, rope_scaling=dict(YARN, mscale=0.707)), "float16", (4, 64, "affine")),
    # Groups of two, one expert a token, no groups dropped, a dense model, queries and keys
    # that yarn scales.
    "deepseek_v3-pairs-f32": (dict(DEEPSEEK, n_group=8, topk_group=5, rope_scaling=dict(YARN, mscale=0.707)), "float32", None),
    "deepseek_v3-one-f32": (dict(DEEPSEEK, num_experts_per_tok=1, topk_group=4, n_shared_experts=2), "float32", None),
    "deepseek_v3-dense-f32": (dict(DEEPSEEK, n_routed_experts=None, q_lora_rank=None, rope_scaling=None), "float32", None),
    # As DeepSeek publishes it, but for float8.
    "deepseek_v3-hf-f32": (DEEPSEEK, "float32", None),
    "kimi_k2-f32-4bit": (dict(DEEPSEEK, model_type="kimi_k2", n_group=1, topk_group=1), "float32", (4, 32, "affine")),
}


def RUNS(name):
    return LONG if name == "deepseek_v3-f32" else USUAL


def finish(name, folder):
    if "-hf-" in name:
        unmake(folder, 61)
