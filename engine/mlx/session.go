//go:build mlx

package mlx

import (
	"context"
	"fmt"
	"time"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// session is a loaded program. Everything but e and program is the MLX thread's.
type session struct {
	e       *mlxEngine
	program *graph.Program
	pool    *pool
	params  map[string]*param
	plans   map[*graph.Case]*plan
	scope   *scope
	frame   frame
	steps   int
	closed  bool
}

// clearEvery is the number of steps after which MLX gives freed memory back: each
// length of a cache leaves buffers of its own size. mlx-lm has the same number.
const clearEvery = 256

func (e *mlxEngine) Load(ctx context.Context, p *graph.Program, w *weights.Store) (engine.Session, error) {
	e.loading.Lock()
	defer e.loading.Unlock()
	s := &session{e: e, program: p, plans: map[*graph.Case]*plan{}}
	if err := s.loadParams(ctx, w); err != nil {
		return nil, err
	}
	err := e.do(func() error {
		s.scope = newScope(e.stream)
		s.frame.scope = s.scope
		defer s.scope.free()
		for i := range p.Cases {
			c := &p.Cases[i]
			var err error
			if s.plans[c], err = newPlan(e, s.scope, c, s.params); err != nil {
				return fmt.Errorf("case %q: %w", c.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) Close() error {
	s.e.loading.Lock()
	defer s.e.loading.Unlock()
	return s.close()
}

func (s *session) close() error {
	return do(func() error {
		s.e.mu.Lock()
		gone := s.e.closed
		s.e.mu.Unlock()
		if s.closed {
			return nil
		}
		s.closed = true
		for _, p := range s.plans {
			p.release()
		}
		s.plans = nil
		if !gone {
			s.e.giveBack(s.pool, s.params)
		}
		return nil
	})
}

// Step adds the graph of a case to MLX's lazy one, all of it in one go on the MLX
// thread, and computes nothing.
func (s *session) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	return s.Trace(ctx, in, dims, nil)
}

// Trace is Step with each node computed before the next one is added, if each is given.
func (s *session) Trace(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64, each func(engine.Traced)) (map[string]engine.Tensor, error) {
	defer engine.ReleaseTaken(in) // of those that the step did not get to
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out map[string]engine.Tensor
	err := s.e.do(func() error {
		if s.closed {
			return diag.Errorf("engine/closed", diag.Pos{}, "the session is closed")
		}
		if s.steps++; s.steps%clearEvery == 0 {
			if err := clearCache(); err != nil {
				return err
			}
		}
		c, env, err := engine.Select(s.program, in, dims)
		if err != nil {
			return err
		}
		s.frame.each = each
		defer func() { s.frame.each = nil }()
		if out, err = s.step(s.plans[c], in, env); err != nil {
			return fmt.Errorf("case %q: %w", c.Name, err)
		}
		return nil
	})
	return out, err
}

func (s *session) step(p *plan, in map[string]engine.Tensor, env map[string]int64) (map[string]engine.Tensor, error) {
	f := &s.frame
	f.start(p.c.Graph.NumValues())
	defer f.end()
	if err := s.bind(p, in, env); err != nil {
		return nil, err
	}
	if err := p.run(f); err != nil {
		return nil, err
	}
	made := f.operand[:0]
	for _, o := range p.outputs {
		made = append(made, f.values[o.slot])
	}
	return s.tensors(f, p.outputs, made)
}

// bind gives the frame the values that a step begins with.
func (s *session) bind(p *plan, in map[string]engine.Tensor, env map[string]int64) error {
	f := &s.frame
	if err := p.prepare(f, env); err != nil {
		return err
	}
	for _, i := range p.inputs {
		x, a, err := s.e.unwrap(in[i.name])
		if err != nil {
			return err
		}
		f.values[i.slot], f.host[i.slot] = a, x.host
	}
	for _, q := range p.params {
		f.values[q.slot] = q.a
	}
	for _, c := range p.consts {
		f.values[c.slot] = c.array
	}
	return nil
}

// run adds the ops of a plan to the graph.
func (p *plan) run(f *frame) error {
	for i := range p.ops {
		o := &p.ops[i]
		var start time.Time
		if f.each != nil {
			start = time.Now()
		}
		f.operand = f.operand[:0]
		for _, v := range o.in {
			x := array{}
			if v != graph.None {
				x = f.values[v]
			}
			f.operand = append(f.operand, x)
		}
		if o.emit != nil {
			f.values[o.out[0]] = o.emit(f, f.operand)
		} else {
			for k, a := range o.many(f, f.operand) {
				f.values[o.out[k]] = a
			}
		}
		if f.err != nil {
			return opError(f.err, o.node)
		}
		if f.each == nil {
			continue
		}
		made := make([]array, len(o.out))
		for k, v := range o.out {
			made[k] = f.values[v]
		}
		if err := eval(made...); err != nil {
			return opError(err, o.node)
		}
		f.each(engine.Traced{Graph: p.c.Graph, Node: o.node, Env: f.env, Time: time.Since(start)})
	}
	return nil
}

var _ engine.Tracer = (*session)(nil)

// tensors makes tensors of the results.
func (s *session) tensors(f *frame, outputs []output, made []array) (map[string]engine.Tensor, error) {
	out := make(map[string]engine.Tensor, len(outputs))
	for i, o := range outputs {
		a := made[i]
		shape := append([]int{}, o.shape.in(f)...)
		if !f.isA(a, o.dtype, shape) {
			f.refuse("result", "%s is %s%v, but inference says %s%v", o.name, a.dtype(), a.shape(), o.dtype, shape)
		}
		kept := f.keep(a)
		if f.err != nil {
			for _, t := range out {
				t.Release()
			}
			return nil, f.err
		}
		out[o.name] = s.e.newTensor(kept, o.dtype, shape)
	}
	return out, nil
}

// opError says where in the model an op failed.
func opError(err error, n *graph.Node) error {
	if i, ok := err.(*diag.Issue); ok {
		return i.WithScope(n.Scope)
	}
	return err
}

func (f *frame) start(values int) {
	f.values = append(f.values[:0], make([]array, values)...)
	f.host = append(f.host[:0], make([]host, values)...)
	f.ints = f.ints[:0]
	f.err = nil
	f.differentiated = false
}

// end gives up all handles of the step: a cache that was handed over may be written
// to only if nothing but the graph holds it when it is evaluated.
func (f *frame) end() { f.scope.free() }
