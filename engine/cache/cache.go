// Package cache keeps the state of a program between calls, as mlx_lm/models/cache.py
// does: caches of keys and values that grow, rings behind a sliding window, and state of
// one size. It knows nothing of tokens or text.
package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// The inputs that say where a call writes.
const (
	Offset       = "offset"        // int32[]: tokens before this call; rows that a KVCache holds
	WindowOffset = "window_offset" // int32[]: the row of a RotatingKVCache that is written first
)

// step is the number of rows by which a cache grows.
const step = 256

// most is for how many tokens behind a call a cache that grows has room: a text may end early.
const most = 1024

// Caches are the state of one batch of sequences. They follow mlx-lm to the row, so that
// attention adds up in the same order.
type Caches struct {
	engine engine.Engine
	batch  int
	window int // rows; 0 if no layer has one
	keep   int // rows of a ring that stay for good, the first ones
	list   []*state
	offset int // tokens seen
	next   int // the row of a ring that is written next
	end    int // tokens seen when what Expect told of has come
	// bits and group are of the caches that kvquant has quantized; 0 if there are none.
	bits, group int
}

// state is one input that a call gives back.
type state struct {
	name string
	typ  graph.Type
	// kind is the symbol of its type that says how it is kept: graph.SymKVCap grows
	// (KVCache), graph.SymWindowCap slides (RotatingKVCache), "" is of one size, zeros
	// at first (ArraysCache).
	kind   string
	axis   int           // of the rows; -1 if of one size
	unread bool          // by the graph of some case
	tensor engine.Tensor // nil before the first call
}

// New describes the empty state of a program: its inputs called cache.*.
func New(e engine.Engine, p *graph.Program, batch int) (*Caches, error) {
	if len(p.Cases) == 0 {
		return nil, fmt.Errorf("program %s has no cases", p.Name)
	}
	c := &Caches{engine: e, batch: batch, window: p.Window}
	g := p.Cases[0].Graph
	for _, id := range g.Inputs() {
		name := g.InputName(id)
		if name == "tokens" || name == Offset || name == WindowOffset {
			continue
		}
		if !strings.HasPrefix(name, "cache.") {
			return nil, fmt.Errorf("program %s has an input %s, which is neither tokens, an offset nor a cache", p.Name, name)
		}
		s := &state{name: name, typ: g.Type(id), axis: -1}
		for i, d := range s.typ.Shape {
			sym, ok := d.Symbol()
			switch {
			case !ok || sym == graph.SymBatch:
			case sym != graph.SymKVCap && sym != graph.SymWindowCap || s.axis >= 0:
				return nil, fmt.Errorf("program %s: input %s has type %s, which is no cache's", p.Name, name, s.typ)
			default:
				s.axis, s.kind = i, sym
			}
		}
		if s.kind == graph.SymWindowCap && c.window == 0 {
			return nil, fmt.Errorf("program %s: input %s has a sliding window, and the program none", p.Name, name)
		}
		c.list = append(c.list, s)
	}
	for i := range p.Cases {
		g := p.Cases[i].Graph
		uses, made := g.Uses(), map[string]graph.ValueID{}
		for _, o := range g.Outputs() {
			made[o.Name] = o.Value
		}
		for k := range g.NumNodes() {
			if n := g.Node(graph.NodeID(k)); n.Op.Name == "quantize" {
				c.bits, c.group = n.Attr("bits").(graph.Dim).Int(), n.Attr("group_size").(graph.Dim).Int()
			}
		}
		for _, s := range c.list {
			v, ok := made[s.name]
			s.unread = s.unread || ok && len(uses.Of(v)) == 0
		}
	}
	return c, nil
}

// KeepFirst makes rings keep their first n rows for good, as mlx-lm's do behind
// max_kv_size. It comes before the first call; rings have more rows.
func (c *Caches) KeepFirst(n int) { c.keep = n }

// Offset returns how many tokens the caches have seen.
func (c *Caches) Offset() int { return c.offset }

// Tensors returns the state, not computed yet where a call is under way.
func (c *Caches) Tensors() []engine.Tensor {
	var all []engine.Tensor
	for _, s := range c.list {
		if s.tensor != nil {
			all = append(all, s.tensor)
		}
	}
	return all
}

// Unread returns the state that a call may make without reading it: one such as the
// indexer's keys of deepseek_v32 is not computed with the tokens. Whoever makes many
// calls computes it, too, or what is left to do grows with each.
func (c *Caches) Unread() []engine.Tensor {
	var all []engine.Tensor
	for _, s := range c.list {
		if s.tensor != nil && s.unread {
			all = append(all, s.tensor)
		}
	}
	return all
}

// Expect tells that up to n tokens are to come, those of the next call among them. A KVCache that grows has
// room for them, but for no more than 1,024 behind those of the call for which it grows: each time costs as
// much as some steps. Rings are as large as mlx-lm's.
func (c *Caches) Expect(n int) { c.end = c.offset + n }

// Reset forgets everything.
func (c *Caches) Reset() {
	for _, s := range c.list {
		if s.tensor != nil {
			s.tensor.Release()
			s.tensor = nil
		}
	}
	c.offset, c.next, c.end = 0, 0, 0
}

