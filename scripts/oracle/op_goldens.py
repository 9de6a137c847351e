"""Golden results of every op of the op table, computed by MLX on the CPU.

    .cache/oracle/venv/bin/python scripts/oracle/op_goldens.py [--check]

writes engine/enginetest/testdata/ops.jsonl.gz. One line of JSON a case: the op, its attributes as graph spells them, operands, the
result, and how far another correct implementation may be from it:

    |got - want| <= abs + (rel + ulp * eps(type)) * |want|

All three are 0 for ops that move, select or do one rounded operation. Elsewhere
the bound is made of what MLX does on this CPU: polynomials for exp, sin, cos and
erf; sums in the operand's own type (n * eps/2 * sum of |terms|). "machine" marks
what MLX leaves to libm or BLAS, whose bits depend on the machine: --check asks for
the same bits of all other cases, and of these that they keep to the bound.
"""

import base64
import gzip
import json
import math
import platform

import golden
import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)
rng = np.random.default_rng(20261123)

NAMES = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bfloat16 complex64".split()
DT = {n: (mx.bool_ if n == "bool" else getattr(mx, n)) for n in NAMES}
NAME = {v: k for k, v in DT.items()}
FLOATS = ["float16", "bfloat16", "float32", "float64"]
HALVES = ["float16", "bfloat16", "float32"]
INTS = "uint8 uint16 uint32 uint64 int8 int16 int32 int64".split()
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52, "complex64": 2.0**-23}
LIBM = set("arccos arccosh arcsin arcsinh arctan arctanh cosh expm1 erfinv log log10 log1p log2 sinh tan tanh arctan2 logaddexp logsumexp power".split())

cases = []


def raw(a):
    a = mx.contiguous(a)
    mx.eval(a)
    t = NAME[a.dtype]
    if t == "bool":
        return np.array(a).astype(np.uint8).tobytes()
    if t == "bfloat16":
        return np.array(a.view(mx.uint16)).tobytes()
    return np.array(a).tobytes()


def pack(a):
    return {"dtype": NAME[a.dtype], "shape": list(a.shape), "data": base64.b64encode(raw(a)).decode()}


def attr(v):
    return NAME[v] if isinstance(v, mx.Dtype) else v


def case(op, ins, out, attrs=None, ulp=0.0, rel=0.0, abs=0.0, compare=None, portable=None, result=0):
    """out is the op's result of that number."""
    c = {"op": op, "in": [None if a is None else pack(a) for a in ins], "out": pack(out)}
    if result:
        c["result"] = result
    if attrs:
        c["attrs"] = {k: attr(v) for k, v in attrs.items()}
    for k, v in (("ulp", ulp), ("rel", rel), ("abs", abs)):
        if v:
            c[k] = float(v)
    if compare:
        c["compare"] = compare
    if op in LIBM if portable is None else not portable:
        c["machine"] = True
    cases.append(c)


def arr(v, t):
    if t == "complex64":
        return mx.array(np.array(v, dtype=np.complex64))
    if t == "float64":
        return mx.array(np.array(v, dtype=np.float64), dtype=mx.float64)
    if t in FLOATS:
        return mx.array(np.array(v, dtype=np.float64).astype(np.float32)).astype(DT[t])
    return mx.array(np.array(v, dtype=np.bool_ if t == "bool" else t))


def rand(t, *shape, scale=1.0):
    if t == "bool":
        return arr(rng.integers(0, 2, shape), t)
    if t in INTS:
        return arr(rng.integers(0 if t[0] == "u" else -50, 50, shape), t)
    if t == "complex64":
        return arr(rng.normal(size=shape) + 1j * rng.normal(size=shape), t)
    return arr(rng.normal(size=shape) * scale, t)


def f64(a):
    return np.array(a.astype(mx.float64)) if a.dtype != mx.bool_ else np.array(a).astype(float)


MAX = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}
TINY = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}


def specials(t):
    return [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.25, math.inf, -math.inf, math.nan, MAX[t], -MAX[t],
            TINY[t], -TINY[t], 1e-3, 1 / 3, 10.0, -10.0, 16.5, 100.0, -100.0]


def intspecials(t):
    i = np.iinfo(t)
    return [0, 1, 2, 3, 7, 11, i.max, i.max - 1, i.min, i.min + 1, 100] + ([] if t[0] == "u" else [-1, -2, -100])


# Elementwise, one operand: what MLX's own method adds to the rounding of the result.
UNARY = dict(
    abs={}, ceil={}, floor={}, negative={}, round={}, rsqrt={}, sign={}, sqrt={}, square={},
    arccos=dict(ulp=2), arccosh=dict(ulp=2), arcsin=dict(ulp=2), arcsinh=dict(ulp=2), arctan=dict(ulp=2), arctanh=dict(ulp=2),
    cosh=dict(ulp=2), expm1=dict(ulp=2), log=dict(ulp=2), log10=dict(ulp=2), log1p=dict(ulp=2), log2=dict(ulp=2),
    sinh=dict(ulp=2), tan=dict(ulp=2), tanh=dict(ulp=2),
    exp=dict(ulp=1, rel=1e-5, abs=2e-38), sigmoid=dict(ulp=3, rel=1e-5, abs=2e-38),
    cos=dict(ulp=1, abs=3e-7), sin=dict(ulp=1, abs=3e-7, rel=3e-7), erf=dict(ulp=1, abs=5e-7), erfinv=dict(ulp=2, rel=1e-5, abs=1e-38),
)
DOMAIN = dict(arccosh=lambda v: abs(v) + 1, erfinv=lambda v: 0.9 * np.tanh(v), arcsin=lambda v: np.tanh(v), arccos=lambda v: np.tanh(v), arctanh=lambda v: np.tanh(v),
              log=lambda v: abs(v), log2=lambda v: abs(v), log10=lambda v: abs(v), log1p=lambda v: abs(v) - 0.9, sqrt=lambda v: abs(v), rsqrt=lambda v: abs(v))


