"""Make the .mlxfn files in graph/mlxfn/testdata with real MLX.

    python mlxfn_goldens.py DIR [PROBES]

writes, for the installed MLX of version V,

    traces-V.mlxfn   several traces, keyword and unused inputs, shared constants
    shapeless-V.mlxfn
    markers-V.mlxfn  custom kernels as placeholders for fused ops (MLX 0.32.0 or later)
    qwen3_moe-V.mlxfn  a decode step of a tiny quantized model, weights by keyword
                       (where mlx-lm 0.32.0 is installed)
    probes-V.tar.gz  the folder PROBES that mlxfn_probe.py left, if given

Ids are addresses, so the bytes differ from run to run; what Go's Dump prints does not.
"""
import importlib.util
import io
import os
import sys
import tarfile

import mlx.core as mx

VERSION = mx.__version__
NEW = tuple(int(x) for x in VERSION.split(".")[:3])


def traces(path):
    table = mx.arange(12, dtype=mx.float32).reshape(4, 3)
    empty = mx.zeros((0, 3))
    mx.eval(table, empty)

    def f(x, unused, *rest, scale=None, **kw):
        y = mx.square(x) @ table
        if scale is not None:
            y = y * scale + kw["bias"]
        a, b = mx.split(y, 2, axis=0)
        q, r = mx.divmod(a, b + 1)
        return [q, r, y, y, x, mx.concatenate([empty, a]), mx.sum(mx.square(x), axis=-1), *rest]

    kw = {"metadata": "made by mlxfn_goldens.py"} if NEW >= (0, 32, 1) else {}
    with mx.exporter(path, f, **kw) as e:
        for n in (2, 4):
            e(mx.ones((n, 4)), mx.zeros((1,), mx.int32))
        e(mx.ones((2, 4)), mx.zeros((1,), mx.int32), scale=mx.array(2.0), bias=mx.ones((3,)))
        e(mx.ones((2, 4)), mx.zeros((1,), mx.int32), mx.zeros((5,), mx.bfloat16))


def shapeless(path):
    def f(x, w):
        return mx.mean(mx.exp(x @ w), axis=-1) + mx.array(0.5, mx.float32)

    mx.export_function(path, f, mx.ones((2, 4)), mx.ones((4, 3)), shapeless=True)


def markers(path):
    def kernel(name, inputs, outputs, source):
        return mx.fast.metal_kernel(name=name, input_names=inputs, output_names=outputs, source=source)

    norm = kernel("rms_norm", ["x", "w"], ["y"], "uint i = thread_position_in_grid.x; y[i] = x[i] * w[i % x_shape[1]];")
    pair = kernel("add_norm", ["a", "b"], ["s", "n"], "uint i = thread_position_in_grid.x; s[i] = a[i] + b[i * b_strides[1]]; n[i] = a_ndim;")

    def f(x, w):
        launch = dict(grid=(x.size, 1, 1), threadgroup=(32, 1, 1), stream=mx.gpu)
        (y,) = norm(inputs=[x, w], template=[("T", x.dtype)], output_shapes=[x.shape], output_dtypes=[x.dtype], **launch)
        s, n = pair(inputs=[x, y], output_shapes=[x.shape, x.shape], output_dtypes=[x.dtype, mx.float32], init_value=0.5, **launch)
        return [mx.multiply(s, w), n]

    mx.export_function(path, f, mx.ones((2, 64), mx.bfloat16), mx.ones((64,), mx.bfloat16))


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


def qwen3_moe(path):
    import mlx.nn as nn
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_lm.models import qwen3_moe as arch

    mx.random.seed(0)
    model = arch.Model(arch.ModelArgs(
        model_type="qwen3_moe", hidden_size=64, num_hidden_layers=1, intermediate_size=64, num_attention_heads=2,
        num_experts=4, num_experts_per_tok=2, decoder_sparse_step=1, mlp_only_layers=[], moe_intermediate_size=64,
        rms_norm_eps=1e-6, vocab_size=64, num_key_value_heads=1, head_dim=64, rope_theta=1e6,
        tie_word_embeddings=False, max_position_embeddings=128, norm_topk_prob=True))
    model.set_dtype(mx.bfloat16)
    nn.quantize(model, group_size=64, bits=4, class_predicate=lambda p, m: hasattr(m, "to_quantized"))
    model.eval()
    mx.eval(model.parameters())
    weights = dict(tree_flatten(model.parameters()))

    def step(tokens, offset, keys, values, **weights):
        model.update(tree_unflatten(list(weights.items())))
        cache = FixedCache(keys, values, offset)
        logits = model(tokens, cache=[cache])
        return [logits, cache.keys, cache.values]

    state = [mx.zeros((1, 1, 16, 64), mx.bfloat16) for _ in range(2)]
    mx.export_function(path, step, mx.array([[5]]), mx.array(3, mx.int32), *state, **weights)


def pack(folder, path):
    with tarfile.open(path, "w:gz", compresslevel=9) as tar:
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".mlxfn"):
                continue
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def main(folder, probes=None):
    os.makedirs(folder, exist_ok=True)
    out = lambda name: os.path.join(folder, f"{name}-{VERSION}.mlxfn")
    traces(out("traces"))
    shapeless(out("shapeless"))
    if NEW >= (0, 32, 0):
        markers(out("markers"))
    if importlib.util.find_spec("mlx_lm"):
        qwen3_moe(out("qwen3_moe"))
    if probes:
        pack(probes, os.path.join(folder, f"probes-{VERSION}.tar.gz"))


if __name__ == "__main__":
    main(*sys.argv[1:])
