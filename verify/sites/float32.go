package sites

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// widen returns a graph with all floats in float32: inputs are given in it, parameters
// are converted where they are read, and constants keep their values.
func widen(g *graph.Graph) (*graph.Graph, error) {
	h := graph.New()
	now := make([]graph.ValueID, g.NumValues())
	cast := graph.LookupOp("astype")
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		switch n.Op.Name {
		case "input":
			t := g.Type(n.Out[0])
			t.DType = wide(t.DType)
			now[n.Out[0]] = h.Input(g.InputName(n.Out[0]), t)
			continue
		case "param":
			t := g.Type(n.Out[0])
			v := h.Param(g.InputName(n.Out[0]), t)
			if t.DType != wide(t.DType) {
				out, err := h.Add(cast, "", []graph.ValueID{v}, graph.Float32)
				if err != nil {
					return nil, err
				}
				v = out[0]
			}
			now[n.Out[0]] = v
			continue
		case "constant":
			l := g.Literal(n.Out[0])
			if to := wide(l.DType); to != l.DType {
				w := &graph.Literal{DType: to, Shape: l.Shape}
				for i := 0; i < len(l.Data); i += l.DType.Size() {
					w.Data = graph.AppendElem(w.Data, to, graph.DecodeElem(l.DType, l.Data[i:]))
				}
				l = w
			}
			now[n.Out[0]] = h.Constant(l)
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for i, v := range n.In {
			if in[i] = graph.None; v != graph.None {
				in[i] = now[v]
			}
		}
		attrs := make([]graph.Attr, len(n.Attrs))
		for i, a := range n.Attrs {
			if t, ok := a.(graph.DType); ok && n.Op.Name != "view" {
				a = wide(t)
			}
			attrs[i] = a
		}
		out, err := h.Add(n.Op, n.Scope, in, attrs...)
		if err != nil {
			return nil, fmt.Errorf("in float32: %s: %w", n.Op.Name, err)
		}
		for i, v := range n.Out {
			now[v] = out[i]
		}
	}
	for _, o := range g.Outputs() {
		h.Output(o.Name, now[o.Value])
	}
	return h, nil
}

func wide(t graph.DType) graph.DType {
	if t.IsFloat() {
		return graph.Float32
	}
	return t
}

// inFloat32 reports whether all that a graph computes is in float32, whatever its weights are
// stored in and its inputs given in: widened, it is the same computation.
func inFloat32(g *graph.Graph) bool {
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if n.Op.Name == "param" || n.Op.Name == "input" {
			continue
		}
		for _, v := range n.Out {
			if t := g.Type(v).DType; t != wide(t) {
				return false
			}
		}
	}
	return true
}
