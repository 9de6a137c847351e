package exact

import (
	"context"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

// Derive makes a parameter from others, as it says.
func Derive(ctx context.Context, q *graph.Param, args []*Array) (*Array, error) {
	out := &Array{DType: q.Type.DType}
	for _, d := range q.Type.Shape {
		out.Shape = append(out.Shape, d.Int())
	}
	if q.From.Op == "increment" { // the only one that computes
		for _, x := range args[0].V {
			out.V = append(out.V, x.add(Int(1)))
		}
		return out, nil
	}
	var shapes [][]int
	var elements []Number
	for _, a := range args {
		shapes = append(shapes, a.Shape)
		elements = append(elements, a.V...)
	}
	from, err := moves.Derived(ctx, q, shapes)
	for _, k := range from {
		out.V = append(out.V, elements[k])
	}
	return out, err
}
