package cache

import (
	"context"
	"fmt"
	"strings"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/kvquant"
)

// Quantize returns the state for p, which kvquant made of the program that the state was
// for: caches that p keeps in parts are quantized whole, room for more rows included, as
// KVCache.to_quantized does; the rest stays what it is. The tensors of c go over, and c
// is empty afterwards, also after an error. What is quantized is not computed yet.
func (c *Caches) Quantize(ctx context.Context, p *graph.Program) (*Caches, error) {
	defer c.Reset()
	q, err := New(c.engine, p, c.batch)
	if err != nil {
		return nil, err
	}
	q.offset, q.next, q.end = c.offset, c.next, c.end
	old, made := map[string]*state{}, map[string]map[string]engine.Tensor{}
	for _, s := range c.list {
		old[s.name] = s
	}
	defer func() {
		for _, parts := range made { // of a cache that p keeps only in part
			for _, t := range parts {
				t.Release()
			}
		}
	}()
	for _, s := range q.list {
		if o := old[s.name]; o != nil {
			s.tensor, o.tensor = o.tensor, nil
			continue
		}
		name, part := split(s.name)
		o := old[name]
		if o == nil {
			q.Reset()
			return nil, fmt.Errorf("%s is neither kept before nor a part of what is", s.name)
		}
		if o.tensor == nil && made[name] == nil {
			continue // before the first call
		}
		if made[name] == nil {
			if made[name], err = q.quantized(ctx, o, name); err != nil {
				q.Reset()
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		s.tensor = made[name][part]
		delete(made[name], part)
	}
	return q, nil
}

// split splits the name of a part into that of its cache and the part's own, with its dot.
func split(name string) (cache, part string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i:]
	}
	return name, ""
}

// quantized makes the parts of a cache. Bits and group size are what their types say.
func (q *Caches) quantized(ctx context.Context, o *state, name string) (map[string]engine.Tensor, error) {
	width := func(part string) int {
		for _, s := range q.list {
			if s.name == name+part {
				return s.typ.Shape[len(s.typ.Shape)-1].Int()
			}
		}
		return 0
	}
	shape := o.tensor.Shape()
	last := shape[len(shape)-1]
	words, groups := width(kvquant.Parts[0]), width(kvquant.Parts[1])
	if words == 0 || groups == 0 || width(kvquant.Parts[2]) != groups {
		return nil, fmt.Errorf("the program does not keep %s, %s and %s of it", kvquant.Parts[0], kvquant.Parts[1], kvquant.Parts[2])
	}
	g := graph.New()
	in := g.Input("cache", graph.T(o.typ.DType, graph.DimsOf(shape)...))
	out, err := g.Add(graph.LookupOp("quantize"), "", []graph.ValueID{in}, graph.N(int64(last/groups)), graph.N(int64(words*32/last)))
	if err != nil {
		return nil, err
	}
	for i, v := range out {
		g.Output(kvquant.Parts[i], v)
	}
	t := o.tensor
	o.tensor = nil
	return engine.Run(ctx, q.engine, g, nil, map[string]engine.Tensor{"cache": engine.Take(t)}, nil)
}
