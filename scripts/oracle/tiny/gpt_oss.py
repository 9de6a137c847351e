"""GPT-OSS: sinks, a sliding window in every other layer, experts with biases."""

import json

import mlx.core as mx
import numpy as np

from . import COMMON, LONG

GPT_OSS = dict(
    COMMON,
    model_type="gpt_oss",
    intermediate_size=64,
    num_local_experts=8,
    num_experts_per_tok=4,
    sliding_window=16,
    rope_theta=150000,
    # As published, of a context that is as short as this model.
    rope_scaling=dict(
        rope_type="yarn",
        factor=32.0,
        original_max_position_embeddings=64,
        beta_fast=32.0,
        beta_slow=1.0,
        truncate=False,
    ),
    tie_word_embeddings=False,
)
ALL = dict(num_experts_per_tok=8)  # see mixtral.py

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "gpt_oss-f32": (GPT_OSS, "float32", None),
    # Both kinds in another order, no scaling, a window that the caches reach and one more.
    "gpt_oss-plain-f32": (
        dict(GPT_OSS, num_hidden_layers=3, layer_types=["full_attention"] + 2 * ["sliding_attention"], rope_scaling=None, sliding_window=5),
        "float32",
        None,
    ),
    "gpt_oss-f32-4bit": (GPT_OSS, "float32", (4, 64, "affine")),
    "gpt_oss-bf16-4bit": (dict(GPT_OSS, **ALL), "bfloat16", (4, 64, "affine")),
    # Experts mxfp4, the router 8 bits, the rest 4 bits, as mlx-community has it.
    "gpt_oss-bf16-mxfp4": (dict(GPT_OSS, **ALL), "bfloat16", (4, 32, "mxfp4")),
    # Experts in blocks of bytes, all else as it was trained, as OpenAI published it.
    "gpt_oss-blocks-bf16": (dict(GPT_OSS, **ALL), "bfloat16", (4, 32, "mxfp4")),
    "gpt_oss-blocks-f32": (GPT_OSS, "float32", (4, 32, "mxfp4")),
}

# In chunks the prompt passes the window of 16: rings that are full, that are not yet, that
# a chunk of one token wraps; decode goes past the window in the middle, too.
WINDOW = [(1, [12]), (2, [10, 12, 9]), (1, [20, 1, 1, 7]), (1, [1, 15]), (2, [16])]


def RUNS(name):
    if name == "gpt_oss-f32":
        return LONG + WINDOW
    return WINDOW[:3] + [(4, [24]), (16, [3])]


def weight(path, shape, rng):
    if path.endswith("sinks"):
        return 1 + rng.standard_normal(shape)
    if path.endswith("_proj.weight") and ".experts." in path:
        # Large enough for the activation to be clamped.
        return rng.standard_normal(shape) * 3 / np.sqrt(shape[-1])


def quantize(name, path):
    """quant_predicate: the model's own, but experts alone are mxfp4."""
    if "-blocks-" in name:
        return ".experts." in path
    if path.endswith("router"):
        return dict(group_size=64, bits=8)
    if "-mxfp4" in name and ".experts." not in path:
        return dict(group_size=64, bits=4)
    return True


def finish(name, folder):
    if "-blocks-" in name:
        as_published(folder)


def as_published(folder):
    """Undoes Model.sanitize: gate and up row by row in turns, weights in blocks of 16 bytes."""
    loaded = mx.load(str(folder / "model.safetensors"))
    out = {}
    for path, x in loaded.items():
        if ".experts.up_proj." in path:
            continue
        if ".experts.gate_proj." in path:
            up = loaded[path.replace("gate_proj", "up_proj")]
            x = mx.stack([x, up], axis=2).flatten(1, 2)
            path = path.replace("gate_proj", "gate_up_proj")
        if ".experts." in path:
            if path.endswith(".weight"):
                x = x.view(mx.uint8)
                x = x.reshape(*x.shape[:2], -1, 16)
            for part, published in (("weight", "blocks"), ("scales", "scales"), ("bias", "bias")):
                path = path.replace("_proj." + part, "_proj_" + published)
        out[path] = mx.contiguous(x)
    mx.eval(out)  # before the file that it is read from is written over
    mx.save_safetensors(str(folder / "model.safetensors"), out, {"format": "pt"})
    (folder / "model.safetensors.index.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["quantization"]
    left = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    config["quantization_config"] = dict(modules_to_not_convert=left, quant_method="mxfp4")
    (folder / "config.json").write_text(json.dumps(config, indent=4))
