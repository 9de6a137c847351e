"""Gemma 3, text only: layers with a sliding window, norms of queries and keys."""

import mlx.core as mx

from . import COMMON, LONG
from . import RUNS as SHORT
from .gemma2 import weight as weight

# The window is smaller than most prompts, so that its rings come around; one layer of two
# sees everything.
GEMMA3 = dict(
    COMMON,
    model_type="gemma3_text",
    num_hidden_layers=3,
    sliding_window=16,
    sliding_window_pattern=2,
    rope_theta=1000000.0,
    rope_local_base_freq=5000.0,
    query_pre_attn_scalar=24,
)

# Chunks that end before, in and after the window, and calls of one token with an empty ring.
WINDOW = LONG + [(1, [7, 9, 1, 20]), (2, [1, 1, 16, 3]), (1, [15]), (1, [17])]

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "gemma3_text-f32": (GEMMA3, "float32", None),
    "gemma3_text-bf16": (GEMMA3, "bfloat16", None),
    "gemma3_text-f16": (GEMMA3, "float16", None),
    # Its residual sums leave float16, and are clipped.
    "gemma3_text-clip-f16": (GEMMA3, "float16", None),
    "gemma3_text-f32-4bit": (GEMMA3, "float32", (4, 64, "affine")),
    "gemma3_text-bf16-4bit": (GEMMA3, "bfloat16", (4, 64, "affine")),
    # A head of its own; a window that is larger than a step of the cache; scaled rope.
    "gemma3_text-head-f32": (
        dict(GEMMA3, tie_word_embeddings=False, sliding_window=272, rope_scaling=dict(rope_type="linear", factor=8.0)),
        "float32",
        None,
    ),
    # All layers see everything.
    "gemma3_text-global-f32": (dict(GEMMA3, sliding_window_pattern=1), "float32", None),
}


def RUNS(name):
    return WINDOW if name in ("gemma3_text-f32", "gemma3_text-head-f32") else SHORT + WINDOW[-4:-2]


def finish(name, folder):
    """Drops the head, which mlx-lm's class has until it sees weights without one."""
    if "-head-" in name:
        return
    file = folder / "model.safetensors"
    out = {path: x for path, x in mx.load(str(file)).items() if "lm_head." not in path}
    if "-clip-" in name:
        out = {path: x * 7000 if path.endswith("post_feedforward_layernorm.weight") else x for path, x in out.items()}
    mx.eval(out)  # before the file that it is read from is written over
    mx.save_safetensors(str(file), out, {"format": "mlx"})
    (folder / "model.safetensors.index.json").unlink()
