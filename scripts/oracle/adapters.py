#!/usr/bin/env python3
"""Makes testdata/adapters: adapters of the small trained models, as mlx_lm.lora writes them.

    .cache/oracle/venv/bin/python scripts/oracle/adapters.py [--check]

Nothing is trained: numbers are drawn with a fixed seed, large enough to change what the models say.
"""

import json

import golden
import mlx.core as mx
import mlx_lm
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers

mx.set_default_device(mx.cpu)

# Name: model, fine_tune_type, num_layers, lora_parameters.
ADAPTERS = {
    "lora": ("qwen3_moe", "lora", 2, dict(rank=4, scale=8.0, dropout=0.0, keys=["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate"])),
    "experts": ("qwen3_moe", "lora", 1, dict(rank=1, scale=6.5, dropout=0.1, keys=["mlp.switch_mlp.gate_proj", "mlp.switch_mlp.up_proj", "mlp.switch_mlp.down_proj"])),
    "embedding": ("gemma3_text", "lora", 0, dict(rank=2, scale=0.3, dropout=0.0, keys=["model.embed_tokens", "mlp.gate_proj"])),
    "dora": ("gemma3_text", "dora", 2, dict(rank=2, scale=3.0, dropout=0.0, keys=["self_attn.q_proj", "mlp.down_proj"])),
}


def draw(rng, name, shape, old):
    """m is near the norms that it begins with; lora_a and lora_b are small."""
    noise = rng.standard_normal(shape).astype(np.float32)
    if name.endswith(".m"):
        return np.array(old) * (1 + 0.1 * noise)
    return 0.05 * noise


def write(folder, config, weights):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)


def make(out):
    for name, (family, kind, layers, parameters) in ADAPTERS.items():
        rng = np.random.default_rng([20261129, sum(name.encode())])
        model, _ = mlx_lm.load(str(golden.ROOT / "testdata/trained" / family))
        linear_to_lora_layers(model, layers, parameters, use_dora=kind == "dora")
        leaves = {k: v for k, v in sorted(tree_flatten(model.parameters())) if k.rsplit(".", 1)[-1] in ("lora_a", "lora_b", "m")}
        weights = {k: mx.array(draw(rng, k, v.shape, v)) for k, v in leaves.items()}
        write(out / name, dict(fine_tune_type=kind, num_layers=layers, lora_parameters=parameters), weights)
    # Whole weights in the place of the model's.
    model, _ = mlx_lm.load(str(golden.ROOT / "testdata/trained/qwen3_moe"))
    weights = {k: v * (1 + 0.3 * mx.sin(mx.arange(v.size))) for k, v in tree_flatten(model.parameters()) if k.endswith("layers.1.input_layernorm.weight")}
    write(out / "full", dict(fine_tune_type="full"), weights)


golden.run(__doc__, "testdata/adapters", make)
