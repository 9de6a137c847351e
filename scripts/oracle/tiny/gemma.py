"""Gemma: norms by one more than their weight, GELU, a scaled embedding."""

import numpy as np

from . import COMMON, LONG
from . import RUNS as SHORT

GEMMA = dict(COMMON, model_type="gemma", num_key_value_heads=1)

# What MLX compiles has constants of 7 digits, and the square root of 2 in GELU needs 8 in
# float32: compiled, it is off by an ulp. Programs have the function as it is written.
COMPILE = False

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "gemma-f32": (GEMMA, "float32", None),
    "gemma-bf16": (dict(GEMMA, num_key_value_heads=4), "bfloat16", None),
    "gemma-f16": (GEMMA, "float16", None),
    "gemma-f32-4bit": (GEMMA, "float32", (4, 64, "affine")),
    "gemma-bf16-4bit": (GEMMA, "bfloat16", (4, 64, "affine")),
}


def RUNS(name):
    return LONG if name == "gemma-f32" else SHORT


def weight(path, shape, rng):
    """One is added to the weights of norms, so these are about 0. The layers' results are
    large beside the embedding, which is scaled, or a tied head repeats its input for ever."""
    if path.endswith("norm.weight"):
        return 0.1 * rng.standard_normal(shape)
    if path.endswith(("o_proj.weight", "down_proj.weight")):
        return rng.standard_normal(shape) * 6 / np.sqrt(shape[-1])
    return None
