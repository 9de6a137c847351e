"""torch.fx's subgraph rewriter: replace_pattern, a rule at a time.

It compares graphs as written, so each order of operands of commutative ops is a pattern of
its own, and a pass over the graph.
"""

import operator

import torch
from torch.fx import subgraph_rewriter

import common

OPS = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "sqrt": torch.sqrt,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "matmul": torch.matmul,
}  # fmt: skip

# The fused ops. They are never run.
FUSED = {}
for name in common.RULES:

    def fused(*args):
        raise NotImplementedError

    fused.__name__ = fused.__qualname__ = name
    FUSED[name] = fused


class Graph:
    """Nodes of a torch.fx graph, by the names of ops."""

    def __init__(self):
        self.graph = torch.fx.Graph()

    def __getattr__(self, op):
        if op == "sum":
            return lambda x: self.graph.call_function(torch.sum, (x, -1), {"keepdim": True})
        return lambda *args: self.graph.call_function(OPS[op], args)

    def module(self, out):
        self.graph.output(out)
        return torch.fx.GraphModule(torch.nn.Module(), self.graph)


def make(g):
    b = Graph()
    values = {k: g[k] for k in ("eps", "inv", "scale")}
    values |= {n: b.graph.placeholder(n) for n in g["inputs"] + g["params"]}
    for n in g["nodes"]:
        values[n["name"]] = getattr(b, n["op"])(*(values[i] for i in n["in"]))
    return b.module(tuple(values[o] for o in g["outputs"]))


def root_mean(b, swap, x):
    mean = b.mul(*swap(b.sum(b.mul(x, x)), common.INV))
    return b.sqrt(b.add(*swap(mean, common.EPS)))


def rms(b, swap, x, w):
    return b.mul(*swap(b.div(x, root_mean(b, swap, x)), w))


def layer_norm(b, swap, x, w):
    c = b.sub(x, b.mul(*swap(b.sum(x), common.INV)))
    return b.mul(*swap(b.div(c, root_mean(b, swap, c)), w))


def pair(b, swap, x, wq, wk):
    return b.mul(*swap(b.matmul(x, wq), common.SCALE)), b.tanh(b.matmul(x, wk))


def swiglu(b, swap, x, wg, wu):
    gate, up = b.matmul(x, wg), b.matmul(x, wu)
    return b.mul(*swap(b.mul(*swap(gate, b.sigmoid(gate))), up))


WRITE = {"rms": (rms, 2), "layer_norm": (layer_norm, 2), "pair": (pair, 3), "swiglu": (swiglu, 3)}


def prepare(rules):
    pairs = []
    for r in rules:
        write, arity = WRITE[r]

        def pattern(swap):
            b = Graph()
            return b.module(write(b, swap, *(b.graph.placeholder(f"p{i}") for i in range(arity))))

        b = Graph()
        new = b.graph.call_function(FUSED[r], tuple(b.graph.placeholder(f"p{i}") for i in range(arity)))
        out = new
        if r == "pair":
            out = tuple(b.graph.call_function(operator.getitem, (new, i)) for i in range(2))
        replacement = b.module(out)
        pairs += [(p, replacement) for p in common.orders(pattern)]
    return pairs


def apply(gm, pairs):
    for pattern, replacement in pairs:
        subgraph_rewriter.replace_pattern(gm, pattern, replacement)
    return gm


def matched(gm):
    return [f"{n.target.__name__} {n.args[1].name}" for n in gm.graph.nodes if n.op == "call_function" and n.target in FUSED.values()]


common.run("torch.fx replace_pattern", torch.__version__, make, prepare, apply, matched, lambda gm: gm.graph.lint())
