"""Qwen3: dense."""

from . import COMMON

QWEN3 = dict(COMMON, model_type="qwen3", rope_theta=1000000.0)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "qwen3-bf16": (QWEN3, "bfloat16", None),
    "qwen3-f16": (QWEN3, "float16", None),
    "qwen3-f32": (QWEN3, "float32", None),
    "qwen3-bf16-4bit": (QWEN3, "bfloat16", (4, 64, "affine")),
    "qwen3-f16-4bit": (QWEN3, "float16", (4, 64, "affine")),
    "qwen3-f32-4bit": (QWEN3, "float32", (4, 64, "affine")),
    "qwen3-bf16-mxfp4": (QWEN3, "bfloat16", (4, 32, "mxfp4")),
}
