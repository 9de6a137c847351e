"""LFM2, mixture of experts."""

import mlx.core as mx

from . import LONG, RUNS as SHORT
from .lfm2 import LFM2, rewrite

MOE = dict(
    {k: v for k, v in LFM2.items() if not k.startswith("block_")},
    model_type="lfm2_moe",
    num_hidden_layers=3,
    layer_types=["conv", "full_attention", "conv"],
    moe_intermediate_size=64,
    num_experts=8,
    num_experts_per_tok=4,
    norm_topk_prob=True,
    use_expert_bias=True,
    num_dense_layers=1,
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    # MLX on the CPU has gather_mm, of experts that are not quantized, for float32 only.
    "lfm2_moe-f32": (MOE, "float32", None),
    # The routers have 8 bits: mlx-lm's quant_predicate.
    "lfm2_moe-f32-4bit": (MOE, "float32", (4, 64, "affine")),
    "lfm2_moe-bf16-4bit": (MOE, "bfloat16", (4, 64, "affine")),
    "lfm2_moe-f16-4bit": (MOE, "float16", (4, 64, "affine")),
    # Weights of experts that are scaled and not normalised; no bias; no dense layer.
    "lfm2_moe-scaled-f32": (
        dict(MOE, layer_types=None, full_attn_idxs=[0], routed_scaling_factor=2.5, norm_topk_prob=False, use_expert_bias=False, num_dense_layers=0, conv_bias=True),
        "float32",
        None,
    ),
    # The names and layouts of Hugging Face's checkpoints.
    "lfm2_moe-hf-f32": (dict(MOE, routed_scaling_factor=1.5), "float32", None),
}


def RUNS(name):
    return LONG if name == "lfm2_moe-f32" else SHORT


def finish(name, folder):
    if "-hf-" in name:
        rewrite(folder, published)
    else:
        # In float32 whatever the type of the rest: mlx-lm's cast_predicate.
        rewrite(folder, lambda path, x: {path: x.astype(mx.float32) * 1.3 if "expert_bias" in path else x})


def published(path, x):
    """A parameter as Hugging Face's checkpoints have it."""
    if "conv.weight" in path:
        x = x.transpose(0, 2, 1)
    for ours, theirs in dict(gate_proj="w1", down_proj="w2", up_proj="w3").items():
        if path.endswith(f".switch_mlp.{ours}.weight"):
            block = path.split(".switch_mlp.")[0]
            return {f"{block}.experts.{e}.{theirs}.weight": x[e] for e in range(x.shape[0])}
        path = path.replace(f"feed_forward.{ours}.", f"feed_forward.{theirs}.")
    return {path: x}
