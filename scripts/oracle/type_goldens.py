"""Result types of every op for every element type, or pair of them, from MLX.

    .cache/oracle/venv/bin/python scripts/oracle/type_goldens.py [--check]

writes graph/testdata/types.jsonl. One line of JSON a signature: operands with "$0" and "$1" for the types that run
through all 14, attributes, and one row of results for each $0, with one word for
each $1: the type of the result or "-" where MLX refuses. Nothing is computed: MLX
decides types when it builds the graph, and some calls that it accepts here fail
later on its CPU.
"""

import json

import golden
import mlx.core as mx

mx.set_default_device(mx.cpu)
NAMES = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bfloat16 complex64".split()
DT = {n: (mx.bool_ if n == "bool" else getattr(mx, n)) for n in NAMES}
NAME = {v: k for k, v in DT.items()}
lines = []


def sign(op, ins, f, attrs=None, pairs=True):
    """ins: (type, shape) or None; f is called with the arrays, then with $0 and $1."""
    rows = []
    for t0 in NAMES:
        row = []
        for t1 in NAMES if pairs else [""]:
            try:
                arrays = [None if i is None else mx.zeros(i[1], DT[{"$0": t0, "$1": t1}.get(i[0], i[0])]) for i in ins]
                row.append(NAME[f(*arrays, t0, t1).dtype])
            except (ValueError, TypeError, RuntimeError):
                row.append("-")
        rows.append(" ".join(row))
    lines.append({"op": op, "in": ins, **({"attrs": attrs} if attrs else {}), "rows": rows})


UNARY = """abs arccos arccosh arcsin arcsinh arctan arctanh ceil cos cosh erf erfinv exp expm1 floor log log10 log1p log2 logical_not
negative round rsqrt sigmoid sign sin sinh sqrt square tan tanh contiguous""".split()
BINARY = """add arctan2 bitwise_and bitwise_or bitwise_xor divide equal floor_divide greater greater_equal left_shift less less_equal
logaddexp logical_and logical_or maximum minimum multiply not_equal power remainder right_shift subtract""".split()
def gated_delta(q, k, v, g, beta, state):
    from mlx_lm.models.gated_delta import gated_delta_ops

    if q.dtype not in (mx.float16, mx.bfloat16, mx.float32):
        raise ValueError("ours takes no other types")
    y, after = gated_delta_ops(q.astype(mx.float32), k, v, g, beta, state)
    return mx.concatenate([y.transpose(0, 2, 3, 1), after], -1)


S = [2, 8]
for op in UNARY:
    sign(op, [("$0", S)], lambda a, t, u, f=getattr(mx, op): f(a), pairs=False)
for op in BINARY:
    sign(op, [("$0", S), ("$1", S)], lambda a, b, t, u, f=getattr(mx, op): f(a, b))
sign("where", [("bool", S), ("$0", S), ("$1", S)], lambda c, a, b, t, u: mx.where(c, a, b))
sign("where", [("$0", S), ("$1", S), ("$1", S)], lambda c, a, b, t, u: mx.where(c, a, b))
sign("astype", [("$0", S)], lambda a, t, u: a.astype(DT[u]), dict(dtype="$1"))
sign("view", [("$0", S)], lambda a, t, u: a.view(DT[u]), dict(dtype="$1"))
sign("arange", [], lambda t, u: mx.arange(0, 4, 1, dtype=DT[t]), dict(stop=4, dtype="$0"), pairs=False)
sign("matmul", [("$0", [2, 3]), ("$1", [3, 4])], lambda a, b, t, u: a @ b)
sign("addmm", [("$0", [4]), ("$1", [2, 3]), ("$1", [3, 4])], lambda c, a, b, t, u: mx.addmm(c, a, b))
sign("addmm", [("bfloat16", [4]), ("$0", [2, 3]), ("$1", [3, 4])], lambda c, a, b, t, u: mx.addmm(c, a, b))
sign("gather_mm", [("$0", [2, 2, 3]), ("$1", [2, 3, 4]), None, ("uint32", [3, 1])], lambda a, b, l, r, t, u: mx.gather_mm(a, b, l, r))
sign("gather_mm", [("float32", [2, 2, 3]), ("float32", [2, 3, 4]), ("$0", [3]), ("$1", [3])], lambda a, b, l, r, t, u: mx.gather_mm(a, b, l, r))
Q = dict(group_size=32, bits=4)
PACKED = [("uint32", [2, 8]), ("$1", [2, 2]), ("$1", [2, 2])]
sign("quantized_matmul", [("$0", [3, 64])] + PACKED, lambda x, w, s, z, t, u: mx.quantized_matmul(x, w, s, z, transpose=True, **Q), Q)
sign("quantized_matmul", [("float16", [3, 64]), ("uint32", [2, 8]), ("$0", [2, 2]), ("$1", [2, 2])], lambda x, w, s, z, t, u: mx.quantized_matmul(x, w, s, z, transpose=True, **Q), Q)
sign("quantized_matmul", [("float16", [3, 64]), ("$0", [2, 8]), ("float16", [2, 2]), ("float16", [2, 2])], lambda x, w, s, z, t, u: mx.quantized_matmul(x, w, s, z, transpose=True, **Q), Q, pairs=False)
sign("quantized_matmul", [("$0", [3, 64]), ("uint32", [2, 8]), ("$1", [2, 2])], lambda x, w, s, t, u: mx.quantized_matmul(x, w, s, transpose=True, mode="mxfp4", **Q), dict(Q, mode="mxfp4"))
MANY = [("uint32", [2, 4, 8]), ("$1", [2, 4, 2]), ("$1", [2, 4, 2])]
sign("gather_qmm", [("$0", [1, 3, 64])] + MANY + [None, ("uint32", [5])], lambda x, w, s, z, l, r, t, u: mx.gather_qmm(x, w, s, z, l, r, transpose=True, **Q), Q)
sign("gather_qmm", [("float16", [1, 3, 64]), ("uint32", [2, 4, 8]), ("float16", [2, 4, 2]), ("float16", [2, 4, 2]), ("$0", [5]), ("$1", [5])],
     lambda x, w, s, z, l, r, t, u: mx.gather_qmm(x, w, s, z, l, r, transpose=True, **Q), Q)