def unary():
    for op, bound in UNARY.items():
        f = getattr(mx, op)
        for t in FLOATS:
            sp = specials(t)
            if op in ("sin", "cos", "tan"):  # the argument reduction of polynomials ends somewhere
                sp = [x for x in sp if not (abs(x) > 1e4)]
            if op == "erfinv":  # MLX gives a number outside [-1, 1]
                sp = [x for x in sp if abs(x) < 1]
            if op == "exp" and t == "float64":  # MLX computes it in float32: infinite from 88 on
                sp = [x for x in sp if not abs(x) > 80]
            if op == "erf" and t == "float64":  # the polynomial is in float32
                sp = [x for x in sp if not abs(x) > 1e30]
            v = list(rng.normal(size=12) * 3)
            v = [float(DOMAIN[op](x)) for x in v] if op in DOMAIN else v
            a = arr(sp + v, t)
            b = dict(bound)
            if t == "float64" and op in ("cos", "sin"):
                b["rel"] = 3e-7
            if t == "float64" and "rel" not in b and b:
                b = dict(rel=2e-6, abs=5e-7) if op == "erf" else dict(ulp=4)
            case(op, [a], f(a), **b)
        a = rand("float32", 2, 3, 4)  # rank and strides
        case(op, [DOMAIN_of(op, a)], f(DOMAIN_of(op, a)), **bound)
        for t in ["bool"] + INTS:
            keep = op in ("abs", "ceil", "floor", "round", "sign", "square", "negative")
            if not keep and t not in ("bool", "int32", "uint8"):
                continue
            if op == "negative" and t == "bool":
                continue
            v = [0, 1, 0, 1] if t == "bool" else intspecials(t) if keep else [0, 1] if op not in ("arccosh",) else [1, 2, 3]
            if op in ("arctanh", "erfinv"):
                v = [0]
            case(op, [arr(v, t)], f(arr(v, t)), **bound)
    a = rand("complex64", 5)
    case("negative", [a], mx.negative(a))
    case("square", [a], mx.square(a))
    for t in NAMES:
        v = [0, 1, 2, 0, 1] if t in INTS + ["bool"] else [0.0, -0.0, 0.5, math.nan, math.inf] if t in FLOATS else [0, 1j, 1, 0, 2 - 1j]
        case("logical_not", [arr(v, t)], mx.logical_not(arr(v, t)))


def DOMAIN_of(op, a):
    return a if op not in DOMAIN else mx.array(DOMAIN[op](np.array(a)).astype(np.float32))


def casts():
    for s in NAMES:
        for d in NAMES:
            v = [0, 1, 2, 3, 100, 127, 1]
            if s in FLOATS and d not in INTS:
                v = specials(s) + [1 + 2.0**-8, 1 + 2.0**-11, 1 + 3 * 2.0**-11, 65519.0, 65520.0, 2.0**-25, 3 * 2.0**-25, 0.1]
            elif s in FLOATS:
                v += [0.5, 1.5, 2.9]
                if d[0] != "u":
                    v += [-1.0, -2.7, -0.5]
            elif s in INTS and (d in INTS or d in FLOATS):
                v = intspecials(s)
            elif s == "complex64":
                v = [0, 1, 2 + 1j, 3.0]
            elif s == "bool":
                v = [0, 1, 1]
            a = arr(v, s)
            case("astype", [a], a.astype(DT[d]), dict(dtype=DT[d]))


BINARY = dict(
    add={}, subtract={}, multiply={}, divide={}, maximum={}, minimum={}, equal={}, not_equal={}, less={}, less_equal={}, greater={}, greater_equal={},
    logical_and={}, logical_or={}, floor_divide={}, remainder={}, power=dict(ulp=2), arctan2=dict(ulp=2), logaddexp=dict(ulp=4, rel=1e-5, abs=1e-6),
)


