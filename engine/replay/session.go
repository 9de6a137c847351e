package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// session is a loaded program. Steps of one session follow one another.
type session struct {
	e       *Engine
	inner   engine.Session // nil until it is asked for something, if the program has no parameters
	program *graph.Program
	scripts map[string]*bound // by case and static symbols
	refused map[string]error
	params  map[string]Address // of those that a script has read
}

// Step implements engine.Session.
func (s *session) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	c, env, err := engine.Select(s.program, in, dims)
	if err != nil {
		engine.ReleaseTaken(in)
		return nil, err
	}
	b, err := s.script(ctx, c, env)
	if err != nil {
		engine.ReleaseTaken(in)
		return nil, err
	}
	if b == nil || !s.e.positions(b, in) {
		return s.fall(in, func(inner map[string]engine.Tensor) (map[string]engine.Tensor, error) {
			u, err := s.under(ctx)
			if err != nil {
				engine.ReleaseTaken(inner)
				return nil, err
			}
			return u.Step(ctx, inner, dims)
		})
	}
	out, err := s.replay(ctx, b, in, env)
	engine.ReleaseTaken(in) // but for what has become a result
	if err != nil {
		return nil, fmt.Errorf("case %q: %w", c.Name, err)
	}
	return out, nil
}

// Trace implements engine.Tracer: nodes are computed one by one by the engine underneath.
func (s *session) Trace(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64, each func(engine.Traced)) (map[string]engine.Tensor, error) {
	u, err := s.under(ctx)
	if err != nil {
		engine.ReleaseTaken(in)
		return nil, err
	}
	t, ok := u.(engine.Tracer)
	if !ok {
		engine.ReleaseTaken(in)
		return nil, diag.Errorf("engine/trace", diag.Pos{}, "engine %s cannot trace", s.e.Name())
	}
	return s.fall(in, func(inner map[string]engine.Tensor) (map[string]engine.Tensor, error) {
		return t.Trace(ctx, inner, dims, each)
	})
}

// under is the session of the engine underneath. Caches are made larger by programs that never need one.
func (s *session) under(ctx context.Context) (engine.Session, error) {
	if s.inner == nil {
		var err error
		if s.inner, err = s.e.inner.Load(ctx, s.program, nil); err != nil {
			return nil, err
		}
	}
	return s.inner, nil
}

// fall lets the engine underneath run a step.
func (s *session) fall(in map[string]engine.Tensor, run func(map[string]engine.Tensor) (map[string]engine.Tensor, error)) (map[string]engine.Tensor, error) {
	inner := make(map[string]engine.Tensor, len(in))
	for name, t := range in {
		x, taken, err := s.e.mine(t)
		if err != nil {
			engine.ReleaseTaken(in)
			return nil, err
		}
		u, err := x.under()
		if err != nil {
			engine.ReleaseTaken(in)
			return nil, err
		}
		inner[name] = u
		if taken {
			inner[name] = engine.Take(u)
		}
	}
	for _, t := range in { // those that are handed over are the step's now
		if x, taken, _ := s.e.mine(t); taken {
			x.mu.Lock()
			x.inner = nil
			x.mu.Unlock()
			x.Release()
		}
	}
	out, err := run(inner)
	if err != nil {
		return nil, err
	}
	for name, t := range out {
		out[name] = s.e.wrap(t)
	}
	return out, nil
}

// script returns the script for a call, or nil if there can be none.
func (s *session) script(ctx context.Context, c *graph.Case, env map[string]int64) (*bound, error) {
	key := c.Name + " " + staticKey(env)
	if b := s.scripts[key]; b != nil {
		return b, nil
	}
	if s.refused[key] != nil || s.refused[c.Name] != nil {
		return nil, nil
	}
	script, err := newScript(c, env, s.e.catalog)
	if err != nil {
		s.e.tell(c.Name, err)
		s.refused[key] = err
		if len(s.refused) > 64 { // lengths of prompts
			s.refused = map[string]error{key: err}
		}
		return nil, nil
	}
	s.e.device.Lock()
	defer s.e.device.Unlock()
	for k, old := range s.scripts { // caches of another size come and go
		if old.c == c {
			old.release(s.e)
			delete(s.scripts, k)
		}
	}
	b := &bound{script: script, bytes: make([]byte, script.block)}
	err = s.bind(b)
	if err == nil {
		err = b.compile(ctx, s.e)
	}
	if ctx.Err() != nil {
		b.release(s.e)
		return nil, ctx.Err()
	}
	if err != nil { // too little memory, a parameter that is laid out in another way, no compiler
		s.e.tell(c.Name, err)
		b.release(s.e)
		s.refused[c.Name] = err
		return nil, nil
	}
	s.scripts[key] = b
	return b, nil
}

// Refusals says of each case that was not replayed why.
func (s *session) Refusals() map[string]error { return s.refused }

