package exact

import (
	"context"
	"fmt"

	"zmlx-rewrite/graph"
)

// Derive makes a parameter from others, as it says.
func Derive(q *graph.Param, args []*Array) (*Array, error) {
	d := q.From
	if d.Op == "increment" {
		out := &Array{DType: args[0].DType, Shape: args[0].Shape}
		for _, x := range args[0].V {
			out.V = append(out.V, x.add(Int(1)))
		}
		return out, nil
	}
	// The others move elements: ops do the same.
	g, in := graph.New(), map[string]*Array{}
	var operands []graph.ValueID
	for i, a := range args {
		t := graph.Type{DType: a.DType}
		for _, n := range a.Shape {
			t.Shape = append(t.Shape, graph.N(int64(n)))
		}
		name := fmt.Sprint("x", i)
		in[name] = a
		operands = append(operands, g.Input(name, t))
	}
	dims := func(list []int) graph.Dims {
		var all graph.Dims
		for _, n := range list {
			all = append(all, graph.N(int64(n)))
		}
		return all
	}
	axis := graph.N(int64(d.Axis))
	add := func(op string, in []graph.ValueID, attrs map[string]graph.Attr) (graph.ValueID, error) {
		o := graph.LookupOp(op)
		list := make([]graph.Attr, len(o.Attrs))
		for i, spec := range o.Attrs {
			list[i] = attrs[spec.Name]
		}
		out, err := g.Add(o, "", in, list...)
		if err != nil {
			return graph.None, err
		}
		return out[0], nil
	}
	var out graph.ValueID
	var err error
	switch d.Op {
	case "concat":
		out, err = add("concatenate", operands, map[string]graph.Attr{"axis": axis})
	case "split":
		out, err = add("slice", operands, map[string]graph.Attr{"axis": graph.Dims{axis}, "start": dims([]int{d.Start}), "stop": dims([]int{d.Stop})})
	case "stack":
		for i := range operands {
			// The axis counts from the end of the result, which has one more.
			if operands[i], err = add("expand_dims", operands[i:i+1], map[string]graph.Attr{"axis": graph.Dims{axis}}); err != nil {
				return nil, err
			}
		}
		out, err = add("concatenate", operands, map[string]graph.Attr{"axis": axis})
	case "transpose":
		out, err = add("transpose", operands, map[string]graph.Attr{"axes": dims(d.Perm)})
	case "reshape":
		out, err = add("reshape", operands, map[string]graph.Attr{"shape": dims(d.Shape)})
	case "permute":
		at := g.Constant(indexLiteral(d.Perm))
		out, err = add("take", append(operands, at), map[string]graph.Attr{"axis": axis})
	default:
		return nil, fmt.Errorf("%s is made by %s, which is not known", q.Name, d.Op)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.Name, err)
	}
	g.Output("y", out)
	res, err := Run(context.Background(), g, in, NewTrace())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.Name, err)
	}
	return res["y"], nil
}

func indexLiteral(list []int) *graph.Literal {
	l := &graph.Literal{DType: graph.Int32, Shape: []int{len(list)}}
	for _, n := range list {
		l.Data = graph.AppendElem(l.Data, graph.Int32, float64(n))
	}
	return l
}