def binary():
    some = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 2.5, -0.375]
    for op, bound in BINARY.items():
        f = getattr(mx, op)
        for t in FLOATS:
            v = some + [MAX[t], TINY[t]] + list(rng.normal(size=5))
            a, b = arr(v, t).reshape(-1, 1), arr(v[::-1], t).reshape(1, -1)
            if op == "power" and t in ("float16", "bfloat16", "float32"):
                a = abs(a)
            bd = dict(bound)
            if op == "power":  # log of a large result times eps
                bd = dict(ulp=2, rel=2e-6 if t != "float64" else 1e-13)
            if op == "logaddexp" and t in ("float16", "bfloat16"):
                bd["abs"] = 4 * EPS[t]
            case(op, [a, b], f(a, b), **bd)
        # Broadcasting of ranks and axes, and two different types.
        a, b = rand("float16", 2, 1, 3), rand("bfloat16", 4, 1)
        if op == "power":
            a = abs(a)
        case(op, [a, b], f(a, b), **bound)
        a, b = rand("int8", 3), rand("float16")
        if op == "power":
            a = abs(a)
        case(op, [a, b], f(a, b), **dict(bound, ulp=max(bound.get("ulp", 0), 0)))
        for t in ["bool"] + INTS:
            if op in ("arctan2", "logaddexp", "divide") and t not in ("bool", "int32", "uint64"):
                continue
            v = [0, 1] if t == "bool" else intspecials(t)
            if op in ("power", "logaddexp", "arctan2", "divide") and t != "bool":
                v = [1, 2, 3, 5, 7] + ([] if t[0] == "u" or op == "logaddexp" else [-1, -3])
            w = v
            if op in ("floor_divide", "remainder"):  # by 0, and min / -1, end the process
                w = [x for x in v if x not in (0, -1)]
                if t == "bool":
                    continue
            if op == "divide" or op == "arctan2":
                v = w = [x for x in v if x] or [1]
            a, b = arr(v, t).reshape(-1, 1), arr(w, t).reshape(1, -1)
            case(op, [a, b], f(a, b), **bound)
        if op in ("add", "subtract", "multiply", "equal", "not_equal"):
            a, b = rand("complex64", 4), rand("complex64", 4)
            case(op, [a, b], f(a, b))
            case(op, [a, a], f(a, a))
        if op == "divide":
            a, b = rand("complex64", 4), rand("complex64", 4)
            case(op, [a, b], f(a, b), ulp=8)
    for op in "bitwise_and bitwise_or bitwise_xor".split():
        f = getattr(mx, op)
        for t in ["bool"] + INTS:
            v = [0, 1] if t == "bool" else intspecials(t)
            a, b = arr(v, t).reshape(-1, 1), arr(v, t).reshape(1, -1)
            case(op, [a, b], f(a, b))
    for op in "left_shift right_shift".split():
        f = getattr(mx, op)
        for t in INTS:
            a = arr(intspecials(t), t).reshape(-1, 1)
            b = arr([0, 1, 3, np.iinfo(t).bits - 1], t)
            case(op, [a, b], f(a, b))
        a, b = arr([0, 1], "bool").reshape(2, 1), arr([0, 1], "bool")
        case(op, [a, b], f(a, b))
    for t in NAMES:
        c, x, y = rand("bool", 2, 3), rand(t, 3), rand(t, 2, 1)
        case("where", [c, x, y], mx.where(c, x, y))
    c, x, y = arr([0.0, math.nan, 2.0], "float32"), rand("float16", 3), rand("int32")
    case("where", [c, x, y], mx.where(c, x, y))


    # 764 / 255 is below 3, but its quotient in bfloat16 is 3.
    a, b = arr([764.0, -764.0], "bfloat16"), arr([255.0, 255.0], "bfloat16")
    case("floor_divide", [a, b], mx.floor_divide(a, b))


def aranges():
    for t in INTS + FLOATS:
        for start, stop, step in [(0, 5, 1), (2, 9, 3), (3, 3, 1), (0, 300 if t in FLOATS else 100, 1)]:
            case("arange", [], mx.arange(start, stop, step, dtype=DT[t]), dict(start=start, stop=stop, step=step, dtype=DT[t]))
    for t in ["int32", "float32", "bfloat16", "int64"]:
        case("arange", [], mx.arange(5, -6, -2, dtype=DT[t]), dict(start=5, stop=-6, step=-2, dtype=DT[t]))


def sums(a, b, k, t):
    """The bound of a product that sums k terms in float32 and is rounded to t."""
    s = float(np.max(np.abs(f64(a)) @ np.abs(f64(b)), initial=0.0))
    return dict(ulp=1, abs=k * EPS["float64" if t == "float64" else "float32"] * s)


def products():
    shapes = [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((4,), (4, 3)), ((3, 4), (4,)), ((4,), (4,)), ((2, 0), (0, 3)), ((1, 70), (70, 2))]
    for t in FLOATS:
        for sa, sb in shapes:
            a, b = rand(t, *sa), rand(t, *sb)
            case("matmul", [a, b], a @ b, **sums(a, b, sb[0] if len(sb) == 1 else sb[-2], t), portable=t in ("float16", "bfloat16"))
        a, b, c = rand(t, 3, 4), rand(t, 4, 5), rand(t, 5)
        bd = sums(a, b, 8, t)
        bd["abs"] += 4 * EPS[t if t == "float64" else "float32"] * float(np.max(np.abs(f64(c)))) * 2
        case("addmm", [c, a, b], mx.addmm(c, a, b, alpha=0.5, beta=2.0), dict(alpha=0.5, beta=2.0), **bd, portable=t in ("float16", "bfloat16"))
        case("addmm", [c, a, b], mx.addmm(c, a, b), **bd, portable=t in ("float16", "bfloat16"))
    a, b = rand("float16", 3, 4), rand("bfloat16", 4, 2)
    case("matmul", [a, b], a @ b, **sums(a, b, 4, "float32"), portable=False)
    a, b = arr([[math.inf, 1.0], [math.nan, 0.0], [65504.0, 65504.0]], "float16"), arr([[1.0], [1.0]], "float16")
    case("matmul", [a, b], a @ b, ulp=1)
    for t in ["float32"]:  # MLX's CPU has gather_mm for float32 only
        a, b = rand(t, 2, 1, 4), rand(t, 3, 4, 5)
        l, r = arr([1, 0, 1], "uint32"), arr([2, 0, 2], "uint32")
        case("gather_mm", [a, b, l, r], mx.gather_mm(a, b, l, r), ulp=1, abs=1e-5, portable=False)
        r = arr([[2, 0], [1, 1]], "uint32")
        case("gather_mm", [a, b, None, r], mx.gather_mm(a, b, None, r), ulp=1, abs=1e-5, portable=False)
        case("gather_mm", [a[:1], b, None, r], mx.gather_mm(a[:1], b, None, r), ulp=1, abs=1e-5, portable=False)


