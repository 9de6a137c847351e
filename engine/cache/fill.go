package cache

import (
	"context"
	"fmt"
	"math/rand/v2"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// Fill makes the caches as they are behind n tokens, with random rows: how long a step takes
// does not depend on what they hold, and a long prompt may take minutes. The rows repeat every
// 256. State of one size is random, too.
func (c *Caches) Fill(ctx context.Context, n int, seed uint64) error {
	c.Reset()
	if n == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	made := map[string][]byte{} // blocks, by their type
	for _, s := range c.list {
		rows, block, copies := 0, 0, 1
		switch s.kind {
		case graph.SymKVCap: // whole steps, as a prompt leaves them
			rows = (n + step - 1) / step * step
			block, copies = step, rows/step
		case graph.SymWindowCap:
			rows = min(n, c.window)
			block = rows
		}
		if err := c.fill(ctx, s, block, copies, made, rng); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if s.kind == graph.SymWindowCap {
			c.next = rows
		}
	}
	c.offset = n
	return nil
}

// fill makes a state of a block of rows, so many times one behind the other.
func (c *Caches) fill(ctx context.Context, s *state, block, copies int, made map[string][]byte, rng *rand.Rand) error {
	shape, err := c.shape(s, block)
	if err != nil {
		return err
	}
	key := fmt.Sprint(s.typ.DType, shape)
	data := made[key]
	if data == nil {
		n := 1
		for _, d := range shape {
			n *= d
		}
		data = make([]byte, 0, n*s.typ.DType.Size())
		for range n {
			v := 0.0
			if !s.typ.DType.IsInteger() {
				v = rng.Float64()*2 - 1
			}
			data = graph.AppendElem(data, s.typ.DType, v)
		}
		made[key] = data
	}
	if s.tensor, err = c.engine.NewTensor(s.typ.DType, shape, data); err != nil || copies == 1 {
		return err
	}
	g := graph.New()
	var dims, whole graph.Dims
	var old []graph.Dim
	for i, d := range shape {
		old = append(old, graph.N(int64(d)))
		if i == s.axis {
			dims, d = append(dims, graph.N(int64(copies))), d*copies
		}
		dims, whole = append(dims, graph.N(int64(shape[i]))), append(whole, graph.N(int64(d)))
	}
	x := g.Input("block", graph.T(s.typ.DType, old...))
	for _, op := range []struct {
		name string
		attr graph.Attr
	}{{"expand_dims", graph.Dims{graph.N(int64(s.axis))}}, {"broadcast_to", dims}, {"reshape", whole}} {
		out, err := g.Add(graph.LookupOp(op.name), "", []graph.ValueID{x}, op.attr)
		if err != nil {
			return err
		}
		x = out[0]
	}
	g.Output("cache", x)
	out, err := engine.Run(ctx, c.engine, g, nil, map[string]engine.Tensor{"block": engine.Take(s.tensor)}, nil)
	s.tensor = nil
	if err != nil {
		return err
	}
	s.tensor = out["cache"]
	return c.engine.Eval(ctx, s.tensor)
}
