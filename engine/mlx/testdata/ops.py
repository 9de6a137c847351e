"""Calls every operation that engine/mlx binds through MLX's Python binding.

Writes ops.golden: one line a result, `name type[shape] value...`. ops_test.go makes
the same calls through mlx-c. What is tested is that each argument arrives where it
should; so the inputs are small, and every argument differs from its default.

    python engine/mlx/testdata/ops.py [--check]
"""

import sys
from pathlib import Path

import mlx.core as mx

mx.set_default_device(mx.cpu)
f32, f16, bf16, i32, u32, u8, b8 = mx.float32, mx.float16, mx.bfloat16, mx.int32, mx.uint32, mx.uint8, mx.bool_


def ramp(shape, mod, offset, scale):
    """(i % mod - offset) * scale: the same in Go, and exact in float32."""
    n = 1
    for d in shape:
        n *= d
    return ((mx.arange(n) % mod - offset) * mx.array(scale, f32)).reshape(shape).astype(f32)


x = ramp((2, 3, 4), 11, 5, 0.25)  # -1.25 .. 1.25
y = ramp((3, 4), 7, 2, 0.5)  # -1 .. 2
p = ramp((2, 3, 4), 5, -1, 0.125)  # 0.125 .. 0.625
g = ramp((2, 3, 4), 5, -9, 0.125)  # 1.125 .. 1.625
i = ramp((2, 3), 7, 2, 1.0).astype(i32)  # -2 .. 3
j = ramp((2, 3), 5, -1, 1.0).astype(i32)  # 1 .. 5
c = y > 0
idx = mx.array([2, 0], i32)
along = mx.array([[[1, 0, 2, 1]], [[0, 2, 1, 0]]], i32)
wild = mx.array([float("nan"), float("inf"), float("-inf"), 0.0], f32)
w = ramp((32, 64), 16, 8, 0.25)
v = ramp((3, 64), 9, 4, 0.5)
w3 = ramp((4, 32, 64), 16, 8, 0.25)
q = ramp((1, 4, 3, 8), 13, 6, 0.25)
k = ramp((1, 2, 5, 8), 11, 5, 0.25)
kv = ramp((1, 2, 5, 8), 7, 3, 0.5)
a4 = dict(group_size=32, bits=4, mode="affine")
wq, ws, wb = mx.quantize(w, **a4)
eq, es, eb = mx.quantize(w3, **a4)
mq, ms = mx.quantize(w, group_size=32, bits=4, mode="mxfp4")
pick = mx.array([[3], [1], [1]], u32)
start = mx.array([1], i32)
fast = mx.fast

