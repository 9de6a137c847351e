"""Capture tiny models and single fast operations as .mlxfn, for graph/mlxfn/convert.

    python captures.py DIR

writes, gzipped, with the pinned mlx and mlx-lm on the CPU, where MLX records the
fallbacks of its fast operations:

    qwen3, qwen3_moe, llama   a model step with caches as inputs and outputs and
                              weights by keyword; one trace for each call shape
    fast                      one trace for each variant of rms_norm, layer_norm,
                              rope, scaled_dot_product_attention and dequantize;
                              the metadata lists them

Ids are addresses, so the bytes differ from run to run; what Go's Dump prints does not.
"""
import gzip
import json
import os
import sys
import tempfile

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models import llama, qwen3, qwen3_moe

CAPACITY = 32  # rows of the caches


class FixedCache:
    """A KV cache that is part of the trace: state in, state out."""

    def __init__(self, keys, values, offset):
        self.keys, self.values, self.offset = keys, values, offset

    def update_and_fetch(self, keys, values):
        start = mx.reshape(self.offset, (1,))
        self.keys = mx.slice_update(self.keys, keys, start, axes=(2,))
        self.values = mx.slice_update(self.values, values, start, axes=(2,))
        return self.keys, self.values

    def make_mask(self, n, window_size=None, return_array=False):
        rows = mx.reshape(self.offset, (1,)) + mx.arange(n)
        return rows[:, None] >= mx.arange(self.keys.shape[2])[None]


COMMON = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=128, rms_norm_eps=1e-6, vocab_size=64, head_dim=32)

MODELS = {
    "qwen3": (qwen3, dict(COMMON, model_type="qwen3", num_attention_heads=4, num_key_value_heads=2,
                          max_position_embeddings=128, rope_theta=1e6, tie_word_embeddings=True), mx.bfloat16, 32, [(1, 1), (1, 5)]),
    "qwen3_moe": (qwen3_moe, dict(COMMON, model_type="qwen3_moe", num_attention_heads=4, num_key_value_heads=2, num_experts=8,
                                  num_experts_per_tok=4, decoder_sparse_step=1, mlp_only_layers=[], moe_intermediate_size=64,
                                  rope_theta=1e6, tie_word_embeddings=False, max_position_embeddings=128,
                                  norm_topk_prob=True), mx.bfloat16, 64, [(1, 1), (2, 3), (1, 16)]),
    "llama": (llama, dict(COMMON, model_type="llama", num_attention_heads=2, num_key_value_heads=2, rope_theta=10000.0,
                          tie_word_embeddings=False, rope_traditional=True), mx.float32, 0, [(1, 1), (2, 3)]),
}


def model_step(name, path):
    arch, config, dtype, group_size, shapes = MODELS[name]
    mx.random.seed(0)
    model = arch.Model(arch.ModelArgs(**config))
    model.set_dtype(dtype)
    if group_size:
        nn.quantize(model, group_size=group_size, bits=4, class_predicate=lambda p, m: hasattr(m, "to_quantized"))
    model.eval()
    mx.eval(model.parameters())
    weights = dict(tree_flatten(model.parameters()))

    def step(tokens, offset, *state, **weights):
        model.update(tree_unflatten(list(weights.items())))
        caches = [FixedCache(*state[i:i + 2], offset) for i in range(0, len(state), 2)]
        logits = model(tokens, cache=caches)
        return [logits] + [x for c in caches for x in (c.keys, c.values)]

    with mx.exporter(path, step, metadata=json.dumps(config, sort_keys=True)) as e:
        for batch, length in shapes:
            state = [mx.zeros((batch, config["num_key_value_heads"], CAPACITY, config["head_dim"]), dtype)
                     for _ in range(2 * config["num_hidden_layers"])]
            e(mx.zeros((batch, length), mx.int32), mx.array(3, mx.int32), *state, **weights)


def arrays(*types):
    return [mx.zeros(shape, dtype) for dtype, *shape in types]


B, H, F = mx.bfloat16, mx.float16, mx.float32


