#!/usr/bin/env python3
"""Makes the quantized configurations in models/reference of the published ones there.

    .cache/oracle/venv/bin/python scripts/oracle/reference_configs.py [--check]

The block "quantization" is what mlx-lm's own quantize_model decides for the model
that the published file describes: 4 bits in groups of 64, and by module whatever
the model's quant_predicate asks for. Nothing is computed: MLX makes the weights
only when somebody looks at them, and nobody does. Checkpoints that come quantized
(gpt-oss, Kimi-K2.5) keep their experts as they are, and mlx-lm lists every other
module. As mlx_lm.convert does, the result is without the vision part; the second
copy of the block, under quantization_config, is left out.
"""

import contextlib
import copy
import io
import json

import golden
import mlx.nn as nn
from mlx_lm.utils import _get_classes, quantize_model

REFERENCE = "models/reference"

# What loading finds quantized in a checkpoint: the block, and the modules that have scales.
COMES_QUANTIZED = {
    "gpt-oss-20b": ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, ".mlp.experts."),
    "Kimi-K2.5": ({"group_size": 32, "bits": 4, "mode": "affine"}, ".mlp.switch_mlp."),
}

# The file to make: the published file that it is made of.
DERIVED = {
    "DeepSeek-V3-4bit": "DeepSeek-V3",
    "DeepSeek-V3.2-4bit": "DeepSeek-V3.2",
    "GLM-4.7-Flash-4bit": "GLM-4.7-Flash",
    "Kimi-K2.5-4bit": "Kimi-K2.5",
    "LFM2-1.2B-4bit": "LFM2-1.2B",
    "LFM2-8B-A1B-4bit": "LFM2-8B-A1B",
    "Llama-3.1-8B-4bit": "Llama-3.1-8B",
    "Mixtral-8x7B-v0.1-4bit": "Mixtral-8x7B-v0.1",
    "Qwen3-0.6B-4bit": "Qwen3-0.6B",
    "Qwen3-30B-A3B-4bit": "Qwen3-30B-A3B",
    "Qwen3-Coder-Next-4bit": "Qwen3-Coder-Next",
    "gemma-2-9b-it-4bit": "gemma-2-9b-it",
    "gemma-3-1b-it-4bit": "gemma-3-1b-it",
    "gemma-3-4b-it-4bit": "gemma-3-4b-it",
    "gemma-7b-4bit": "gemma-7b",
    "gpt-oss-20b-MXFP4-Q4": "gpt-oss-20b",
}


def quantized(name):
    """The configuration after mlx_lm.convert -q."""
    config = json.loads((golden.ROOT / REFERENCE / f"{name}.json").read_text())
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(copy.deepcopy(config)))
    config.pop("quantization_config", None)
    if name in COMES_QUANTIZED:
        block, part = COMES_QUANTIZED[name]
        nn.quantize(model, class_predicate=lambda p, m: part in p and hasattr(m, "to_quantized"), **block)
        config["quantization"] = dict(block)
    with contextlib.redirect_stdout(io.StringIO()):  # the bits per weight
        _, config = quantize_model(model, config, None, None)
    del config["quantization_config"]
    config.pop("vision_config", None)
    quantization = config.pop("quantization")
    return {**config, "quantization": quantization}


def text(value, indent=0):
    """JSON with what is small on one line, and long lists in rows."""
    flat = json.dumps(value)
    if not isinstance(value, (dict, list)) or indent > 0 and len(flat) <= 80:
        return flat
    pad = "  " * (indent + 1)
    if isinstance(value, dict):
        lines = [f"{json.dumps(k)}: {text(v, indent + 1)}" for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        row = 6 if len(value) % 6 == 0 else 4
        lines = [json.dumps(value[i : i + row])[1:-1] for i in range(0, len(value), row)]
        opening, closing = "[", "]"
    return opening + "\n" + ",\n".join(pad + line for line in lines) + "\n" + "  " * indent + closing


def make(out):
    for name, source in DERIVED.items():
        (out / f"{name}.json").write_text(text(quantized(source)) + "\n")


golden.run(__doc__, REFERENCE, make)
