"""onnxscript's rewriter: RewriteRuleSet with commute=True, applied to a model in its own IR."""

import onnx_ir as ir
import numpy as np
import onnxscript
from onnxscript.rewriter import pattern

import common

OPS = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "sqrt": "Sqrt", "tanh": "Tanh", "sigmoid": "Sigmoid", "matmul": "MatMul"}


def make(g):
    f32 = ir.TensorType(ir.DataType.FLOAT)
    values, initializers = {}, []

    def constant(name, array):
        values[name] = ir.Value(name=name, type=f32, const_value=ir.tensor(array, name=name))
        initializers.append(values[name])

    for name in ("eps", "inv", "scale"):
        constant(name, np.array(g[name], np.float32))
    constant("axes", np.array([-1], np.int64))
    inputs = [ir.Value(name=n, type=f32, shape=ir.Shape((16, 16))) for n in g["inputs"] + g["params"]]
    values |= {v.name: v for v in inputs}
    nodes = []
    for n in g["nodes"]:
        ins = [values[i] for i in n["in"]]
        if n["op"] == "sum":
            node = ir.node("ReduceSum", ins + [values["axes"]], {"keepdims": 1}, name=n["name"])
        else:
            node = ir.node(OPS[n["op"]], ins, name=n["name"])
        node.outputs[0].name = n["name"]
        node.outputs[0].type = f32
        values[n["name"]] = node.outputs[0]
        nodes.append(node)
    graph = ir.Graph(inputs, [values[o] for o in g["outputs"]], nodes=nodes, initializers=initializers, opset_imports={"": 18, "peers": 1})
    return ir.Model(graph, ir_version=10)


def mean(op, x):
    return op.Mul(op.ReduceSum(x, [-1], keepdims=1), common.INV)


def rms(op, x, w):
    return op.Mul(op.Div(x, op.Sqrt(op.Add(mean(op, op.Mul(x, x)), common.EPS))), w)


def layer_norm(op, x, w):
    c = op.Sub(x, mean(op, x))
    return op.Mul(op.Div(c, op.Sqrt(op.Add(mean(op, op.Mul(c, c)), common.EPS))), w)


def pair(op, x, wq, wk):
    return op.Tanh(op.MatMul(x, wk)), op.Mul(op.MatMul(x, wq), common.SCALE)


def swiglu(op, x, wg, wu):
    gate = op.MatMul(x, wg)
    return op.Mul(op.Mul(gate, op.Sigmoid(gate)), op.MatMul(x, wu))


MAKE = {
    "rms": (rms, lambda op, x, w: op.rms(x, w, _domain="peers")),
    "layer_norm": (layer_norm, lambda op, x, w: op.layer_norm(x, w, _domain="peers")),
    "pair": (pair, lambda op, x, wq, wk: op.pair(x, wq, wk, _domain="peers", _outputs=2)),
    "swiglu": (swiglu, lambda op, x, wg, wu: op.swiglu(x, wg, wu, _domain="peers")),
}


def prepare(rules):
    return pattern.RewriteRuleSet([pattern.RewriteRule(*MAKE[r], name=r) for r in rules], commute=True)


def apply(model, rules):
    rules.apply_to_model(model)
    return model


def matched(model):
    return [f"{n.op_type} {n.inputs[1].name}" for n in model.graph if n.domain == "peers"]


def check(model):
    """Nodes are defined before they are used; ONNX demands it, and its checker says so."""
    graph, seen = model.graph, set()
    for n in graph:
        for v in n.inputs:
            if v.producer() is not None and id(v.producer()) not in seen:
                raise ValueError(f"{v.name} is used before it is defined")
        seen.add(id(n))


common.run("onnxscript rewriter", onnxscript.__version__, make, prepare, apply, matched, check)