// Step makes a call of n tokens of each sequence: it makes room, hands the state to the
// session, and keeps what comes back. tokens is borrowed, or handed over with
// engine.Take. The other results of the program are returned.
func (c *Caches) Step(ctx context.Context, session engine.Session, tokens engine.Tensor, n int) (map[string]engine.Tensor, error) {
	in := map[string]engine.Tensor{"tokens": tokens}
	at, rows, err := c.reserve(ctx, n)
	if err == nil {
		err = c.position(in, Offset, c.offset)
	}
	if err == nil && c.window > 0 {
		err = c.position(in, WindowOffset, at)
	}
	if err != nil {
		engine.ReleaseTaken(in)
		return nil, err
	}
	for _, s := range c.list {
		in[s.name] = engine.Take(s.tensor)
		s.tensor = nil
	}
	dims := map[string]int64{graph.SymKVLen: int64(c.offset + n)}
	if c.window > 0 {
		dims[graph.SymWindowLen] = int64(rows)
	}
	out, err := session.Step(ctx, in, dims)
	if err != nil {
		c.Reset()
		return nil, err
	}
	c.offset += n
	c.next = at + n
	for _, s := range c.list {
		s.tensor = out[s.name]
		delete(out, s.name)
	}
	return out, nil
}

func (c *Caches) position(in map[string]engine.Tensor, name string, n int) error {
	t, err := c.engine.NewTensor(graph.Int32, []int{}, binary.LittleEndian.AppendUint32(nil, uint32(n)))
	if err == nil {
		in[name] = engine.Take(t)
	}
	return err
}

// reserve makes room for n more tokens. at is the row of the rings where they go, rows
// how many rows of a ring attention sees then.
func (c *Caches) reserve(ctx context.Context, n int) (at, rows int, err error) {
	at, rows = c.next, 0
	var list []*change
	for _, s := range c.list {
		var x *change
		switch s.kind {
		case graph.SymKVCap:
			x = c.grow(s, n)
		case graph.SymWindowCap:
			x, at, rows = c.slide(s, n)
		default:
			if s.tensor == nil {
				x = &change{state: s}
			}
		}
		if x != nil {
			list = append(list, x)
		}
	}
	return at, rows, c.arrange(ctx, list)
}

// grow is KVCache.update_and_fetch up to the new rows: whole steps of 256 behind the
// rows that are used, or behind all if those are whole steps, too. There are more of them where more is expected,
// and a long cache grows by an eighth: to copy it takes as long as to read it.
func (c *Caches) grow(s *state, n int) *change {
	if s.tensor != nil && c.offset+n <= s.rows() {
		return nil
	}
	expected := min(max(c.end-c.offset-n, 0), most)
	keep, more := c.offset, (max(n+expected, s.rows()/8)+step-1)/step*step
	if keep%step == 0 {
		keep = s.rows()
	}
	return &change{s, [][2]int{{0, keep}}, more}
}

// slide is RotatingKVCache.update_and_fetch up to the new rows. One token goes into a
// ring; several go behind the rows of the window, in order.
func (c *Caches) slide(s *state, n int) (x *change, at, rows int) {
	held, at := s.rows(), c.next
	if n == 1 { // _update_in_place
		keep, more := [][2]int{{0, held}}, 0
		if s.tensor == nil || c.offset >= held && held < c.window {
			more = min(step, c.window-c.offset)
			at = c.offset
		}
		if surplus := held + more - c.window; surplus > 0 {
			keep, at = [][2]int{{0, c.keep}, {c.keep + surplus, held}}, c.window
			held -= surplus
		}
		if at == c.window {
			at = c.keep
		}
		if more > 0 || len(keep) > 1 {
			x = &change{s, keep, more}
		}
		return x, at, min(c.offset+1, held+more)
	}
	// _update_concat: in temporal order, without what no query of this call sees.
	order := [][2]int{{0, at}}
	switch {
	case at == held:
	case at < c.offset:
		order = [][2]int{{0, c.keep}, {at, held}, {c.keep, at}}
	}
	count := 0
	for _, r := range order {
		count += r[1] - r[0]
	}
	if surplus := count - c.window + 1; surplus > 0 {
		order = slices.Concat(part(order, 0, c.keep), part(order, c.keep+surplus, count))
		count -= surplus
	}
	return &change{s, order, n}, count, count + n
}

// part returns the ranges of the rows from start to stop of those that are listed.
func part(list [][2]int, start, stop int) [][2]int {
	var out [][2]int
	for _, r := range list {
		n := r[1] - r[0]
		if a, b := max(start, 0), min(stop, n); a < b {
			out = append(out, [2]int{r[0] + a, r[0] + b})
		}
		start, stop = start-n, stop-n
	}
	return out
}

func (s *state) rows() int {
	if s.tensor == nil || s.axis < 0 {
		return 0
	}
	return s.tensor.Shape()[s.axis]
}

// shape is that of a state of so many rows.
func (c *Caches) shape(s *state, rows int) ([]int, error) {
	return engine.Shape(s.typ.Shape, map[string]int64{graph.SymBatch: int64(c.batch), graph.SymKVCap: int64(rows), graph.SymWindowCap: int64(rows)})
}
