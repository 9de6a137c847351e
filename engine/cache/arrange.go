package cache

import (
	"context"
	"fmt"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// change makes a state anew: the listed ranges of its rows one after the other, and more rows of
// zeros behind them. A state of one size has neither, and is zeros.
type change struct {
	state *state
	keep  [][2]int
	more  int
}

// together is how many bytes are made by one program. To have a program for each state takes longer
// than their rows do, and one for all of them would have room for all that there was and all that is made.
var together = 64 << 20 // tests have another

// arrange makes states anew.
func (c *Caches) arrange(ctx context.Context, list []*change) error {
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && (n == 0 || size < together) {
			bytes, err := c.bytes(list[n])
			if err != nil {
				return fmt.Errorf("%s: %w", list[n].state.name, err)
			}
			size += bytes
			n++
		}
		if err := c.run(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// bytes is how large a state is after a change.
func (c *Caches) bytes(x *change) (int, error) {
	rows := x.more
	for _, r := range x.keep {
		rows += r[1] - r[0]
	}
	shape, err := c.shape(x.state, rows)
	if err != nil {
		return 0, err
	}
	n, ok := weights.NumBytes(x.state.typ.DType, shape)
	if !ok {
		return 0, fmt.Errorf("%s%v has more bytes than can be counted", x.state.typ.DType, shape)
	}
	return n, nil
}

// run makes changes by one program.
func (c *Caches) run(ctx context.Context, list []*change) error {
	g, in := graph.New(), map[string]engine.Tensor{}
	for _, x := range list {
		v, err := c.changed(g, x)
		if err != nil {
			return fmt.Errorf("%s: %w", x.state.name, err)
		}
		g.Output(x.state.name, v)
	}
	read := map[string]bool{}
	for _, id := range g.Inputs() {
		read[g.InputName(id)] = true
	}
	for _, x := range list {
		t := x.state.tensor
		x.state.tensor = nil
		if read[x.state.name] {
			in[x.state.name] = engine.Take(t)
		} else if t != nil {
			t.Release()
		}
	}
	out, err := engine.Run(ctx, c.engine, g, nil, in, nil)
	if err != nil {
		return err
	}
	for _, x := range list {
		x.state.tensor = out[x.state.name]
	}
	return nil
}

// changed adds a change to a graph: the state is an input if some of its rows are kept.
func (c *Caches) changed(g *graph.Graph, x *change) (graph.ValueID, error) {
	s := x.state
	add := func(op string, operands []graph.ValueID, attrs ...graph.Attr) (graph.ValueID, error) {
		out, err := g.Add(graph.LookupOp(op), "", operands, attrs...)
		if err != nil {
			return 0, err
		}
		return out[0], nil
	}
	var parts []graph.ValueID
	axis := graph.N(int64(s.axis - s.typ.Rank()))
	keep := slices.DeleteFunc(slices.Clone(x.keep), func(r [2]int) bool { return r[0] == r[1] })
	if s.tensor != nil && len(keep) > 0 {
		in := g.Input(s.name, graph.T(s.typ.DType, graph.DimsOf(s.tensor.Shape())...))
		for _, r := range keep {
			v, err := add("slice", []graph.ValueID{in}, graph.Dims{axis}, graph.Dims{graph.N(int64(r[0]))}, graph.Dims{graph.N(int64(r[1]))})
			if err != nil {
				return 0, err
			}
			parts = append(parts, v)
		}
	}
	if x.more > 0 || s.axis < 0 {
		shape, err := c.shape(s, x.more)
		if err != nil {
			return 0, err
		}
		v, err := add("broadcast_to", []graph.ValueID{g.Scalar(s.typ.DType, 0)}, graph.DimsOf(shape))
		if err != nil {
			return 0, err
		}
		parts = append(parts, v)
	}
	if len(parts) == 1 {
		return add("contiguous", parts)
	}
	return add("concatenate", parts, axis)
}
