"""MLIR's PDL patterns with the greedy driver, through the Python bindings in IREE's compiler.

PDL matches operands as written, so each order of operands of commutative ops is a pattern
of its own. It has no constraint for "not used elsewhere": one in Python counts users, and
the pattern erases the inner ops. Ops are of no registered dialect.
"""

import itertools

import iree.compiler.version
from iree.compiler import ir
from iree.compiler.rewrite import PDLModule, apply_patterns_and_fold_greedily

import common

T = "tensor<16x16xf32>"


def make(g):
    lines, ids = [], {}
    lines += [f'%{k} = "peer.{k}"() : () -> {T}' for k in ("eps", "inv", "scale")]
    for n in g["inputs"] + g["params"]:
        lines.append(f'%{n} = "peer.param"() {{name = "{n}"}} : () -> {T}')
    for n in g["nodes"]:
        ins = ", ".join(f"%{i}" for i in n["in"])
        types = ", ".join([T] * len(n["in"]))
        lines.append(f'%{n["name"]} = "peer.{n["op"]}"({ins}) : ({types}) -> {T}')
    outs = ", ".join(f"%{o}" for o in g["outputs"])
    lines.append(f'"peer.return"({outs}) : ({", ".join([T] * len(g["outputs"]))}) -> ()')
    context = ir.Context()
    context.allow_unregistered_dialects = True
    with context, ir.Location.unknown():
        return ir.Module.parse("\n".join(lines))


class Pattern:
    """Writes one pdl.pattern. An op is written before those that read it, as PDL wants."""

    def __init__(self, name, benefit):
        self.name, self.benefit = name, benefit
        self.lines, self.ids, self.inner = ["%type = pdl.type"], itertools.count(), []

    def value(self):
        v = f"%v{next(self.ids)}"
        self.lines.append(f"{v} = pdl.operand")
        return v

    def constant(self, name):
        return self.op(name, users=None)

    def op(self, name, *ins, users=1):
        """users: how many may read it; None for constants and roots."""
        o = next(self.ids)
        types = ", ".join(["!pdl.value"] * len(ins))
        args = f"({', '.join(ins)} : {types})" if ins else ""
        self.lines.append(f'%o{o} = pdl.operation "peer.{name}" {args} -> (%type : !pdl.type)')
        self.lines.append(f"%r{o} = pdl.result 0 of %o{o}")
        if users is not None:
            self.lines.append(f'pdl.apply_native_constraint "users_{users}"(%r{o} : !pdl.value)')
            self.inner.append(f"%o{o}")
        return f"%r{o}"

    def text(self, roots, params):
        ops = [r.replace("%r", "%o") for r in roots]
        types = ", ".join(["!pdl.value"] * len(params))
        results = ", ".join(["%type"] * len(roots))
        kinds = ", ".join(["!pdl.type"] * len(roots))
        body = [f'%new = pdl.operation "peer.fused_{self.name}" ({", ".join(params)} : {types}) -> ({results} : {kinds})']
        # A name behind pdl.replace would be read as part of it.
        body += [f"%new{i} = pdl.result {i} of %new" for i in range(len(ops))]
        body += [f"pdl.replace {o} with (%new{i} : !pdl.value)" for i, o in enumerate(ops)]
        body += [f"pdl.erase {o}" for o in reversed(self.inner)]
        at = f" {ops[0]}" if len(ops) == 1 else ""
        return f"pdl.pattern : benefit({self.benefit}) {{\n" + "\n".join(self.lines) + f"\npdl.rewrite{at} {{\n" + "\n".join(body) + "\n}\n}"


def root_mean(p, swap, x):
    mean = p.op("mul", *swap(p.op("sum", p.op("mul", x, x)), p.constant("inv")))
    return p.op("sqrt", p.op("add", *swap(mean, p.constant("eps"))))


def rms(swap):
    p = Pattern("rms", 2)
    x, w = p.value(), p.value()
    d = p.op("div", x, root_mean(p, swap, x))
    return p.text([p.op("mul", *swap(d, w), users=None)], [x, w])


def layer_norm(swap):
    p = Pattern("layer_norm", 3)
    x, w = p.value(), p.value()
    c = p.op("sub", x, p.op("mul", *swap(p.op("sum", x), p.constant("inv"))), users=2)
    d = p.op("div", c, root_mean(p, swap, c))
    return p.text([p.op("mul", *swap(d, w), users=None)], [x, w])


def pair(swap):
    p = Pattern("pair", 1)
    x, wq, wk = p.value(), p.value(), p.value()
    qs = p.op("mul", *swap(p.op("matmul", x, wq), p.constant("scale")), users=None)
    kt = p.op("tanh", p.op("matmul", x, wk), users=None)
    return p.text([qs, kt], [x, wq, wk])


def swiglu(swap):
    p = Pattern("swiglu", 1)
    x, wg, wu = p.value(), p.value(), p.value()
    gate = p.op("matmul", x, wg, users=2)
    act = p.op("mul", *swap(gate, p.op("sigmoid", gate)))
    return p.text([p.op("mul", *swap(act, p.op("matmul", x, wu)), users=None)], [x, wg, wu])


WRITE = dict(rms=rms, layer_norm=layer_norm, pair=pair, swiglu=swiglu)


def prepare(rules):
    return "\n".join(p for r in rules for p in common.orders(WRITE[r]))


def users(n):
    def constraint(rewriter, results, values):
        seen = {use.owner.operation for use in values[0].uses}
        return len(seen) != n  # True is failure

    return constraint


KEPT = []


def freeze(module, text):
    """Patterns belong to a context, so they are made for each module; not timed."""
    with module.context, ir.Location.unknown():
        patterns = ir.Module.parse(text)
        KEPT.append(patterns)  # else nothing matches: PDLModule does not keep it
        pdl = PDLModule(patterns)
        for n in (1, 2):
            pdl.register_constraint_function(f"users_{n}", users(n))
        return pdl.freeze()


def apply(module, patterns):
    apply_patterns_and_fold_greedily(module, patterns)
    return module


def matched(module):
    found = []
    for op in module.body.operations:
        name = op.operation.name
        if name.startswith("peer.fused_"):
            found.append(f"{name[len('peer.fused_') :]} {ir.StringAttr(op.operation.operands[1].owner.attributes['name']).value}")
    return found


def check(module):
    """A module's body may have cycles as far as MLIR's verifier goes; this graph may not."""
    module.operation.verify()
    seen = set()
    for op in module.body.operations:
        for v in op.operation.operands:
            if v.owner not in seen:
                raise ValueError(f"{v} is used before it is defined")
        seen.add(op.operation)


if __name__ == "__main__":
    common.run("MLIR PDL", "IREE " + iree.compiler.version.VERSION, make, prepare, apply, matched, check, bind=freeze)