// replay runs a step by its script.
func (s *session) replay(ctx context.Context, b *bound, in map[string]engine.Tensor, env map[string]int64) (map[string]engine.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e := s.e
	given := make(map[string]*tensor, len(in))
	takenOver := map[string]bool{}
	for name, t := range in {
		x, taken, err := e.mine(t)
		if err != nil {
			return nil, err
		}
		given[name], takenOver[name] = x, taken
	}
	if err := b.room(given); err != nil {
		return nil, err
	}
	// What the device does not hold yet is computed first, by the engine underneath, all of it at once.
	from := map[string]Address{}
	elsewhere := map[string]engine.Tensor{}
	for name, x := range given {
		x.mu.Lock()
		err := x.alive()
		if x.mem == nil && x.host == nil {
			elsewhere[name] = x.inner
		}
		x.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	if len(elsewhere) > 1 { // a single one is computed by Address
		if err := e.inner.Eval(ctx, slices.Collect(maps.Values(elsewhere))...); err != nil {
			return nil, err
		}
	}
	for name, inner := range elsewhere {
		var err error
		if from[name], err = e.inner.Address(inner); err != nil {
			return nil, err
		}
	}

	e.device.Lock()
	defer e.device.Unlock()
	e.sweep()
	moved, foreign := false, false
	states := map[string]*memory{}
	fail := func(err error) (map[string]engine.Tensor, error) {
		for _, m := range states {
			e.drop(m)
		}
		return nil, err
	}
	var later []func() error
	for name, x := range b.inputs {
		t := given[name]
		source := from[name]
		if source != 0 {
			foreign = true
		} else if t.mem != nil {
			source = t.mem.addr
		}
		switch x.kind {
		case state:
			m, err := e.exclusive(t, takenOver[name], source)
			if err != nil {
				return fail(err)
			}
			states[name] = m
			moved = moved || x.addr != m.addr
			x.addr = m.addr
		case staged:
			if t.host != nil {
				copy(b.bytes[x.offset:], t.host)
			} else {
				later = append(later, func() error { return e.dev.Copy(x.addr, source, x.size) })
			}
		case copied:
			var err error
			if t.host != nil {
				err = e.dev.Write(x.addr, t.host)
			} else {
				err = e.dev.Copy(x.addr, source, x.size)
			}
			if err != nil {
				return fail(err)
			}
		}
	}
	reshaped, err := b.count(env)
	if err != nil {
		return fail(err)
	}
	stale := b.prepared == nil || moved
	if !stale {
		if err := b.reshape(reshaped); err != nil { // a driver may not change what it can make anew
			s.e.log.Debug("a launch keeps its shape, the list is made anew", "why", err)
			stale = true
		}
	}
	if stale {
		if err := b.prepare(e); err != nil {
			return fail(err)
		}
	}
	if len(b.bytes) > 0 {
		if err := e.dev.Write(b.block.addr, b.bytes); err != nil {
			return fail(err)
		}
	}
	for _, f := range later {
		if err := f(); err != nil {
			return fail(err)
		}
	}
	if foreign { // the engine underneath may use its memory again once it is released
		if err := e.dev.Wait(); err != nil {
			return fail(err)
		}
	}
	if err := b.prepared.Start(); err != nil {
		return fail(err)
	}
	e.count(b.counts)
	out := map[string]engine.Tensor{}
	for _, r := range b.results {
		t := &tensor{e: e, dtype: r.place.dtype, shape: slices.Clone(r.shape)}
		if r.home != nil {
			t.mem = states[r.name]
			delete(states, r.name)
		} else {
			if t.mem, err = e.alloc(r.place.bytes()); err == nil {
				err = e.dev.Copy(t.mem.addr, r.place.ref().address(), r.place.bytes())
			}
			if err != nil {
				for _, t := range out {
					t.Release()
				}
				return fail(err)
			}
		}
		out[r.name] = t
	}
	return out, nil
}

// exclusive returns memory with the content of a state that the step may write to: the
// tensor's own if it was handed over, else a copy. The caller holds e.device.
func (e *Engine) exclusive(t *tensor, taken bool, source Address) (*memory, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if taken && t.mem != nil && t.pending == nil {
		m := t.mem
		t.mem = nil
		return m, nil
	}
	m, err := e.alloc(t.bytes())
	if err != nil {
		return nil, err
	}
	if t.host != nil {
		err = e.dev.Write(m.addr, t.host)
	} else {
		err = e.dev.Copy(m.addr, source, t.bytes())
	}
	if err != nil {
		e.drop(m)
		return nil, err
	}
	return m, nil
}

// positions reports whether a step is as its script takes it to be: the host knows where
// caches are written to, and what it knows of indices is in their tables. The engine
// underneath takes the others, and says what is wrong with them.
func (e *Engine) positions(b *bound, in map[string]engine.Tensor) bool {
	for _, x := range b.indices {
		t, _, err := e.mine(in[x.input])
		if err != nil {
			return true // replay says why
		}
		for data := t.known(); len(data) >= 4; data = data[4:] {
			if i := int64(graph.DecodeElem(graph.Int32, data[:4])); i < 0 || i >= x.rows {
				return false
			}
		}
	}
	for _, c := range b.checks {
		if x, _, err := e.mine(in[c.offset]); err == nil && x.known() == nil {
			return false
		}
	}
	return true
}

// known is the tensor's content if the host has it.
func (t *tensor) known() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.host
}

// room checks that new rows fit into their caches.
func (b *bound) room(in map[string]*tensor) error {
	for _, c := range b.checks {
		at := int64(graph.DecodeElem(graph.Int32, in[c.offset].known()))
		if at < 0 || at > c.room-c.rows {
			return diag.Errorf("mlx/op", diag.Pos{}, "kv_append: rows %d to %d do not fit a cache of %d rows", at, at+c.rows, c.room).WithScope(c.scope)
		}
	}
	return nil
}

// reads reports whether a program has parameters, which are memory of the engine underneath.
func reads(p *graph.Program) bool {
	return slices.ContainsFunc(p.Cases, func(c graph.Case) bool { return len(c.Graph.Params()) > 0 })
}

// Close implements engine.Session.
func (s *session) Close() error {
	s.e.device.Lock()
	for _, b := range s.scripts {
		b.release(s.e)
	}
	s.scripts = nil
	s.e.sweep()
	var err error
	if reads(s.program) { // launches under way read the parameters
		err = s.e.dev.Wait()
	}
	s.e.device.Unlock()
	if s.inner != nil {
		err = errors.Join(err, s.inner.Close())
	}
	return err
}
