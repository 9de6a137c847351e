"""What the tiny models with multi-head latent attention share; no family of its own."""

import mlx.core as mx

from . import COMMON

LATENT = dict(
    COMMON,
    num_hidden_layers=3,
    first_k_dense_replace=1,
    num_key_value_heads=4,
    kv_lora_rank=64,
    q_lora_rank=32,
    qk_nope_head_dim=32,
    qk_rope_head_dim=16,
    v_head_dim=64,
    n_routed_experts=8,
    n_shared_experts=1,
    num_experts_per_tok=4,
    moe_intermediate_size=64,
    tie_word_embeddings=False,
)
del LATENT["head_dim"]


def weight(path, shape, rng):
    """Queries, keys and experts small enough that one bit at the start is no more than a few
    at the end: the scale of attention and the factor of the experts make them large again."""
    if path.endswith((".q_proj.weight", ".q_b_proj.weight", ".down_proj.weight")):
        return rng.standard_normal(shape) * 0.6 / shape[-1] ** 0.5
    return None


def unmake(folder, layers, prefix=""):
    """Writes the weights under the names of the original checkpoint: one module an expert,
    kv_b_proj in one piece, and a layer that predicts a second token, of that number."""
    out = {}
    for path, x in mx.load(str(folder / "model.safetensors")).items():
        if ".switch_mlp." in path:
            block, rest = path.split(".switch_mlp.")
            out.update({f"{block}.experts.{e}.{rest}": x[e] for e in range(x.shape[0])})
        elif path.endswith(".embed_q.weight"):
            out[path.replace("embed_q", "kv_b_proj")] = x.swapaxes(-1, -2)
        elif not path.endswith(".unembed_out.weight"):
            out[path] = x
    for path, x in mx.load(str(folder / "model.safetensors")).items():
        if path.endswith(".unembed_out.weight"):
            at = path.replace("unembed_out", "kv_b_proj")
            heads = mx.concatenate([out[at], x], axis=1)
            out[at] = mx.contiguous(heads.reshape(-1, heads.shape[-1]))
    out[f"{prefix}model.layers.{layers}.eh_proj.weight"] = mx.zeros((64, 128))
    mx.eval(out)  # before the file that it is read from is written over
    mx.save_safetensors(str(folder / "model.safetensors"), out, {"format": "mlx"})
    (folder / "model.safetensors.index.json").unlink()
