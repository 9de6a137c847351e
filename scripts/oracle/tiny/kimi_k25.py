"""Kimi-K2.5: the text model, a DeepSeek-V3 under the name language_model."""

import mlx.core as mx

from ._latent import unmake, weight  # noqa: F401
from .deepseek_v3 import DEEPSEEK

TEXT = dict(DEEPSEEK, model_type="kimi_k2", n_group=1, topk_group=1, routed_scaling_factor=2.827)
KIMI = dict(model_type="kimi_k25", text_config=TEXT, vocab_size=TEXT["vocab_size"], eos_token_id=0, tie_word_embeddings=False)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "kimi_k25-f32": (KIMI, "float32", None),
    "kimi_k25-f32-4bit": (KIMI, "float32", (4, 32, "affine")),
    # As Moonshot publishes it, but for 4 bits of another kind: with what sees images.
    "kimi_k25-hf-f32": (KIMI, "float32", None),
}


def finish(name, folder):
    if "-hf-" in name:
        unmake(folder, 61, "language_model.")
        file = str(folder / "model.safetensors")
        out = mx.load(file)
        out["vision_tower.patch_embed.proj.weight"] = mx.zeros((4, 4))
        out["mm_projector.proj.0.weight"] = mx.zeros((4, 4))
        mx.eval(out)
        mx.save_safetensors(file, out, {"format": "mlx"})
