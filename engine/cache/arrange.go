package cache

import (
	"context"
	"fmt"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
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
	var kept []*change
	for _, x := range list {
		x.keep = slices.DeleteFunc(x.keep, func(r [2]int) bool { return r[0] == r[1] })
		if x.state.tensor != nil && len(x.keep) > 0 {
			kept = append(kept, x)
		} else if err := c.zeros(x); err != nil {
			return fmt.Errorf("%s: %w", x.state.name, err)
		}
	}
	return c.moveRows(ctx, kept)
}

// zeros makes a state of which nothing is kept. Where steps are replayed, a program that makes them would have them
// once more than Zeros does, for a moment: 22 MiB more at most for SmolLM2-135M.
func (c *Caches) zeros(x *change) error {
	if x.state.tensor != nil {
		x.state.tensor.Release()
		x.state.tensor = nil
	}
	shape, _, err := c.size(x)
	if err == nil {
		x.state.tensor, err = c.engine.Zeros(x.state.typ.DType, shape)
	}
	return err
}

// moveRows makes states anew of which rows are kept.
func (c *Caches) moveRows(ctx context.Context, list []*change) error {
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && (n == 0 || size < together) {
			_, bytes, err := c.size(list[n])
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

// size is how large a state is after a change, also in bytes.
func (c *Caches) size(x *change) ([]int, int, error) {
	rows := x.more
	for _, r := range x.keep {
		rows += r[1] - r[0]
	}
	shape, err := c.shape(x.state, rows)
	if err != nil {
		return nil, 0, err
	}
	n, err := engine.NumBytes(x.state.typ.DType, shape)
	return shape, n, err
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
	for _, x := range list {
		in[x.state.name] = engine.Take(x.state.tensor)
		x.state.tensor = nil
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

// changed adds a change to a graph, which has the state as an input.
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
	in := g.Input(s.name, graph.T(s.typ.DType, graph.DimsOf(s.tensor.Shape())...))
	for _, r := range x.keep {
		v, err := add("slice", []graph.ValueID{in}, graph.Dims{axis}, graph.Dims{graph.N(int64(r[0]))}, graph.Dims{graph.N(int64(r[1]))})
		if err != nil {
			return 0, err
		}
		parts = append(parts, v)
	}
	if x.more > 0 {
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
	return add("concatenate", parts, axis)
}
