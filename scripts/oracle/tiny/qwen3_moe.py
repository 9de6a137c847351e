"""Qwen3, mixture of experts."""

from . import COMMON

MOE = dict(
    COMMON,
    model_type="qwen3_moe",
    num_experts=8,
    num_experts_per_tok=4,
    moe_intermediate_size=64,
    decoder_sparse_step=1,
    mlp_only_layers=[],
    norm_topk_prob=True,
    tie_word_embeddings=False,
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    # MLX on the CPU has gather_mm, of experts that are not quantized, for float32 only.
    "qwen3_moe-f32": (MOE, "float32", None),
    "qwen3_moe-bf16-4bit": (MOE, "bfloat16", (4, 64, "affine")),
    "qwen3_moe-f16-4bit": (MOE, "float16", (4, 64, "affine")),
    "qwen3_moe-f32-4bit": (MOE, "float32", (4, 64, "affine")),
    # One layer without experts, scores that are not normalised.
    "qwen3_moe-mixed-f32": (dict(MOE, mlp_only_layers=[0], norm_topk_prob=False, tie_word_embeddings=True), "float32", None),
}
