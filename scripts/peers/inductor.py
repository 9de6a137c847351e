"""Inductor's pattern matcher: one PatternMatcherPass with all patterns.

A pattern is written as Inductor's own passes are: CallFunction with the number of users of
inner values, so that escapes are refused, and a handler that makes the new node itself,
which is cheaper than tracing a replacement. Operands match as written, so each order of
operands of commutative ops is a pattern of its own.
"""

import operator

import torch
from torch._inductor.pattern_matcher import CallFunction, KeywordArg, MultiOutputPattern, PatternMatcherPass, register_graph_pattern

import common

aten = torch.ops.aten
OPS = {
    "add": aten.add.Tensor, "sub": aten.sub.Tensor, "mul": aten.mul.Tensor, "div": aten.div.Tensor, "sqrt": aten.sqrt.default,
    "tanh": aten.tanh.default, "sigmoid": aten.sigmoid.default, "matmul": aten.mm.default, "sum": aten.sum.dim_IntList,
}  # fmt: skip

# The fused ops. They are never run.
FUSED = {}
for name in common.RULES:

    def fused(*args):
        raise NotImplementedError

    fused.__name__ = fused.__qualname__ = name
    FUSED[name] = fused


def make(g):
    # Inductor's graphs have a scalar operand as a number, in either place.
    graph = torch.fx.Graph()
    values = {k: g[k] for k in ("eps", "inv", "scale")}
    with torch._subclasses.FakeTensorMode() as mode:
        square, column = torch.empty(16, 16), torch.empty(16, 1)
    narrow = set(values)
    for n in g["inputs"] + g["params"]:
        values[n] = graph.placeholder(n)
        values[n].meta["val"] = square
    for n in g["nodes"]:
        args = tuple(values[i] for i in n["in"])
        if n["op"] == "sum":
            args += ([-1], True)
        values[n["name"]] = node = graph.call_function(OPS[n["op"]], args)
        if n["op"] == "sum" or all(i in narrow for i in n["in"]):
            narrow.add(n["name"])
        node.meta["val"] = column if n["name"] in narrow else square
    graph.output(tuple(values[o] for o in g["outputs"]))
    return torch.fx.GraphModule(torch.nn.Module(), graph)


def mul(a, b, users=1):
    return CallFunction(aten.mul.Tensor, a, b, _users=users)


def root_mean(swap, x):
    total = CallFunction(aten.sum.dim_IntList, mul(x, x), [-1], True)
    mean = mul(*swap(total, common.INV))
    return CallFunction(aten.sqrt.default, CallFunction(aten.add.Tensor, *swap(mean, common.EPS)))


def rms(swap):
    x = KeywordArg("x")
    return mul(*swap(CallFunction(aten.div.Tensor, x, root_mean(swap, x)), KeywordArg("w")))


def layer_norm(swap):
    x = KeywordArg("x")
    mean = mul(*swap(CallFunction(aten.sum.dim_IntList, x, [-1], True), common.INV))
    c = CallFunction(aten.sub.Tensor, x, mean, _users=2)
    return mul(*swap(CallFunction(aten.div.Tensor, c, root_mean(swap, c)), KeywordArg("w")))


def pair(swap):
    x = KeywordArg("x")
    k = CallFunction(aten.tanh.default, CallFunction(aten.mm.default, x, KeywordArg("wk")))
    q = mul(*swap(CallFunction(aten.mm.default, x, KeywordArg("wq")), common.SCALE))
    return MultiOutputPattern([k, q])


def swiglu(swap):
    x = KeywordArg("x")
    gate = CallFunction(aten.mm.default, x, KeywordArg("wg"), _users=2)
    up = CallFunction(aten.mm.default, x, KeywordArg("wu"))
    act = mul(*swap(gate, CallFunction(aten.sigmoid.default, gate)))
    return mul(*swap(act, up))


def prepare(rules):
    passes = PatternMatcherPass()

    def one(name, params):
        def handler(match, **kw):
            root = match.output_node()
            with match.graph.inserting_before(root):
                new = match.graph.call_function(FUSED[name], tuple(kw[p] for p in params))
                new.meta.update(root.meta)
            root.replace_all_uses_with(new)
            match.erase_nodes()

        return handler

    def two(match, x, wq, wk):
        kt, qs = match.output_nodes()
        with match.graph.inserting_before(min(kt, qs)):
            new = match.graph.call_function(FUSED["pair"], (x, wq, wk))
            for root, i in ((qs, 0), (kt, 1)):
                item = match.graph.call_function(operator.getitem, (new, i))
                item.meta.update(root.meta)
                root.replace_all_uses_with(item)
        match.erase_nodes()

    handlers = {
        "rms": (rms, one("rms", ["x", "w"])),
        "layer_norm": (layer_norm, one("layer_norm", ["x", "w"])),
        "pair": (pair, two),
        "swiglu": (swiglu, one("swiglu", ["x", "wg", "wu"])),
    }
    for r in rules:
        write, handler = handlers[r]
        for pattern in common.orders(write):
            register_graph_pattern(pattern, pass_dict=passes)(handler)
    return passes


def apply(gm, passes):
    passes.apply(gm)
    return gm


def matched(gm):
    return [f"{n.target.__name__} {n.args[1].name}" for n in gm.graph.nodes if n.op == "call_function" and n.target in FUSED.values()]


common.run("Inductor pattern matcher", torch.__version__, make, prepare, apply, matched, lambda gm: gm.graph.lint())
