package normal

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// Specialize returns a copy of g with symbols replaced by numbers, in types and
// attributes. Symbols that env does not name stay.
func Specialize(g *graph.Graph, env map[string]int64) (*graph.Graph, error) {
	values := make(map[string]graph.Dim, len(env))
	for name, n := range env {
		values[name] = graph.N(n)
	}
	out := graph.New()
	to := make([]graph.ValueID, g.NumValues())
	for _, v := range g.Inputs() { // in the order of the signature
		to[v] = out.Input(g.InputName(v), g.Type(v).Subst(values))
	}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		v := n.Out[0]
		switch n.Op.Name {
		case "input":
			continue
		case "param":
			to[v] = out.Param(g.InputName(v), g.Type(v).Subst(values))
			continue
		case "constant":
			to[v] = out.Constant(g.Literal(v))
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for i, x := range n.In {
			in[i] = x
			if x != graph.None {
				in[i] = to[x]
			}
		}
		attrs := make([]graph.Attr, len(n.Attrs))
		for i, a := range n.Attrs {
			switch a := a.(type) {
			case graph.Dim:
				attrs[i] = a.Subst(values)
			case graph.Dims:
				d := make(graph.Dims, len(a))
				for k, x := range a {
					d[k] = x.Subst(values)
				}
				attrs[i] = d
			default:
				attrs[i] = a
			}
		}
		results, err := out.Add(n.Op, n.Scope, in, attrs...)
		if err != nil {
			return nil, atScope(fmt.Errorf("with %v: %w", env, err), n.Scope)
		}
		for i, x := range n.Out {
			to[x] = results[i]
		}
	}
	for _, o := range g.Outputs() {
		out.Output(o.Name, to[o.Value])
	}
	return out, out.Compact()
}
