package moves

import (
	"context"
	"encoding/binary"
	"fmt"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// Derived returns, for each element of a parameter that is made from others, which element
// of these it is. They are counted through all of them. "increment" computes, and is not
// for this function.
func Derived(ctx context.Context, q *graph.Param, args [][]int) ([]int, error) {
	g, given := graph.New(), map[string]engine.Tensor{}
	e := ref.New()
	defer e.Close()
	operands := make([]graph.ValueID, len(args))
	first := uint64(0)
	for i, shape := range args {
		t := graph.Type{DType: graph.Int64}
		for _, d := range shape {
			t.Shape = append(t.Shape, graph.N(int64(d)))
		}
		var data []byte
		for range Size(shape) {
			data = binary.LittleEndian.AppendUint64(data, first)
			first++
		}
		name := fmt.Sprint("x", i)
		operands[i] = g.Input(name, t)
		x, err := e.NewTensor(t.DType, shape, data)
		if err != nil {
			return nil, err
		}
		defer x.Release()
		given[name] = x
	}
	y, err := derivation(g, q.From, operands)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.Name, err)
	}
	g.Output("y", y)
	return ids(ctx, e, g, given)
}

// ids runs a graph of one result, "y", that moves numbers which count elements.
func ids(ctx context.Context, e engine.Engine, g *graph.Graph, given map[string]engine.Tensor) ([]int, error) {
	res, err := engine.Run(ctx, e, g, nil, given, nil)
	if err != nil {
		return nil, err
	}
	defer res["y"].Release()
	data, err := res["y"].Read()
	if err != nil {
		return nil, err
	}
	from := make([]int, len(data)/8)
	for i := range from {
		from[i] = int(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return from, nil
}

// derivation adds the ops that do what a derivation says.
func derivation(g *graph.Graph, d *graph.Derived, operands []graph.ValueID) (graph.ValueID, error) {
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
	switch d.Op {
	case "concat":
		return add("concatenate", operands, map[string]graph.Attr{"axis": axis})
	case "split":
		return add("slice", operands, map[string]graph.Attr{"axis": graph.Dims{axis}, "start": dims([]int{d.Start}), "stop": dims([]int{d.Stop})})
	case "stack": // the axis counts from the end of the result, which has one more
		for i := range operands {
			var err error
			if operands[i], err = add("expand_dims", operands[i:i+1], map[string]graph.Attr{"axis": graph.Dims{axis}}); err != nil {
				return graph.None, err
			}
		}
		return add("concatenate", operands, map[string]graph.Attr{"axis": axis})
	case "transpose":
		return add("transpose", operands, map[string]graph.Attr{"axes": dims(d.Perm)})
	case "reshape":
		return add("reshape", operands, map[string]graph.Attr{"shape": dims(d.Shape)})
	case "permute":
		at := &graph.Literal{DType: graph.Int32, Shape: []int{len(d.Perm)}}
		for _, n := range d.Perm {
			at.Data = graph.AppendElem(at.Data, graph.Int32, float64(n))
		}
		return add("take", append(operands, g.Constant(at)), map[string]graph.Attr{"axis": axis})
	}
	return graph.None, fmt.Errorf("made by %s, which is not known", d.Op)
}
