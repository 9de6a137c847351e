"""Gemma 2: capped scores and logits, norms before and after each block."""

from . import COMMON, LONG, gemma
from . import RUNS as SHORT

# Caps small enough to be felt.
GEMMA2 = dict(COMMON, model_type="gemma2", query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=6.0)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "gemma2-f32": (GEMMA2, "float32", None),
    # No groups of heads, and the defaults of the caps.
    "gemma2-heads-f32": (
        {k: v for k, v in dict(GEMMA2, num_key_value_heads=4).items() if k not in ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping")},
        "float32",
        None,
    ),
    "gemma2-bf16": (GEMMA2, "bfloat16", None),
    "gemma2-f16": (GEMMA2, "float16", None),
    "gemma2-f32-4bit": (GEMMA2, "float32", (4, 64, "affine")),
    "gemma2-bf16-4bit": (GEMMA2, "bfloat16", (4, 64, "affine")),
}


def RUNS(name):
    return LONG if name == "gemma2-f32" else SHORT


def weight(path, shape, rng):
    """Here the norms behind the blocks make their results large."""
    if path.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
        return 2 + 0.1 * rng.standard_normal(shape)
    return gemma.weight(path, shape, rng)
