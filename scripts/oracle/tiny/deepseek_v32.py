"""DeepSeek-V3.2: DeepSeek-V3 with an indexer that chooses the rows that a token sees."""

from . import LONG
from . import RUNS as USUAL
from ._latent import unmake
from ._latent import weight as latent_weight
from .deepseek_v3 import ALL, DEEPSEEK, YARN

# 12 rows: the prompts of the runs stay below, go beyond in a chunk, or while decoding.
INDEX = dict(model_type="deepseek_v32", index_n_heads=4, index_head_dim=32, index_topk=12)
V32 = dict(DEEPSEEK, **INDEX)

# name: configuration, element type, (bits, group size, mode) or None
MODELS = {
    "deepseek_v32-f32": (V32, "float32", None),
    "deepseek_v32-f32-4bit": (V32, "float32", (4, 32, "affine")),
    # All rows but one or two: a choice among more would be another one in other roundings.
    "deepseek_v32-bf16-4bit": (dict(ALL, **dict(INDEX, index_topk=30)), "bfloat16", (4, 32, "affine")),
    # Yarn that scales the part of the indexer's queries and keys that it turns, in pairs.
    "deepseek_v32-yarn-f32": (dict(V32, indexer_rope_interleave=True, rope_scaling=dict(YARN, mscale=0.707)), "float32", None),
    "deepseek_v32-hf-f32": (V32, "float32", None),
}


def RUNS(name):
    return LONG if name == "deepseek_v32-f32" else USUAL


def weight(path, shape, rng):
    if path.endswith("k_norm.weight"):
        return 1 + 0.1 * rng.standard_normal(shape)
    return latent_weight(path, shape, rng)


def finish(name, folder):
    if "-hf-" in name:
        unmake(folder, V32["num_hidden_layers"])
