"""Mixtral, mixture of experts."""

import mlx.core as mx

from . import COMMON

MIXTRAL = dict(
    COMMON,
    model_type="mixtral",
    intermediate_size=64,
    head_dim=16,  # of 4 heads of 64: mlx-lm knows no other
    num_local_experts=8,
    num_experts_per_tok=2,
    tie_word_embeddings=False,
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "mixtral-f32": (MIXTRAL, "float32", None),
    "mixtral-f32-4bit": (dict(MIXTRAL, tie_word_embeddings=True), "float32", (4, 64, "affine")),
    # All experts, each weighed: a choice among them would be another one wherever an
    # engine that rounds half types otherwise meets a near-tie.
    "mixtral-bf16-4bit": (dict(MIXTRAL, num_experts_per_tok=8), "bfloat16", (4, 64, "affine")),
    # One module an expert, as Mistral published it, and as mlx-lm once quantized it.
    "mixtral-experts-f32": (MIXTRAL, "float32", None),
    "mixtral-experts-f16-4bit": (dict(MIXTRAL, num_experts_per_tok=8), "float16", (4, 64, "affine")),
}


def finish(name, folder):
    if "-experts-" in name:
        unstack(folder)


def unstack(folder):
    """Gives each expert modules of its own, under the names of Mistral's checkpoint."""
    out = {}
    for path, x in mx.load(str(folder / "model.safetensors")).items():
        if ".switch_mlp." not in path:
            out[path] = x
            continue
        block, rest = path.split(".switch_mlp.")
        module, part = rest.split(".")
        w = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[module]
        out.update({f"{block}.experts.{e}.{w}.{part}": x[e] for e in range(x.shape[0])})
    mx.eval(out)  # before the file that it is read from is written over
    mx.save_safetensors(str(folder / "model.safetensors"), out, {"format": "mlx"})
    (folder / "model.safetensors.index.json").unlink()
