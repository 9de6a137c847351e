"""Llama: dense, with and without biases, the kinds of rope."""

from . import COMMON

LLAMA = dict(COMMON, model_type="llama")
LLAMA3_ROPE = dict(
    rope_theta=500000.0,
    rope_scaling=dict(
        rope_type="llama3",
        factor=32.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=64,
    ),
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "llama-bf16": (LLAMA, "bfloat16", None),
    "llama-f16": (LLAMA, "float16", None),
    "llama-f32": (LLAMA, "float32", None),
    "llama-f16-4bit": (LLAMA, "float16", (4, 32, "affine")),
    "llama-biases-bf16": (dict(LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=False), "bfloat16", None),
    "llama-biases-bf16-8bit": (dict(LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=False), "bfloat16", (8, 64, "affine")),
    "llama-llama3-rope-f32": (dict(LLAMA, **LLAMA3_ROPE), "float32", None),
    "llama-linear-rope-f32": (dict(LLAMA, rope_scaling=dict(type="linear", factor=3.0)), "float32", None),
}