def variants():
    """Yields name, function and arguments. Arguments tell traces apart, so no two are alike."""
    for n, t in enumerate([B, H, F]):
        x = (t, 2, 3 + n, 32)
        yield f"rms_norm {t}", lambda x, w: mx.fast.rms_norm(x, w, 1e-5), arrays(x, (t, 32))
        yield f"rms_norm {t} without weight", lambda x: mx.fast.rms_norm(x, None, 1e-6), arrays(x)
        yield f"layer_norm {t}", lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5), arrays(x, (t, 32), (t, 32))
        yield f"layer_norm {t} without bias", lambda x, w: mx.fast.layer_norm(x, w, None, 1e-5), arrays((t, 3, 4 + n, 32), (t, 32))
        yield f"layer_norm {t} without both", lambda x: mx.fast.layer_norm(x, None, None, 1e-5), arrays((t, 4, 4 + n, 32))
    yield "rms_norm with a weight of another type", lambda x, w: mx.fast.rms_norm(x, w, 1e-5), arrays((B, 3, 32), (F, 32))
    offset = (mx.int32,)
    for n, t in enumerate([B, H, F]):
        for traditional in (False, True):
            x = (t, 1 + traditional, 2, 3 + n, 16)
            word = " traditional" if traditional else ""
            yield (f"rope {t}{word}", lambda x, o, traditional=traditional:
                   mx.fast.rope(x, 16, traditional=traditional, base=10000.0, scale=1.0, offset=o), arrays(x, offset))
            x = (t, 1 + traditional, 3, 3 + n, 16)
            yield (f"rope {t}{word} partial, scaled", lambda x, o, traditional=traditional:
                   mx.fast.rope(x, 8, traditional=traditional, base=500000.0, scale=0.25, offset=o), arrays(x, offset))
    for n, base in enumerate([10000.0, 1e6, 500000.0, 150000.0, 5e6, 1e4 / 3, 1e7, 8e6, 25000.0]):
        yield (f"rope base {base:g}", lambda x, o, base=base, n=n:
               mx.fast.rope(x, 64 + 2 * n, traditional=False, base=base, scale=1.0, offset=o), arrays((F, 1, 1, 2, 64 + 2 * n), offset))
    yield ("rope with freqs", lambda x, o, f: mx.fast.rope(x, 16, traditional=False, base=None, scale=1.0, offset=o, freqs=f),
           arrays((B, 1, 4, 1, 16), offset, (F, 8)))
    yield ("rope with an offset for each sequence", lambda x, o: mx.fast.rope(x, 16, traditional=False, base=1e4, scale=1.0, offset=o),
           arrays((B, 3, 4, 1, 16), (mx.int32, 3)))
    yield ("rope from a number", lambda x: mx.fast.rope(x, 16, traditional=False, base=1e4, scale=1.0, offset=7), arrays((B, 3, 4, 2, 16)))
    sdpa = mx.fast.scaled_dot_product_attention
    for n, t in enumerate([B, H, F]):
        for heads in (2, 4):  # over 2 heads of keys
            q, k = (t, 1, heads, 3 + n, 16), (t, 1, 2, 9, 16)
            word = f"sdpa {t} {heads} heads"
            yield word, lambda q, k, v: sdpa(q, k, v, scale=0.25), arrays(q, k, k)
            yield f"{word} causal", lambda q, k, v: sdpa(q, k, v, scale=0.3, mask="causal"), arrays(q, (t, 1, 2, 10, 16), (t, 1, 2, 10, 16))
            yield f"{word} bool mask", lambda q, k, v, m: sdpa(q, k, v, scale=16**-0.5, mask=m), arrays(q, k, k, (mx.bool_, 3 + n, 9))
            yield f"{word} added mask", lambda q, k, v, m: sdpa(q, k, v, scale=16**-0.5, mask=m), arrays(q, k, k, (t, 1, 1, 3 + n, 9))
            yield f"{word} mask by head", lambda q, k, v, m: sdpa(q, k, v, scale=16**-0.5, mask=m), arrays(q, k, k, (t, heads, 3 + n, 9))
            yield f"{word} sinks", lambda q, k, v, s: sdpa(q, k, v, scale=16**-0.5, sinks=s), arrays(q, k, k, (t, heads))
            yield (f"{word} causal, sinks", lambda q, k, v, s: sdpa(q, k, v, scale=16**-0.5, mask="causal", sinks=s),
                   arrays(q, (t, 1, 2, 11, 16), (t, 1, 2, 11, 16), (t, heads)))
    yield "sdpa of a scale that bfloat16 rounds", lambda q, k, v: sdpa(q, k, v, scale=80**-0.5), arrays(*[(B, 1, 2, 4, 80)] * 3)
    for bits in (2, 3, 4, 5, 6, 8):
        group = 32 if bits % 2 else 64
        w, s = (mx.uint32, 3, 64 * bits // 32), (B if bits % 4 else F, 3, 64 // group)
        yield (f"dequantize {bits} bits", lambda w, s, b, bits=bits, group=group:
               mx.dequantize(w, s, b, group_size=group, bits=bits), arrays(w, s, s))


def fast(path):
    all = list(variants())
    # One trace calls the function of its variant; the exporter takes only one function.
    current = [None]
    with mx.exporter(path, lambda *args: current[0](*args), metadata=json.dumps([name for name, _, _ in all])) as e:
        for name, fn, args in all:
            current[0] = fn
            try:
                e(*args)
            except Exception as problem:
                sys.exit(f"{name}: {problem}")


def main(folder):
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        for name in [*MODELS, "fast"]:
            path = os.path.join(tmp, name)
            if name == "fast":
                fast(path)
            else:
                model_step(name, path)
            with open(path, "rb") as f, open(os.path.join(folder, f"{name}.mlxfn.gz"), "wb") as out:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0) as z:
                    z.write(f.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