cases = {
    **{
        n: getattr(mx, n)(a)
        for n, a in {
            "abs": x, "arctan": x, "arcsinh": x, "arccos": p, "arcsin": p, "arctanh": p, "arccosh": g,
            "bitwise_invert": i, "ceil": x, "cos": x, "cosh": x, "degrees": x, "erf": x, "erfinv": p,
            "exp": x, "expm1": x, "floor": x, "isfinite": wild, "isinf": wild, "isnan": wild, "isneginf": wild,
            "isposinf": wild, "log": p, "log10": p, "log1p": p, "log2": p, "logical_not": c, "negative": x,
            "radians": x, "reciprocal": p, "rsqrt": p, "sigmoid": x, "sign": x, "sin": x, "sinh": x, "sqrt": p,
            "square": x, "stop_gradient": x, "tan": x, "tanh": x,
        }.items()
    },
    **{
        n: getattr(mx, n)(x, y)
        for n in ("add arctan2 divide equal greater greater_equal less less_equal logaddexp logical_and "
                  "logical_or maximum minimum multiply not_equal subtract").split()
    },
    **{n: getattr(mx, n)(i, j) for n in "bitwise_and bitwise_or bitwise_xor floor_divide remainder left_shift right_shift".split()},
    # not in the Python binding
    "copy": x,
    "trunc": mx.where(x < 0, mx.ceil(x), mx.floor(x)),
    "logical_xor": x.astype(b8) != y.astype(b8),
    "power": mx.power(p, y),
    "divmod.0": mx.divmod(i, j)[0],
    "divmod.1": mx.divmod(i, j)[1],
    "conjugate": mx.conjugate(x.astype(mx.complex64)),
    "real": mx.real(x.astype(mx.complex64)),
    "imag": mx.imag(x.astype(mx.complex64)),
    "round": mx.round(x, 1),
    "clip": mx.clip(x, mx.array(-0.5), mx.array(0.75)),
    "clip.low": mx.clip(x, mx.array(-0.5), None),
    "where": mx.where(c, x, y),
    "astype": x.astype(i32),
    "astype.bf16": (x * 1.01).astype(bf16),
    "view": y.view(u32),
    "to_fp8": mx.to_fp8(x),
    "from_fp8": mx.from_fp8(mx.to_fp8(x), bf16),
    # shapes
    "arange": mx.arange(3, 20, 5, i32),
    "zeros": mx.zeros((2, 0, 3), f16),
    "full": mx.full((2, 4), mx.array([1, 2, 3, 4]), i32),
    "tri": mx.tri(3, 4, 1, f32),
    "tril": mx.tril(y, -1),
    "triu": mx.triu(y, 1),
    "eye": mx.eye(2, 3, 1, i32),
    "reshape": x.reshape(4, -1),
    "broadcast_to": mx.broadcast_to(y, (2, 3, 4)),
    "transpose": x.transpose(),
    "transpose.axes": x.transpose(1, 2, 0),
    "swapaxes": mx.swapaxes(x, 0, 2),
    "moveaxis": mx.moveaxis(x, 0, 2),
    "expand_dims": mx.expand_dims(y, [0, -1]),
    "squeeze": mx.squeeze(mx.expand_dims(y, [0, -1])),
    "squeeze.axes": mx.squeeze(mx.expand_dims(y, [0, -1]), [0]),
    "flatten": mx.flatten(x, 1, 2),
    "unflatten": mx.unflatten(y, 1, [2, 2]),
    "as_strided": mx.as_strided(y, (2, 3), (5, 1), 3),
    "contiguous": mx.contiguous(x.transpose(2, 0, 1)),
    "repeat": mx.repeat(y, 2, 1),
    "tile": mx.tile(y, [2, 1]),
    "roll": mx.roll(x, [1, -1], [0, 2]),
    "pad": mx.pad(y, [(1, 0), (0, 2)], "constant", 7.0),
    "pad.edge": mx.pad(y, [(1, 0), (0, 2)], "edge"),
    "concatenate": mx.concatenate([x, x + 1], 1),
    "stack": mx.stack([y, y + 1], 1),
    "split.1": mx.split(x, 2, 2)[1],
    "split.at.1": mx.split(x, [1, 3], 2)[1],
    # reductions
    **{n: getattr(mx, n)(x, [0, 2], keepdims=True) for n in "all any logsumexp max mean min prod sum".split()},
    **{n + ".all": getattr(mx, n)(x) for n in "all any logsumexp max mean min prod sum".split()},
    "sum.none": mx.sum(x, []),
    "var": mx.var(x, [1], keepdims=True, ddof=1),
    "softmax": mx.softmax(x, [-1]),
    "softmax.axes": mx.softmax(x, [0, 2]),
    "softmax.all": mx.softmax(x),
    "softmax.precise": mx.softmax(x.astype(bf16), [-1], precise=True),
    "argmax": mx.argmax(x, 1, keepdims=True),
    "argmin": mx.argmin(x, 2),
    "argmax.all": mx.argmax(x),
    "argmin.all": mx.argmin(x, keepdims=True),
    "cumsum": mx.cumsum(x, 1, reverse=True, inclusive=False),
    "cumprod": mx.cumprod(x, 1),
    "cummax": mx.cummax(x, 2, reverse=True),
    "cummin": mx.cummin(x, 2),
    "logcumsumexp": mx.logcumsumexp(x, 2),
    "sort": mx.sort(x, 1),
    "argsort": mx.argsort(x, 2),
    "partition": mx.sort(mx.partition(x, 2, 2)[..., 2:], -1),
    "argpartition": mx.argpartition(x, 1, 1).astype(f32).sum(1),
    "topk": mx.sort(mx.topk(x, 2, 1), 1),
    # indexing
    "take": mx.take(y, mx.array([7, 1], i32)),
    "take.axis": mx.take(y, idx, 0),
    "take_along_axis": mx.take_along_axis(x, along, 1),
    "put_along_axis": mx.put_along_axis(x, along, mx.full((2, 1, 4), 9.0), 1),
    "scatter_add_axis": x.at[mx.arange(2)[:, None, None], along, mx.arange(4)].add(mx.full((2, 1, 4), 9.0)),
    "gather": y[idx][:, None, 0:2],
    "slice": y[2:0:-1, 1:4:2],
    "slice_update": mx.slice_update(y, mx.array([[8.0, 9.0]]), mx.array([1, 2], i32), [0, 1]),
    "slice.dynamic": mx.slice(y, start, [0], [2, 4]),
    "slice_update.dynamic": mx.slice_update(y, mx.array([[8.0, 9.0]]), mx.array([1, 2], i32), [0, 1]),
    # products
    "matmul": x @ y.T,
    "inner": mx.inner(x, y),
    "outer": mx.outer(y, idx.astype(f32)),
    "addmm": mx.addmm(mx.array([1.0, 2.0, 3.0]), x, y.T, alpha=0.5, beta=2.0),
    "gather_mm": mx.gather_mm(v[:, None, :], w3.swapaxes(-1, -2), rhs_indices=mx.array([1, 1, 3], u32), sorted_indices=True)[..., :4],
    "quantize.0": wq[:2],
    "quantize.1": ws[:2],
    "quantize.2": wb[:2],
    "quantize.mxfp4.0": mq[:2],
    "quantize.mxfp4.1": ms[:2],
    "dequantize": mx.dequantize(wq, ws, wb, **a4)[:1],
    "dequantize.mxfp4": mx.dequantize(mq, ms, group_size=32, bits=4, mode="mxfp4", dtype=f32)[:1],
    "quantized_matmul": mx.quantized_matmul(v, wq, ws, wb, transpose=True, **a4),
    "quantized_matmul.plain": mx.quantized_matmul(v[:, :32], wq, ws, wb, transpose=False, **a4)[:, :8],
    "quantized_matmul.mxfp4": mx.quantized_matmul(v, mq, ms, transpose=True, group_size=32, bits=4, mode="mxfp4")[:, :8],
    "gather_qmm": mx.gather_qmm(v[:, None, None, :], eq, es, eb, rhs_indices=pick, transpose=True, **a4)[..., :4],
    "gather_qmm.sorted": mx.gather_qmm(v[:, None, None, :], eq, es, eb, rhs_indices=mx.sort(pick, 0), transpose=True,
                                       sorted_indices=True, **a4)[..., :4],
    "conv1d": mx.conv1d(ramp((1, 6, 4), 7, 3, 0.5), ramp((4, 2, 2), 5, 2, 0.5), stride=2, padding=1, dilation=2, groups=2),
    # fast
    "rms_norm": fast.rms_norm(x, ramp((4,), 4, -1, 0.5), 1e-2),
    "rms_norm.plain": fast.rms_norm(x, None, 1e-2),
    "layer_norm": fast.layer_norm(x, ramp((4,), 4, -1, 0.5), ramp((4,), 4, 0, 1.0), 1e-2),
    "rope": fast.rope(q, 6, traditional=False, base=100.0, scale=0.5, offset=3),
    "rope.traditional": fast.rope(q, 8, traditional=True, base=100.0, scale=1.0, offset=0),
    "rope.at": fast.rope(q, 6, traditional=False, base=100.0, scale=0.5, offset=mx.array([3], i32)),
    "rope.freqs": fast.rope(q, 8, traditional=False, base=None, scale=1.0, offset=2, freqs=ramp((4,), 4, -1, 2.0)),
    "sdpa": fast.scaled_dot_product_attention(q, k, kv, scale=0.35, mask=None),
    "sdpa.causal": fast.scaled_dot_product_attention(q, k, kv, scale=0.35, mask="causal"),
    "sdpa.array": fast.scaled_dot_product_attention(q, k, kv, scale=0.35, mask=ramp((3, 5), 4, 1, 0.5)),
    "sdpa.bool": fast.scaled_dot_product_attention(q, k, kv, scale=0.35, mask=ramp((3, 5), 4, 1, 0.5) >= 0),
    "sdpa.sinks": fast.scaled_dot_product_attention(q, k, kv, scale=0.35, mask=None, sinks=ramp((4,), 4, 1, 0.5)),
}


