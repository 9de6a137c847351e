"""LFM2: attention in some layers, short convolutions in the others."""

import mlx.core as mx

from . import COMMON, LONG, RUNS as SHORT

LFM2 = dict(
    COMMON,
    model_type="lfm2",
    num_hidden_layers=4,
    head_dim=16,  # of 4 heads of 64: mlx-lm knows no other
    layer_types=["conv", "full_attention", "conv", "full_attention"],
    norm_eps=1e-5,
    conv_bias=False,
    conv_L_cache=3,
    block_dim=64,
    block_multiple_of=32,
    block_ffn_dim_multiplier=1.0,
    block_auto_adjust_ff_dim=False,
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "lfm2-f32": (LFM2, "float32", None),
    "lfm2-bf16": (LFM2, "bfloat16", None),
    "lfm2-f16": (LFM2, "float16", None),
    "lfm2-bf16-4bit": (LFM2, "bfloat16", (4, 32, "affine")),
    "lfm2-f32-4bit": (LFM2, "float32", (4, 64, "affine")),
    # The older keys: layers by number, a size that is adjusted (to 160), and biases.
    "lfm2-biases-f32": (
        dict(
            LFM2,
            layer_types=None,
            full_attn_idxs=[0, 2],
            conv_bias=True,
            conv_L_cache=4,
            intermediate_size=None,
            block_ff_dim=200,
            block_ffn_dim_multiplier=1.1,
            block_auto_adjust_ff_dim=True,
        ),
        "float32",
        None,
    ),
    # The layout of Hugging Face's checkpoints.
    "lfm2-hf-f32": (dict(LFM2, rope_theta=None, rope_parameters=dict(rope_theta=5000.0, rope_type="default")), "float32", None),
}


def RUNS(name):
    return LONG if name == "lfm2-f32" else SHORT


def finish(name, folder):
    if "-hf-" in name:
        rewrite(folder, lambda path, x: {path: x.transpose(0, 2, 1) if "conv.weight" in path else x})


def rewrite(folder, edit):
    """Writes the model's weights again, each as the entries that edit makes of it."""
    out = {}
    for path, x in mx.load(str(folder / "model.safetensors")).items():
        out.update({p: mx.contiguous(y) for p, y in edit(path, x).items()})
    mx.eval(out)  # before the file that it is read from is written over
    mx.save_safetensors(str(folder / "model.safetensors"), out, {"format": "mlx"})
    (folder / "model.safetensors.index.json").unlink()
