"""Gemma 3 as published: a text model inside of one that sees images, too."""

from .gemma2 import weight as weight
from .gemma3_text import GEMMA3, RUNS as RUNS, finish as finish

CONFIG = dict(
    model_type="gemma3",
    vocab_size=GEMMA3["vocab_size"],
    eos_token_id=GEMMA3["eos_token_id"],
    text_config={k: v for k, v in GEMMA3.items() if k not in ("vocab_size", "eos_token_id")} | dict(model_type="gemma3_text"),
)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "gemma3-f32": (CONFIG, "float32", None),
    "gemma3-bf16-4bit": (CONFIG, "bfloat16", (4, 64, "affine")),
}
