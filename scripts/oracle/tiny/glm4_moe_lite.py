"""GLM-4.7-Flash: latent attention, and experts of which one is for every token."""

from . import LONG
from . import RUNS as USUAL
from ._latent import LATENT, unmake, weight  # noqa: F401

GLM = dict(LATENT, model_type="glm4_moe_lite", routed_scaling_factor=1.8, rope_scaling=None)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    # MLX on the CPU has gather_mm, of experts that are not quantized, for float32 only.
    "glm4_moe_lite-f32": (GLM, "float32", None),
    "glm4_moe_lite-f32-4bit": (GLM, "float32", (4, 32, "affine")),
    # All experts, each weighed: a choice among them would be another one wherever an
    # engine that rounds half types otherwise meets a near-tie.
    "glm4_moe_lite-bf16-4bit": (dict(GLM, num_experts_per_tok=8), "bfloat16", (4, 32, "affine")),
    "glm4_moe_lite-f16-8bit": (dict(GLM, num_experts_per_tok=8), "float16", (8, 32, "affine")),
    # One matrix to the queries, biases, groups of experts, no expert for every token,
    # weights that are not normalised.
    "glm4_moe_lite-plain-f32": (
        dict(GLM, q_lora_rank=None, attention_bias=True, n_group=4, topk_group=2, n_shared_experts=None, moe_layer_freq=2, norm_topk_prob=False),
        "float32",
        None,
    ),
    # As Z.ai published it: one module an expert, kv_b_proj in one piece, and a layer that
    # predicts a second token.
    "glm4_moe_lite-hf-f32": (GLM, "float32", None),
}


def RUNS(name):
    return LONG if name == "glm4_moe_lite-f32" else USUAL


def finish(name, folder):
    if "-hf-" in name:
        unmake(folder, GLM["num_hidden_layers"])
