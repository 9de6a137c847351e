package ref

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// New returns a reference engine.
func New() engine.Engine { return refEngine{} }

type refEngine struct{}

func (refEngine) Name() string    { return "ref" }
func (refEngine) Device() string  { return "cpu" }
func (refEngine) Version() string { return runtime.Version() }
func (refEngine) Close() error    { return nil }

// Eval has nothing to do: Step has computed its results when it returns.
func (refEngine) Eval(ctx context.Context, list ...engine.Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, t := range list {
		if _, err := unwrap(t); err != nil {
			return err
		}
	}
	return nil
}

func (e refEngine) AsyncEval(list ...engine.Tensor) error {
	return e.Eval(context.Background(), list...)
}

func (refEngine) NewTensor(t graph.DType, shape []int, data []byte) (engine.Tensor, error) {
	if n, err := engine.NumBytes(t, shape); err != nil {
		return nil, err
	} else if n != len(data) {
		return nil, diag.Errorf("engine/tensor", diag.Pos{}, "%s%v does not take %d bytes", t, shape, len(data))
	}
	return newTensor(fromBytes(t, slices.Clone(shape), slices.Clone(data)), true), nil
}

func (refEngine) Zeros(t graph.DType, shape []int) (engine.Tensor, error) {
	n, err := engine.NumBytes(t, shape)
	if err != nil {
		return nil, err
	}
	return newTensor(fromBytes(t, slices.Clone(shape), make([]byte, n)), true), nil
}

// tensor is a handle of an array.
type tensor struct {
	a *array
	// sole says that no other tensor and no parameter shares a's data, which is
	// what lets kv_append write into it once the tensor was handed over.
	sole     bool
	released atomic.Bool
}

func newTensor(a *array, sole bool) *tensor { return &tensor{a: a, sole: sole} }

func (t *tensor) DType() graph.DType { return t.a.t }
func (t *tensor) Shape() []int       { return t.a.shape }
func (t *tensor) Release()           { t.released.Store(true) }

func (t *tensor) Read() ([]byte, error) {
	if _, err := unwrap(t); err != nil {
		return nil, err
	}
	return slices.Clone(t.a.bytes()), nil
}

// unwrap returns the tensor behind an engine's handle.
func unwrap(t engine.Tensor) (*tensor, error) {
	inner, _ := engine.Taken(t)
	r, ok := inner.(*tensor)
	if !ok {
		return nil, diag.Errorf("engine/tensor", diag.Pos{}, "tensor %T is not of the reference engine", inner)
	}
	if r.released.Load() {
		return nil, diag.Errorf("engine/tensor", diag.Pos{}, "tensor %s%v is used after its release", r.a.t, r.a.shape)
	}
	return r, nil
}

// session is a program and its parameters.
type session struct {
	program *graph.Program
	params  map[string]*array
	uses    map[*graph.Graph]*graph.Uses
}

func (refEngine) Load(ctx context.Context, p *graph.Program, w *weights.Store) (engine.Session, error) {
	s := &session{program: p, params: make(map[string]*array, len(p.Params)), uses: map[*graph.Graph]*graph.Uses{}}
	for _, param := range p.Params {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := engine.Param(param, w)
		if err != nil {
			return nil, err
		}
		data, ok := t.Bytes()
		if !ok {
			data = make([]byte, t.NumBytes())
			if err := t.ReadInto(data); err != nil {
				return nil, err
			}
		}
		s.params[param.Name] = fromBytes(t.DType, t.Shape, data)
	}
	for _, c := range p.Cases {
		for i := range c.Graph.NumNodes() {
			n := c.Graph.Node(graph.NodeID(i))
			if emitters[n.Op.Name] == nil && manyEmitters[n.Op.Name] == nil && !n.Op.IsLeaf() {
				is := diag.Errorf("engine/op", diag.Pos{}, "the reference engine has no op %s", n.Op.Name).WithScope(n.Scope)
				if n.Op.IsKernel() {
					is.WithHint("replace kernels by their reference graphs first: no kernel runs in this engine")
				}
				return nil, is
			}
		}
		for name := range c.Graph.Params() {
			if s.params[name] == nil {
				return nil, diag.Errorf("engine/param", diag.Pos{}, "case %q reads parameter %q, which the program does not list", c.Name, name)
			}
		}
		s.uses[c.Graph] = c.Graph.Uses()
	}
	return s, nil
}

func (s *session) Close() error {
	s.params = nil
	return nil
}

func (s *session) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	defer engine.ReleaseTaken(in)
	if s.params == nil {
		return nil, diag.Errorf("engine/closed", diag.Pos{}, "the session is closed")
	}
	c, env, err := engine.Select(s.program, in, dims)
	if err != nil {
		return nil, err
	}
	r := &run{session: s, g: c.Graph, uses: s.uses[c.Graph], env: env, values: make([]*array, c.Graph.NumValues()),
		mine: map[graph.ValueID]bool{}, lent: map[*byte]bool{}}
	times := map[*tensor]int{} // one tensor may be given as several inputs
	for _, t := range in {
		u, err := unwrap(t)
		if err != nil {
			return nil, err
		}
		times[u]++
	}
	for _, id := range c.Graph.Inputs() {
		t := in[c.Graph.InputName(id)]
		u, _ := unwrap(t)
		r.values[id] = u.a
		if _, took := engine.Taken(t); took && u.sole && times[u] == 1 {
			r.mine[id] = true
		} else {
			r.lend(u.a)
		}
	}
	if err := r.nodes(ctx); err != nil {
		return nil, fmt.Errorf("case %q: %w", c.Name, err)
	}
	return r.outputs(), nil
}