sign("dequantize", [("uint32", [2, 8]), ("$0", [2, 2]), ("$1", [2, 2])], lambda w, s, z, t, u: mx.dequantize(w, s, z, **Q), Q)
sign("dequantize", [("$0", [2, 8]), ("$1", [2, 2])], lambda w, s, t, u: mx.dequantize(w, s, mode="mxfp4", **Q), dict(Q, mode="mxfp4"))
# The first of three results: the others have the type of the operand, which graph's own tests say.
sign("quantize", [("$0", [2, 64])], lambda w, t, u: mx.quantize(w, **Q)[0], Q, pairs=False)
sign("conv1d", [("$0", [2, 5, 4]), ("$1", [6, 3, 2])], lambda x, w, t, u: mx.conv1d(x, w, groups=2), dict(groups=2))
for op in "sum prod max min all any".split():
    sign(op, [("$0", S)], lambda a, t, u, f=getattr(mx, op): f(a, axis=[-1]), dict(axis=[-1]), pairs=False)
for op in "argmax argmin cumsum sort argsort softmax".split():
    sign(op, [("$0", S)], lambda a, t, u, f=getattr(mx, op): f(a, axis=-1), dict(axis=-1), pairs=False)
sign("softmax", [("$0", S)], lambda a, t, u: mx.softmax(a, axis=0, precise=True), dict(axis=0, precise=True), pairs=False)
sign("logsumexp", [("$0", S)], lambda a, t, u: mx.logsumexp(a, axis=[-1]), dict(axis=[-1]), pairs=False)
sign("logsumexp", [("$0", S)], lambda a, t, u: mx.logsumexp(a, axis=[0]), dict(axis=[0]), pairs=False)
for op in "partition argpartition".split():
    sign(op, [("$0", S)], lambda a, t, u, f=getattr(mx, op): f(a, 1, axis=-1), dict(kth=1, axis=-1), pairs=False)
sign("take", [("$0", S), ("$1", [3])], lambda a, i, t, u: mx.take(a, i, axis=0), dict(axis=0))
sign("take_along_axis", [("$0", S), ("$1", S)], lambda a, i, t, u: mx.take_along_axis(a, i, axis=0), dict(axis=0))
sign("put_along_axis", [("float32", S), ("$0", S), ("$1", S)], lambda a, i, v, t, u: mx.put_along_axis(a, i, v, axis=0), dict(axis=0))
sign("put_along_axis", [("$0", S), ("int32", S), ("$1", S)], lambda a, i, v, t, u: mx.put_along_axis(a, i, v, axis=0), dict(axis=0))
sign("slice", [("$0", S)], lambda a, t, u: a[1:], dict(axis=[0], start=[1]), pairs=False)


def update(a, v):
    b = mx.array(a)
    b[1:] = v
    return b


def append(a, v):
    b = mx.array(a)
    b[:, :, 1:3] = v
    return b


