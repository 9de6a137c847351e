package replay

import (
	"context"
	"slices"
)

// bound is a script with memory.
type bound struct {
	*script
	arena, block, consts *memory
	own                  []*memory // of copied inputs
	functions            map[*Source]Function
	list                 []Launch
	prepared             Prepared
	bytes                []byte // of the block
}

// bind gives a script its memory, but for states. The caller holds e.device.
func (s *session) bind(b *bound) error {
	var err error
	if b.arena, err = s.e.alloc(b.script.arena); err != nil {
		return err
	}
	if b.block, err = s.e.alloc(b.script.block); err != nil {
		return err
	}
	size := int64(0)
	for _, x := range b.buffers {
		if x.kind == constant {
			x.offset = size
			size += align(x.size)
		}
	}
	if b.consts, err = s.e.alloc(size); err != nil {
		return err
	}
	for _, x := range b.buffers {
		switch x.kind {
		case temporary:
			x.addr = b.arena.addr + Address(x.offset)
		case staged:
			x.addr = b.block.addr + Address(x.offset)
		case constant:
			x.addr = b.consts.addr + Address(x.offset)
			if err := s.e.dev.Write(x.addr, x.data); err != nil {
				return err
			}
		case parameter:
			if x.addr, err = s.param(x.name); err != nil {
				return err
			}
		case copied:
			m, err := s.e.alloc(x.size)
			if err != nil {
				return err
			}
			b.own = append(b.own, m)
			x.addr = m.addr
		}
	}
	return nil
}

// param is where a parameter lies. The engine underneath is asked once: it takes microseconds to
// answer, for hundreds of parameters.
func (s *session) param(name string) (Address, error) {
	if a := s.params[name]; a != 0 {
		return a, nil
	}
	a, err := s.e.inner.Param(s.inner, name)
	if err == nil {
		s.params[name] = a
	}
	return a, err
}

func (b *bound) release(e *Engine) {
	if b.prepared != nil {
		b.prepared.Release()
	}
	for _, m := range append([]*memory{b.arena, b.block, b.consts}, b.own...) {
		if m != nil {
			e.drop(m)
		}
	}
}

// count evaluates the numbers of a step, writes them to the block, and returns those whose
// threads have changed.
func (b *bound) count(env map[string]int64) ([]*numbers, error) {
	var reshaped []*numbers
	for _, n := range b.numbers {
		if n.last != nil && !slices.ContainsFunc(n.dims, changes) {
			continue
		}
		now := make([]int64, len(n.dims))
		for i, d := range n.dims {
			var err error
			if now[i], err = d.Eval(env); err != nil {
				return nil, err
			}
		}
		if slices.Equal(now, n.last) {
			continue
		}
		g, err := n.spec.Geometry(now)
		if err != nil {
			return nil, err
		}
		if n.last == nil || g != n.geometry {
			reshaped = append(reshaped, n)
		}
		n.last, n.geometry = now, g
		if n.at >= 0 {
			ints32(b.bytes[n.at:n.at], n.dynamic(now)...)
		}
	}
	return reshaped, nil
}

// place is the move with its addresses.
func (x movement) place() Move {
	m := *x.Move
	m.From, m.To = x.from.address(), x.to.address()
	if x.at != nil {
		m.At = x.at.addr
	}
	if x.rows != nil {
		m.Rows = x.rows.address()
	}
	return m
}

// compile makes the functions of a script's kernels that no script had before: to write their texts
// would take longer than all else when caches have become larger. The caller holds e.device.
func (b *bound) compile(ctx context.Context, e *Engine) error {
	b.functions = map[*Source]Function{}
	var sources []*Source
	for i := range b.steps {
		x := b.steps[i].source
		if x == nil || b.functions[x] != nil || slices.Contains(sources, x) {
			continue
		}
		if f := e.functions[x.key()]; f != nil {
			b.functions[x] = f
		} else {
			sources = append(sources, x)
		}
	}
	list, err := e.dev.Compile(ctx, sources)
	if err != nil {
		return err
	}
	for i, f := range list {
		b.functions[sources[i]], e.functions[sources[i].key()] = f, f
	}
	return nil
}

// reshape gives the launches of these numbers their new threads.
func (b *bound) reshape(list []*numbers) error {
	for _, n := range list {
		for _, i := range n.users {
			b.list[i].Geometry = n.geometry
			if err := b.prepared.Reshape(i, n.geometry); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare makes the list of launches. The caller holds e.device.
func (b *bound) prepare(e *Engine) error {
	if b.prepared != nil {
		b.prepared.Release()
		b.prepared = nil
	}
	b.list = b.list[:0]
	for i := range b.steps {
		x := &b.steps[i]
		l := Launch{After: x.after}
		for _, y := range x.moves {
			l.Moves = append(l.Moves, y.place())
		}
		if x.source != nil {
			l.Function, l.Source, l.Geometry = b.functions[x.source], x.source, x.numbers.geometry
			for _, r := range x.operands {
				l.Operands = append(l.Operands, r.address())
			}
			if x.numbers.at >= 0 {
				l.Operands = append(l.Operands, b.block.addr+Address(x.numbers.at))
			}
			for _, r := range x.made {
				l.Operands = append(l.Operands, r.address())
			}
		}
		b.list = append(b.list, l)
	}
	var err error
	b.prepared, err = e.dev.Prepare(b.list)
	return err
}