def quantized():
    for bits in (2, 3, 4, 5, 6, 8):
        for t in HALVES:
            gs = 32 if t != "bfloat16" else 64
            w = rand(t, 3, 128)
            q, s, z = mx.quantize(w, group_size=gs, bits=bits)
            at = dict(group_size=gs, bits=bits)
            deq = mx.dequantize(q, s, z, group_size=gs, bits=bits)
            case("dequantize", [q, s, z], deq, at)
            for i, r in enumerate((q, s, z)):
                case("quantize", [w], r, at, result=i)
            x = rand(t, 2, 128)
            case("quantized_matmul", [x, q, s, z], mx.quantized_matmul(x, q, s, z, transpose=True, **at), at, **qbound(x, deq.T, t, 128))
    # Groups that are all the same, on one side of zero, or symmetric; a cache's four dimensions.
    for t in HALVES:
        rows = [[0.0] * 32, [1.5] * 32, [-1.5] * 32, list(range(1, 33)), list(range(-32, 0)), list(range(-16, 16)), [1e-9] * 32, [-3, 3] * 16]
        w = arr(rows, t).reshape(1, 2, 4, 32)
        for bits in (4, 8):
            at = dict(group_size=32, bits=bits)
            for i, r in enumerate(mx.quantize(w, **at)):
                case("quantize", [w], r, at, result=i)
    t = "float32"
    w = rand(t, 2, 4, 64)
    q, s, z = mx.quantize(w, group_size=32, bits=4)
    deq = mx.dequantize(q, s, z, group_size=32, bits=4)
    at = dict(group_size=32, bits=4)
    for shape in [(64,), (3, 64), (2, 3, 64)]:
        x = rand(t, *shape)
        if len(shape) < 3:
            case("quantized_matmul", [x, q[0], s[0], z[0]], mx.quantized_matmul(x, q[0], s[0], z[0], transpose=True, **at), at, **qbound(x, deq[0].T, t, 64))
        else:
            case("quantized_matmul", [x, q, s, z], mx.quantized_matmul(x, q, s, z, transpose=True, **at), at, **qbound(x, mx.swapaxes(deq, 1, 2), t, 64))
    x = rand(t, 3, 4)
    case("quantized_matmul", [x, q[1], s[1], z[1]], mx.quantized_matmul(x, q[1], s[1], z[1], transpose=False, **at), dict(at, transpose=False), **qbound(x, deq[1], t, 4))
    # Scales of one half type and x of the other give float32.
    x, s16, z16 = rand("bfloat16", 3, 64), s[0].astype(mx.float16), z[0].astype(mx.float16)
    case("quantized_matmul", [x, q[0], s16, z16], mx.quantized_matmul(x, q[0], s16, z16, transpose=True, **at), at, ulp=1, abs=qbound(x, deq[0].T, t, 64)["abs"] + 1e-2)
    for mode, gs, bits in [("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]:
        for t in HALVES:
            w = rand(t, 3, 64, scale=2.0)
            q, s = mx.quantize(w, group_size=gs, bits=bits, mode=mode)
            at = dict(group_size=gs, bits=bits, mode=mode)
            deq = mx.dequantize(q, s, group_size=gs, bits=bits, mode=mode)
            x = rand(t, 2, 64)
            case("quantized_matmul", [x, q, s], mx.quantized_matmul(x, q, s, transpose=True, **at), at, **qbound(x, deq.T, t, 64))
        # Powers of two that pow makes inexactly are not worth a case.
        case("dequantize", [q, s], deq, at)
        w = rand("float32", 2, 3, 64)
        q, s = mx.quantize(w, group_size=gs, bits=bits, mode=mode)
        x, r = rand("float32", 1, 1, 64), arr([1, 0, 1], "uint32")
        out = mx.gather_qmm(x, q, s, rhs_indices=r, transpose=True, **at)
        case("gather_qmm", [x, q, s, None, None, r], out, at, ulp=1, abs=1e-4)
    for t in HALVES:
        w = rand(t, 3, 4, 64)
        q, s, z = mx.quantize(w, group_size=64, bits=4)
        at = dict(group_size=64, bits=4)
        deq = mx.dequantize(q, s, z, group_size=64, bits=4)
        x, r = rand(t, 2, 1, 1, 64), arr([[2, 0], [1, 1]], "uint32")
        bd = qbound(x[0, 0], mx.swapaxes(deq, 1, 2), t, 64)
        bd["abs"] *= 2
        case("gather_qmm", [x, q, s, z, None, r], mx.gather_qmm(x, q, s, z, rhs_indices=r, transpose=True, **at), at, **bd)
        x, l, r = rand(t, 5, 1, 64), arr([4, 0, 0], "uint32"), arr([0, 1, 2], "uint32")
        case("gather_qmm", [x, q, s, z, l, r], mx.gather_qmm(x, q, s, z, lhs_indices=l, rhs_indices=r, transpose=True, **at), at, **bd)
        case("gather_qmm", [x, q, s, z, l, r], mx.gather_qmm(x, q, s, z, lhs_indices=l, rhs_indices=r, transpose=True, sorted_indices=True, **at), dict(at, sorted_indices=True), **bd)
        x = rand(t, 3, 2, 4)
        bd["abs"] *= 2
        case("gather_qmm", [x, q, s, z, None, r], mx.gather_qmm(x, q, s, z, rhs_indices=r, transpose=False, **at), dict(at, transpose=False), **bd)


def qbound(x, w, t, k):
    """MLX on x86 sums in t itself and rounds each weight to it."""
    s = float(np.max(np.abs(f64(x)) @ np.abs(f64(w))))
    return dict(ulp=1, abs=(k / 2 + 4) * EPS[t] * s)


def reductions():
    for op in "sum prod max min all any".split():
        f = getattr(mx, op)
        for t in NAMES:
            if t == "complex64" and op in ("max", "min"):
                continue
            a = rand(t, 2, 3, 4, scale=0.5)
            if op == "prod" and t in INTS + ["bool"]:
                a = arr(rng.integers(0 if t == "bool" else 1, 2 if t == "bool" else 3, (2, 3, 4)), t)
            for axis, keep in [([-1], False), ([-3, -1], True), ([-3, -2, -1], False), ([-2], False)]:
                out = f(a, axis=axis, keepdims=keep)
                bd = {}
                if op == "sum" and t in EPS:
                    n = 24
                    bd = dict(ulp=1, abs=n / 2 * EPS[t] * float(np.max(np.sum(np.abs(np.array(a.astype(mx.complex64))), axis=tuple(axis)))))
                if op == "prod" and t in EPS:
                    bd = dict(ulp=24)
                case(op, [a], out, dict(axis=axis, keepdims=keep), **bd)
        for t in FLOATS:
            if op in ("max", "min", "all", "any"):
                a = arr([[0.0, math.nan, 1.0], [math.inf, -math.inf, 2.0], [0.0, 0.0, 0.0], [-1.0, math.nan, math.nan]], t)
                case(op, [a], f(a, axis=-1), dict(axis=[-1]))
        a = rand("float32", 2, 3)
        case(op, [a], f(a, axis=[]), dict(axis=[]))
    for op in ("argmax", "argmin"):
        f = getattr(mx, op)
        for t in [n for n in NAMES if n != "complex64"]:
            a = rand(t, 3, 4, 2)
            case(op, [a], f(a, axis=1), dict(axis=-2))
            case(op, [a], f(a, axis=-1, keepdims=True), dict(axis=-1, keepdims=True))
            if t in FLOATS:
                a = arr([[1.0, 3.0, 3.0, 2.0], [math.nan, 1.0, 2.0, 0.0], [1.0, math.nan, 2.0, 0.0], [-math.inf, -math.inf, 0.0, -0.0], [-0.0, 0.0, -0.0, -1.0]], t)
                case(op, [a], f(a, axis=-1), dict(axis=-1))
    for t in FLOATS + ["int32", "bool"]:
        a = rand(t, 2, 3, 5, scale=3.0) if t in FLOATS else rand(t, 2, 3, 5)
        if t in FLOATS:
            sp = arr([[0.0, math.inf, 1.0], [-math.inf, -math.inf, -math.inf], [1.0, math.nan, 2.0], [MAX[t], MAX[t], 0.0], [-math.inf, 1.0, 1.0]], t)
        u = t if t in FLOATS else "float32"
        for axis in (-1, -2) if t in FLOATS else (-1,):  # of integers along other axes, MLX gives integers
            for precise in (False, True):
                n = a.shape[axis]
                bd = dict(ulp=4 + (0 if precise else n), rel=2e-5, abs=1e-7 if u != "float64" else 1e-7)
                case("softmax", [a], mx.softmax(a, axis=axis, precise=precise), dict(axis=axis, precise=precise), **bd)
        case("softmax", [a[0, 0]], mx.softmax(a[0, 0], axis=-1), dict(), ulp=10, rel=2e-5)
        if t in FLOATS:
            case("softmax", [sp], mx.softmax(sp, axis=-1, precise=True), dict(precise=True), ulp=4, rel=2e-5)
            case("logsumexp", [sp], mx.logsumexp(sp, axis=-1), dict(axis=[-1]), ulp=2, rel=2e-6)
        for axis, keep in [([-1], False), ([-3, -2], True), ([-2], False)]:
            if t == "bool" and axis != [-1]:  # MLX subtracts them as bool
                continue
            n = 6
            bd = dict(ulp=2, rel=2e-6, abs=1e-5)
            if axis != [-1] and u in ("float16", "bfloat16"):  # this path stays in the type
                bd = dict(ulp=4, abs=n * EPS[u])
            case("logsumexp", [a], mx.logsumexp(a, axis=axis, keepdims=keep), dict(axis=axis, keepdims=keep), **bd)
    for t in NAMES:
        a = rand(t, 3, 4, scale=0.5)
        for axis in (-1, -2):
            for rev in (False, True):
                for inc in (False, True):
                    bd = {}
                    if t in EPS:
                        bd = dict(ulp=1, abs=2 * EPS[t] * float(np.max(np.sum(np.abs(np.array(a.astype(mx.complex64))), axis=axis))))
                    case("cumsum", [a], mx.cumsum(a, axis=axis, reverse=rev, inclusive=inc), dict(axis=axis, reverse=rev, inclusive=inc), **bd)


def orders():
    for t in [n for n in NAMES if n != "complex64"]:
        rows = [rand(t, 3, 9)]
        if t in FLOATS:
            rows.append(arr([[3, 1, math.nan, 1, -math.inf, math.inf, 2, math.nan, 1], [1, 1, 1, 1, 1, 1, 1, 1, 1], [0.5, 0.25, -1, 2, 0.5, 0.25, -1, 2, 3]], t))
        for a in rows:
            for axis in (-1, -2):
                case("sort", [a], mx.sort(a, axis=axis), dict(axis=axis))
                case("argsort", [a], mx.argsort(a, axis=axis), dict(axis=axis))
            for kth in (0, 4, 8):
                nan = t in FLOATS and a is rows[-1]
                if nan and kth == 8:  # which of two NaN comes last is nobody's promise
                    continue
                case("partition", [a], mx.partition(a, kth, axis=-1), dict(kth=kth), compare="partition")
                case("argpartition", [a], mx.argpartition(a, kth, axis=-1), dict(kth=kth), compare="partition")
            if not nan:
                case("argpartition", [a], mx.argpartition(a, -2, axis=-1), dict(kth=-2), compare="partition")
            case("argpartition", [a], mx.argpartition(a, 1, axis=0), dict(kth=1, axis=-2), compare="partition")


    # Ties in a row that is long enough for a sort to take its fast way.
    a = arr(rng.integers(0, 4, (2, 50)), "bfloat16")
    case("argsort", [a], mx.argsort(a, axis=-1), dict(axis=-1))
    case("argpartition", [a], mx.argpartition(a, 42, axis=-1), dict(kth=-8), compare="partition")


def moves():
    for n, t in enumerate(NAMES):
        a = rand(t, 2, 3, 4)
        it = "uint8 uint16 uint32 uint64 int8 int16 int32 int64".split()[n % 8]
        i = arr([2, 0, 1, 2, 0], it)
        case("take", [a, i], mx.take(a, i, axis=1), dict(axis=-2))
        case("take", [a, i[:2].reshape(2, 1)], mx.take(a, i[:2].reshape(2, 1), axis=-1), dict(axis=-1))
        case("take", [a, arr(1, it)], mx.take(a, arr(1, it), axis=0), dict(axis=-3))
        case("take", [a[0], i], mx.take(a[0], i, axis=0), dict(axis=-2))
        if it[0] == "i":
            case("take", [a, arr([-1, -2], it)], mx.take(a, arr([-1, -2], it), axis=0), dict(axis=0))
        j = arr(rng.integers(0, 3, (2, 5, 4)), it)
        case("take_along_axis", [a, j], mx.take_along_axis(a, j, axis=1), dict(axis=-2))
        j = arr(rng.integers(0, 4, (1, 3, 2)), it)
        case("take_along_axis", [a, j], mx.take_along_axis(a, j, axis=-1), dict(axis=-1))
        j, v = arr([[[1, 0]], [[2, 1]]], it).reshape(2, 2, 1), rand(t, 2, 2, 4)
        case("put_along_axis", [a, j, v], mx.put_along_axis(a, mx.broadcast_to(j, (2, 2, 4)), v, axis=1), dict(axis=-2))
        s = rand(t)
        j = arr(rng.integers(0, 4, (2, 3, 1)), it)
        case("put_along_axis", [a, j, s], mx.put_along_axis(a, j, s, axis=-1), dict(axis=-1))

        case("slice", [a], a[:, 1:3, ::2], dict(axis=[-2, -1], start=[1, 0], stop=[3, 4], strides=[1, 2]))
        case("slice", [a], a[..., -3:-1], dict(axis=[-1], start=[-3], stop=[-1]))
        case("slice", [a], a[1:], dict(axis=[0], start=[1]))
        case("slice", [a], a[..., 2:2], dict(axis=[-1], start=[2], stop=[2]))
        u = rand(t, 2, 1, 2)
        b = mx.array(a)
        b[:, 1:3, 1:3] = u
        case("slice_update", [a, u], b, dict(axis=[-2, -1], start=[1, 1], stop=[3, 3]))
        b = mx.array(a)
        b[:, ::2] = u[:, :, :1]
        case("slice_update", [a, u[:, :, :1]], b, dict(axis=[-2], strides=[2]))
        u = rand(t, 2, 2, 2)
        st = arr([1, 2], it if it not in ("uint64",) else "int64")
        case("slice_update_dynamic", [a, u, st], mx.slice_update(a, u, st, axes=[1, 2]), dict(axis=[-2, -1]))

        case("reshape", [a], a.reshape(4, 6), dict(shape=[4, 6]))
        case("reshape", [a], a.reshape(-1, 2), dict(shape=[-1, 2]))
        case("flatten", [a], mx.flatten(a, 1, 2), dict(start_axis=1, end_axis=-1))
        case("flatten", [a], mx.flatten(a), dict(start_axis=0))
        case("unflatten", [a], mx.unflatten(a, -1, (2, 2)), dict(axis=-1, shape=[2, 2]))
        case("unflatten", [a], mx.unflatten(a, 1, (-1, 1)), dict(axis=1, shape=[-1, 1]))
        case("transpose", [a], mx.transpose(a, (2, 0, 1)), dict(axes=[2, 0, 1]))
        case("transpose", [a], mx.transpose(a, (0, -1, -2)), dict(axes=[0, -1, -2]))
        case("expand_dims", [a], mx.expand_dims(a, (1, -1)), dict(axis=[1, -1]))
        b = rand(t, 1, 3, 1)
        case("squeeze", [b], mx.squeeze(b, (0, 2)), dict(axis=[0, 2]))
        case("squeeze", [b], mx.squeeze(b, -1), dict(axis=-1))
        case("broadcast_to", [b], mx.broadcast_to(b, (2, 2, 3, 4)), dict(shape=[2, 2, 3, 4]))
        case("broadcast_to", [s], mx.broadcast_to(s, (2,)), dict(shape=[2]))
        c = rand(t, 2, 1, 4)
        case("concatenate", [a, c, a], mx.concatenate([a, c, a], axis=1), dict(axis=-2))
        case("concatenate", [a], mx.concatenate([a], axis=1), dict(axis=-2))
        case("contiguous", [a], mx.contiguous(mx.transpose(mx.transpose(a))))
        for d in NAMES:
            if d == "bool" and t != "bool" or (a.shape[-1] * a.dtype.size) % DT[d].size:
                continue
            case("view", [a], a.view(DT[d]), dict(dtype=DT[d]))
    a, b = rand("float16", 2, 3), rand("int32", 1, 3)
    case("concatenate", [a, b], mx.concatenate([a, b], axis=0), dict(axis=-2))
    a, u = rand("float16", 2, 3), rand("float32", 3)
    b = mx.array(a)
    b[1:] = u
    case("slice_update", [a, u], b, dict(axis=[0], start=[1]))
    i, v = arr([[1], [0]], "int32"), rand("float32")
    case("put_along_axis", [a, i, v], mx.put_along_axis(a, i, v, axis=-1), dict(axis=-1))


def fast():
    for t in FLOATS:
        ulp = 2
        for n in (8, 33):
            x, w, b = rand(t, 2, 3, n), rand(t, n), rand(t, n)
            for eps in (1e-5, 1e-6):
                bd = dict(ulp=ulp if t != "float64" else 0, rel=n * 1e-7, abs=0)
                case("rms_norm", [x, w], mx.fast.rms_norm(x, w, eps), dict(eps=eps), **bd)
                case("rms_norm", [x], mx.fast.rms_norm(x, None, eps), dict(eps=eps), **bd)
            bd = dict(ulp=ulp if t != "float64" else 0, rel=n * 1e-7, abs=n * 2e-7 * 8 + (8 * EPS[t] if t != "float64" else 0))
            case("layer_norm", [x, w, b], mx.fast.layer_norm(x, w, b, 1e-5), dict(eps=1e-5), **bd)
            case("layer_norm", [x, w], mx.fast.layer_norm(x, w, None, 1e-5), dict(eps=1e-5), **bd)
            case("layer_norm", [x, None, b], mx.fast.layer_norm(x, None, b, 1e-5), dict(eps=1e-5), **bd)
            case("layer_norm", [x], mx.fast.layer_norm(x, None, None, 1e-5), dict(eps=1e-5), **bd)
        x = arr([[0, 0, 0, 0], [1e4, 1e4, -1e4, 1e4], [math.inf, 1, 1, 1], [math.nan, 1, 1, 1], [6e4, 6e4, 6e4, 6e4]], t)
        case("rms_norm", [x], mx.fast.rms_norm(x, None, 1e-5), dict(eps=1e-5), ulp=2, rel=1e-6)
    x, w = rand("bfloat16", 2, 8), rand("float16", 8)
    case("rms_norm", [x, w], mx.fast.rms_norm(x, w, 1e-6), dict(eps=1e-6), ulp=2, rel=1e-6)
    for t in FLOATS:
        for shape in [(1, 2, 3, 8), (2, 3, 8), (2, 1, 2, 2, 8)]:
            x = rand(t, *shape)
            for off in (0, 5, 1000):
                for trad in (False, True):
                    big = float(np.max(np.abs(f64(x))))
                    at = dict(dims=8, traditional=trad, base=10000.0, scale=1.0)
                    bd = dict(ulp=1, abs=big * (4 * (EPS[t] if t != "float64" else 1e-7) + (off + 3) * 2e-6))
                    if t != "float64" and off == 0 or off == 5:
                        case("rope", [x, arr(off, "int32")], mx.fast.rope(x, 8, traditional=trad, base=10000.0, scale=1.0, offset=off), at, **bd)
            if len(shape) == 4:
                big = float(np.max(np.abs(f64(x))))
                at = dict(dims=4, traditional=False, base=500000.0, scale=0.5)
                bd = dict(ulp=1, abs=big * (4 * (EPS[t] if t != "float64" else 1e-7) + 1003 * 2e-6))
                case("rope", [x, arr(1000, "int32")], mx.fast.rope(x, 4, traditional=False, base=500000.0, scale=0.5, offset=1000), at, **bd)
                f = arr([1.0, 3.0, 10.0, 50.0], "float32")
                case("rope", [x, arr(7, "int32"), f], mx.fast.rope(x, 8, traditional=False, base=None, scale=1.0, offset=7, freqs=f), dict(dims=8, traditional=False, scale=1.0), **bd)
        x, off = rand(t, 2, 2, 3, 8), arr([4, 9], "int32")
        case("rope", [x, off], mx.fast.rope(x, 8, traditional=False, base=10000.0, scale=1.0, offset=off), dict(dims=8, base=10000.0), ulp=1, abs=4 * 4 * (EPS[t] if t != "float64" else 1e-7) + 1e-4)
    for t in FLOATS:
        for b, h, g, l, n, d in [(1, 4, 2, 1, 7, 8), (2, 2, 2, 3, 5, 4), (1, 2, 1, 4, 4, 4)]:
            q, k, v = rand(t, b, h, l, d), rand(t, b, g, n, d), rand(t, b, g, n, d + 2)
            scale = d**-0.5
            e = EPS[t] if t != "float64" else EPS["float32"]
            bd = dict(ulp=1, abs=e * float(np.max(np.abs(f64(v)))) * 24 + 2e-5, portable=t in ("float16", "bfloat16"))
            sdpa = mx.fast.scaled_dot_product_attention
            case("sdpa", [q, k, v], sdpa(q, k, v, scale=scale), dict(scale=scale), **bd)
            case("sdpa", [q, k, v], sdpa(q, k, v, scale=scale, mask="causal"), dict(scale=scale, mask="causal"), **bd)
            kv = n - 1 if n > l else n
            case("sdpa", [q, k, v], sdpa(q, k[:, :, :kv], v[:, :, :kv], scale=scale, mask="causal"), dict(scale=scale, mask="causal", kv_len=kv), **bd)
            qi, ki = np.arange(kv - l, kv)[:, None], np.arange(kv)[None]
            win = mx.array((ki <= qi) & (ki > qi - 2))
            case("sdpa", [q, k, v], sdpa(q, k[:, :, :kv], v[:, :, :kv], scale=scale, mask=win), dict(scale=scale, mask="window", window=2, kv_len=kv), **bd)
            m = rand("bool", b, 1, l, n)
            case("sdpa", [q, k, v, m], sdpa(q, k, v, scale=scale, mask=m), dict(scale=scale, mask="array"), **bd)
            m = rand(t, l, n)
            case("sdpa", [q, k, v, m], sdpa(q, k, v, scale=scale, mask=m), dict(scale=scale, mask="array"), **bd)
            s = rand(t, h)
            case("sdpa", [q, k, v, None, s], sdpa(q, k, v, scale=scale, sinks=s), dict(scale=scale), **bd)
    for t in HALVES + ["float64", "int8"]:
        for off, l in [(0, 3), (4, 1), (3, 2)]:
            cache, new = rand(t, 2, 2, 5, 3), rand(t, 2, 2, l, 3)
            out = mx.array(cache)
            out[:, :, off : off + l] = new
            case("kv_append", [cache, new, arr(off, "int32")], out)


def convolutions():
    rng = np.random.default_rng(20261128)  # of its own: other cases stay as they are
    for t in HALVES:
        # Depthwise over one window and several, in groups, dense; padding, strides and dilation.
        for xs, ws, at in [
            ((2, 3, 8), (8, 3, 1), dict(groups=8)),
            ((2, 9, 8), (8, 3, 1), dict(groups=8)),
            ((1, 6, 8), (8, 4, 1), dict(groups=8, padding=3)),
            ((2, 7, 6), (4, 3, 3), dict(groups=2)),
            ((2, 7, 6), (4, 3, 3), dict(groups=2, stride=2, padding=1)),
            ((3, 5, 4), (5, 2, 4), dict()),
            ((1, 9, 4), (4, 3, 2), dict(groups=2, stride=2, padding=2, dilation=2)),
            ((1, 7, 3), (6, 1, 1), dict(groups=3, padding=1)),
        ]:
            x, w = arr(rng.normal(size=xs), t), arr(rng.normal(size=ws), t)
            k = ws[1] * ws[2]
            bound = k * EPS["float32"] * k * float(np.max(np.abs(f64(x))) * np.max(np.abs(f64(w))))
            case("conv1d", [x, w], mx.conv1d(x, w, **at), at, ulp=1, abs=bound, portable=t in ("float16", "bfloat16"))
    x, w = arr(rng.normal(size=(2, 5, 4)), "float16"), arr(rng.normal(size=(4, 3, 1)), "bfloat16")
    case("conv1d", [x, w], mx.conv1d(x, w, groups=4), dict(groups=4), ulp=1, abs=1e-5, portable=False)


def recurrences():
    from mlx_lm.models.gated_delta import gated_delta_ops

    rng = np.random.default_rng(20261129)
    for t in HALVES:
        for b, l, hk, hv, dk, dv in [(1, 1, 1, 1, 4, 3), (2, 5, 2, 4, 8, 6), (1, 17, 1, 3, 16, 8)]:
            x = lambda *s: arr(rng.normal(size=s) * 0.4, t)
            q, k, v = x(b, l, hk, dk), x(b, l, hk, dk), x(b, l, hv, dv)
            g, beta = arr(rng.uniform(0.5, 1, (b, l, hv)), "float32"), arr(rng.uniform(0, 1, (b, l, hv)), t)
            state = arr(rng.normal(size=(b, hv, dv, dk)), "float32")
            # Its y is rounded to q's type in the end; here it is the state's.
            y, after = gated_delta_ops(q.astype(mx.float32), k, v, g, beta, state)
            out = mx.concatenate([y.transpose(0, 2, 3, 1), after], -1)
            case("gated_delta", [q, k, v, g, beta, state], out, ulp=1, abs=2e-5 * float(np.max(np.abs(f64(out)))), portable=False)


for f in (unary, casts, binary, aranges, products, quantized, reductions, orders, moves, fast, convolutions, recurrences):
    f()
head = {"mlx": mx.__version__, "cases": len(cases)}
text = "\n".join(json.dumps(c, separators=(",", ":")) for c in [head] + cases) + "\n"


def make(folder):
    with open(folder / "ops.jsonl.gz", "wb") as out:
        with gzip.GzipFile(filename="", fileobj=out, mode="wb", mtime=0, compresslevel=9) as z:
            z.write(text.encode())
    print(len(cases), "cases,", len(text), "bytes")


def numbers(a):
    data = base64.b64decode(a["data"])
    if a["dtype"] == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    kind = {"bool": "uint8"}.get(a["dtype"], a["dtype"])
    return np.frombuffer(data, kind).astype(np.complex128 if kind == "complex64" else np.float64)


def near(old, new):
    """Whether the results of a case agree as closely as the case itself asks."""
    x, y = numbers(old["out"]), numbers(new["out"])
    bound = old.get("abs", 0) + (old.get("rel", 0) + old.get("ulp", 0) * EPS.get(old["out"]["dtype"], 0)) * np.abs(x)
    with np.errstate(invalid="ignore"):
        return x.shape == y.shape and bool(np.all((x == y) | np.isnan(x) & np.isnan(y) | (np.abs(x - y) <= bound)))


def compare(old, new):
    old, new = ([json.loads(line) for line in gzip.open(path)] for path in (old, new))
    if old[0] != new[0]:
        return f"{old[0]}, and the script makes {new[0]}"
    for n, (a, b) in enumerate(zip(old[1:], new[1:], strict=True)):
        if a == b:
            continue
        name = f"case {n} ({a['op']})"
        # Bounds are computed with numpy, whose sums end in other digits elsewhere.
        about = [{k: v for k, v in c.items() if k not in ("out", "abs", "rel")} for c in (a, b)]
        if about[0] != about[1] or any(not math.isclose(a.get(k, 0), b.get(k, 0), rel_tol=1e-6) for k in ("abs", "rel")):
            return name + " is another one now"
        if not a.get("machine") and platform.machine() == "x86_64" and a["out"] != b["out"]:
            return name + " has other bits"
        if {**a["out"], "data": ""} != {**b["out"], "data": ""} or not near(a, b):
            return name + " has another result"


golden.run(__doc__, "engine/enginetest/testdata", make, compare)