sign("slice_update", [("$0", S), ("$1", [1, 8])], lambda a, v, t, u: update(a, v), dict(axis=[0], start=[1]))
sign("slice_update_dynamic", [("$0", S), ("$1", [1, 8]), ("int32", [1])], lambda a, v, s, t, u: mx.slice_update(a, v, s, [0]), dict(axis=[0]))
sign("slice_update_dynamic", [("float32", S), ("float32", [1, 8]), ("$0", [1])], lambda a, v, s, t, u: mx.slice_update(a, v, s, [0]), dict(axis=[0]), pairs=False)
sign("kv_append", [("$0", [1, 1, 4, 2]), ("$1", [1, 1, 2, 2]), ("int32", [])], lambda a, v, o, t, u: append(a, v))
sign("gated_delta", [("$0", [1, 2, 1, 4]), ("float32", [1, 2, 1, 4]), ("float32", [1, 2, 1, 3]), ("float32", [1, 2, 1]), ("float32", [1, 2, 1]), ("float32", [1, 1, 3, 4])],
     lambda q, k, v, g, beta, state, t, u: gated_delta(q, k, v, g, beta, state), pairs=False)
sign("reshape", [("$0", S)], lambda a, t, u: a.reshape(16), dict(shape=[16]), pairs=False)
sign("flatten", [("$0", S)], lambda a, t, u: mx.flatten(a), dict(start_axis=0), pairs=False)
sign("unflatten", [("$0", S)], lambda a, t, u: mx.unflatten(a, 1, (2, 4)), dict(axis=1, shape=[2, 4]), pairs=False)
sign("transpose", [("$0", S)], lambda a, t, u: a.T, dict(axes=[1, 0]), pairs=False)
sign("expand_dims", [("$0", S)], lambda a, t, u: mx.expand_dims(a, 0), dict(axis=0), pairs=False)
sign("squeeze", [("$0", [1, 8])], lambda a, t, u: mx.squeeze(a, 0), dict(axis=0), pairs=False)
sign("broadcast_to", [("$0", S)], lambda a, t, u: mx.broadcast_to(a, (3, 2, 8)), dict(shape=[3, 2, 8]), pairs=False)
sign("concatenate", [("$0", S), ("$1", S)], lambda a, b, t, u: mx.concatenate([a, b], 0), dict(axis=0))
N = dict(eps=1e-5)
sign("rms_norm", [("$0", S), ("$1", [8])], lambda x, w, t, u: mx.fast.rms_norm(x, w, 1e-5), N)
sign("rms_norm", [("$0", S)], lambda x, t, u: mx.fast.rms_norm(x, None, 1e-5), N, pairs=False)
sign("layer_norm", [("$0", S), ("$1", [8])], lambda x, w, t, u: mx.fast.layer_norm(x, w, None, 1e-5), N)
sign("layer_norm", [("$0", S), None, ("$1", [8])], lambda x, w, b, t, u: mx.fast.layer_norm(x, None, b, 1e-5), N)
sign("layer_norm", [("bfloat16", S), ("$0", [8]), ("$1", [8])], lambda x, w, b, t, u: mx.fast.layer_norm(x, w, b, 1e-5), N)
R = dict(dims=8, base=1e4)
sign("rope", [("$0", [1, 2, 3, 8]), ("$1", [])], lambda x, o, t, u: mx.fast.rope(x, 8, traditional=False, base=1e4, scale=1.0, offset=o), R)
sign("rope", [("$0", [1, 2, 3, 8]), ("int32", []), ("$1", [4])], lambda x, o, f, t, u: mx.fast.rope(x, 8, traditional=False, base=None, scale=1.0, offset=o, freqs=f), dict(dims=8))
A = dict(scale=1.0)
KV = [1, 2, 4, 8]
sdpa = mx.fast.scaled_dot_product_attention
sign("sdpa", [("$0", [1, 2, 3, 8]), ("$1", KV), ("$1", KV)], lambda q, k, v, t, u: sdpa(q, k, v, scale=1.0), A)
sign("sdpa", [("bfloat16", [1, 2, 3, 8]), ("$0", KV), ("$1", KV)], lambda q, k, v, t, u: sdpa(q, k, v, scale=1.0), A)
sign("sdpa", [("$0", [1, 2, 3, 8]), ("$0", KV), ("$0", KV), ("$1", [3, 4])], lambda q, k, v, m, t, u: sdpa(q, k, v, scale=1.0, mask=m), dict(A, mask="array"))
sign("sdpa", [("$0", [1, 2, 3, 8]), ("$0", KV), ("$0", KV), None, ("$1", [2])], lambda q, k, v, m, s, t, u: sdpa(q, k, v, scale=1.0, sinks=s), A)

rows = [{"mlx": mx.__version__, "signatures": len(lines)}] + lines
text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
golden.run(__doc__, "graph/testdata", lambda out: (out / "types.jsonl").write_text(text))
