"""TVM's dataflow patterns: rewrite_call for rules of one root, rewrite_bindings for two.

Patterns match operands as written; `|` gives both orders. A constant's value is looked at
in the rewriter, since patterns have none. rewrite_call does not look whether an inner
value is used outside.
"""

import numpy as np
import tvm
from tvm import relax
from tvm.relax.dpl import PatternContext, is_const, is_op, rewrite_bindings, rewrite_call, wildcard

import common

OPS = {
    "add": relax.op.add, "sub": relax.op.subtract, "mul": relax.op.multiply, "div": relax.op.divide, "sqrt": relax.op.sqrt,
    "tanh": relax.op.tanh, "sigmoid": relax.op.sigmoid, "matmul": relax.op.matmul,
}  # fmt: skip

SQUARE = relax.TensorType((16, 16), "float32")


def make(g):
    params = {n: relax.Var(n, SQUARE) for n in g["inputs"] + g["params"]}
    # rewrite_bindings matches nothing that reads a constant, which has no name.
    params["scale"] = relax.Var("scale", relax.TensorType((), "float32"))
    values = {k: relax.const(np.float32(g[k])) for k in ("eps", "inv")} | params
    b = relax.BlockBuilder()
    with b.function("main", list(params.values())):
        with b.dataflow():
            outs = set(g["outputs"])
            for n in g["nodes"]:
                ins = [values[i] for i in n["in"]]
                call = relax.op.sum(ins[0], axis=-1, keepdims=True) if n["op"] == "sum" else OPS[n["op"]](*ins)
                values[n["name"]] = (b.emit_output if n["name"] in outs else b.emit)(call, name_hint=n["name"])
        b.emit_func_output(relax.Tuple([values[o] for o in g["outputs"]]))
    return b.get()["main"]


def op(name, *args):
    return is_op(f"relax.{name}")(*args)


def both(name, a, b):
    return op(name, a, b) | op(name, b, a)


def root_mean(x, consts):
    inv, eps = is_const(), is_const()
    consts += [(inv, common.INV), (eps, common.EPS)]
    mean = both("multiply", op("sum", op("multiply", x, x)), inv)
    return op("sqrt", both("add", mean, eps))


def rms(consts):
    x, w = wildcard(), wildcard()
    return both("multiply", op("divide", x, root_mean(x, consts)), w), [x, w]


def layer_norm(consts):
    x, w, inv = wildcard(), wildcard(), is_const()
    consts.append((inv, common.INV))
    c = op("subtract", x, both("multiply", op("sum", x), inv))
    return both("multiply", op("divide", c, root_mean(c, consts)), w), [x, w]


def swiglu(consts):
    x, wg, wu = wildcard(), wildcard(), wildcard()
    gate = op("matmul", x, wg)
    return both("multiply", both("multiply", gate, op("sigmoid", gate)), op("matmul", x, wu)), [x, wg, wu]


def fused(name, args, types):
    return relax.call_dps_packed(f"peer_{name}", args, types)


CONST = type(relax.const(np.float32(0)))


def is_value(c, value):
    return isinstance(c, CONST) and c.value.numpy() == np.float32(value)


def prepare(rules):
    steps = []
    for r in rules:
        if r == "pair":
            # No `|` between bound calls: one pattern an order.
            for flip in (False, True):
                with PatternContext() as ctx:
                    x, wq, wk, scale = wildcard(), wildcard(), wildcard(), wildcard()
                    q, k = op("matmul", x, wq), op("matmul", x, wk)
                    qs = op("multiply", scale, q) if flip else op("multiply", q, scale)
                    kt = op("tanh", k)

                def two(matchings, bindings, x=x, wq=wq, wk=wk, qs=qs, kt=kt, scale=scale):
                    if matchings[scale].name != "scale":
                        return {}
                    call = fused("pair", [matchings[x], matchings[wq], matchings[wk]], [SQUARE, SQUARE])
                    return {matchings[qs]: relax.TupleGetItem(call, 0), matchings[kt]: relax.TupleGetItem(call, 1)}

                steps.append(lambda f, ctx=ctx, two=two: rewrite_bindings(ctx, two, f))
            continue
        consts = []
        pattern, params = {"rms": rms, "layer_norm": layer_norm, "swiglu": swiglu}[r](consts)

        def one(call, matchings, r=r, params=params, consts=consts):
            if not all(is_value(matchings[c], v) for c, v in consts):
                return call
            return fused(r, [matchings[p] for p in params], SQUARE)

        steps.append(lambda f, pattern=pattern, one=one: rewrite_call(pattern, one, f))
    return steps


def apply(f, steps):
    for step in steps:
        f = step(f)
    return f


def matched(f):
    found = set()

    def visit(e):
        if isinstance(e, relax.Call) and e.op == tvm.ir.Op.get("relax.call_dps_packed"):
            found.add(f"{e.args[0].global_symbol[len('peer_') :]} {e.args[1][1].name}")

    relax.analysis.post_order_visit(f, visit)
    return list(found)


def check(f):
    relax.analysis.well_formed(tvm.IRModule({"main": f}))


common.run("TVM relax patterns", tvm.__version__, make, prepare, apply, matched, check)
