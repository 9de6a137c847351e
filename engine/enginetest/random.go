package enginetest

import (
	"fmt"
	"math/rand/v2"

	"zmlx-rewrite/graph"
)

// RandomGraph makes a graph of n nodes from a seed, and inputs for it: elementwise
// ops, views, reductions and products over operands that are drawn until inference
// takes them, so that any sharing, dead nodes and mixtures of types come up. It is
// for tests that run one graph in two ways.
func RandomGraph(seed uint64, n int) (*graph.Graph, map[string]*graph.Literal) {
	r := rand.New(rand.NewPCG(seed, 1))
	g := graph.New()
	var values []graph.ValueID
	inputs := map[string]*graph.Literal{}
	types := []graph.DType{graph.Float32, graph.Float16, graph.BFloat16, graph.Int32, graph.Bool}
	for i := range 3 {
		l := &graph.Literal{DType: types[r.IntN(len(types))], Shape: []int{1 + r.IntN(2), 3, 1 + 2*r.IntN(2)}}
		for range l.Shape[0] * l.Shape[1] * l.Shape[2] {
			l.Data = graph.AppendElem(l.Data, l.DType, float64(r.IntN(17)-8)/4)
		}
		name := fmt.Sprintf("x%d", i)
		inputs[name] = l
		values = append(values, g.Input(name, l.Type()))
	}
	values = append(values, g.Scalar(graph.Float32, 0.5), g.Scalar(graph.Int32, 2))
	var ops []*graph.Op
	for _, op := range graph.Ops() {
		if !op.IsLeaf() && op.Name != "floor_divide" && op.Name != "remainder" && op.Name != "left_shift" && op.Name != "right_shift" {
			ops = append(ops, op) // integers by 0 and shifts too far are undefined in MLX
		}
	}
	for tries := 0; g.NumNodes() < n+5 && tries < 200*n; tries++ {
		op := ops[r.IntN(len(ops))]
		in := make([]graph.ValueID, len(op.Operands))
		if op.Variadic {
			in = make([]graph.ValueID, 1+r.IntN(3))
		}
		var rank int
		for i := range in {
			in[i] = values[r.IntN(len(values))]
			if i == 0 {
				rank = g.Type(in[i]).Rank()
			}
			if !op.Variadic && op.Operands[i].Optional && r.IntN(2) == 0 {
				in[i] = graph.None
			}
		}
		attrs := make([]graph.Attr, len(op.Attrs))
		for i := range op.Attrs {
			attrs[i] = randomAttr(r, &op.Attrs[i], rank)
		}
		if out, err := g.Add(op, fmt.Sprintf("node.%d", g.NumNodes()), in, attrs...); err == nil && g.Type(out[0]).Size().Int() <= 4096 {
			values = append(values, out...)
		}
	}
	for i := range 1 + r.IntN(3) {
		g.Output(fmt.Sprintf("y%d", i), values[len(values)-1-r.IntN(min(len(values), 1+n/2))])
	}
	return g, inputs
}

func randomAttr(r *rand.Rand, s *graph.AttrSpec, rank int) graph.Attr {
	if (s.Optional || s.Default != nil) && r.IntN(2) == 0 {
		return nil
	}
	axis := func() graph.Dim { return graph.N(int64(r.IntN(max(1, rank))) - int64(max(1, rank))) }
	switch s.Kind {
	case graph.KindAxis:
		return axis()
	case graph.KindAxes:
		return graph.Dims{axis()}
	case graph.KindInt, graph.KindPos:
		return graph.N(int64(r.IntN(3)))
	case graph.KindPosList:
		return graph.Dims{graph.N(int64(r.IntN(3)))}
	case graph.KindInts:
		if s.Name == "axes" {
			perm := graph.Dims{}
			for _, k := range r.Perm(rank) {
				perm = append(perm, graph.N(int64(k)))
			}
			return perm
		}
		return []graph.Dims{{graph.N(-1)}, {graph.N(3), graph.N(-1)}, {graph.N(2), graph.N(3), graph.N(3)}, {graph.N(1)}}[r.IntN(4)]
	case graph.KindFloat:
		return graph.Float(r.IntN(4)+1) / 2
	case graph.KindFlag:
		return graph.Flag(r.IntN(2) == 0)
	case graph.KindDType:
		return []graph.DType{graph.Float32, graph.BFloat16, graph.Int32, graph.Float16}[r.IntN(4)]
	}
	return nil
}