def line(name, a):
    dtype = str(a.dtype).split(".")[-1]
    if a.dtype in (bf16, f16):
        a = a.astype(f32)
    values = a.flatten().tolist()
    if a.dtype == mx.complex64:
        values = [part for z in values for part in (z.real, z.imag)]
    text = [repr(int(z)) if isinstance(z, (int, bool)) else "%.9g" % z for z in values]
    return " ".join([name, dtype + str(list(a.shape)).replace(" ", ""), *text])


def same(old, new):
    """Equal up to the last bits: the C library's functions differ between systems."""
    if len(old) != len(new):
        return False
    for a, b in zip(old, new):
        a, b = a.split(), b.split()
        if a[:2] != b[:2] or len(a) != len(b):
            return False
        if any(s != t and not abs(float(s) - float(t)) <= 1e-5 * (1 + abs(float(s))) for s, t in zip(a[2:], b[2:])):
            return False
    return True


lines = [line(name, a) for name, a in cases.items()]
golden = Path(__file__).with_suffix(".golden")
if "--check" in sys.argv[1:]:
    if not same(golden.read_text().splitlines(), lines):
        sys.exit(f"{golden} is not what MLX {mx.__version__} gives; run {__file__} and look at the difference")
else:
    golden.write_text("\n".join(lines) + "\n")
    # An exported function, for ops_test.go: f(x, bias=...) = (x @ x, x + bias).
    mx.export_function(str(golden.with_name("pair.mlxfn")), lambda x, bias: (x @ x, x + bias), y[:, :3], bias=mx.array(2.0))
