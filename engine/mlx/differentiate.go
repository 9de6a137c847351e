//go:build mlx

package mlx

/*
#include "bridge.h"
#include "differentiate.h"
*/
import "C"

import (
	"context"
	"fmt"
	"maps"
	"runtime/cgo"
	"slices"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// function is Go code inside of a function that MLX transforms. It runs on the MLX thread,
// in the call that made it, and takes and returns arrays of the frame's scope.
type function struct {
	f    *frame
	call func(in []array) []array
}

//export zrCall
func zrCall(handle C.uintptr_t, in *C.mlx_array, n C.size_t, out *C.mlx_vector_array) (rc C.int) {
	x := cgo.Handle(handle).Value().(*function)
	defer func() { // no C++ frame may be unwound by a panic
		if bug := recover(); bug != nil {
			x.f.bug, rc = bug, 1
		}
	}()
	args := make([]array, n)
	for i, a := range unsafe.Slice(in, n) {
		args[i] = array{a}
		x.f.owned = append(x.f.owned, a)
	}
	results := x.call(args)
	if x.f.err != nil {
		return 1
	}
	p, count := handles(results)
	return C.mlx_vector_array_set_data(out, p, count)
}

//export zrDrop
func zrDrop(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

func (f *frame) function(call func(in []array) []array) C.uintptr_t {
	return C.uintptr_t(cgo.NewHandle(&function{f, call}))
}

// after a call of MLX's that called Go: what went wrong there is the cause.
func (f *frame) after(op string, rc C.int) bool {
	if rc == 0 {
		return true
	}
	f.failed(op) // keeps the first error, and takes MLX's message in any case
	if bug := f.bug; bug != nil {
		f.bug = nil
		panic(bug)
	}
	return false
}

// custom adds what call makes of in to the graph; where that is differentiated, pull gives
// a gradient for each of in, from in, the cotangents, and the results.
func (f *frame) custom(op string, n int, in []array, call func(in []array) []array, pull func(in, cotangents, out []array) []array) []array {
	operands, count := handles(in)
	out := make([]C.mlx_array, n)
	rc := C.zr_custom(&out[0], C.size_t(n), operands, count, f.function(call), f.function(func(all []array) []array {
		k := len(in)
		return pull(all[:k], all[k:k+n], all[k+n:])
	}))
	if !f.after(op, rc) {
		return make([]array, n)
	}
	return f.ownAll(op, rc, out)
}

// VJP implements engine.Differentiator.
func (s *session) VJP(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64, cotangents map[string]engine.Tensor, of []string) (results, gradients map[string]engine.Tensor, err error) {
	defer engine.ReleaseTaken(in)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	err = s.e.do(func() error {
		if s.closed {
			return diag.Errorf("engine/closed", diag.Pos{}, "the session is closed")
		}
		c, env, err := engine.Select(s.program, in, dims)
		if err != nil {
			return err
		}
		if results, gradients, err = s.vjp(s.plans[c], in, env, cotangents, of); err != nil {
			return fmt.Errorf("case %q: %w", c.Name, err)
		}
		return nil
	})
	return results, gradients, err
}

var _ engine.Differentiator = (*session)(nil)

func (s *session) vjp(p *plan, in map[string]engine.Tensor, env map[string]int64, cotangents map[string]engine.Tensor, of []string) (results, gradients map[string]engine.Tensor, err error) {
	bad := func(format string, args ...any) error {
		return diag.Errorf("engine/gradient", diag.Pos{}, format, args...)
	}
	f := &s.frame
	f.start(p.c.Graph.NumValues())
	f.differentiated = true
	defer f.end()
	if err := s.bind(p, in, env); err != nil {
		return nil, nil, err
	}
	// The results, in order of name, and their cotangents.
	var outputs []output
	var cots []array
	for _, name := range slices.Sorted(maps.Keys(cotangents)) {
		i := slices.IndexFunc(p.outputs, func(o output) bool { return o.name == name })
		if i < 0 {
			return nil, nil, bad("the graph has no result %q for a cotangent", name)
		}
		o := p.outputs[i]
		_, a, err := s.e.unwrap(cotangents[name])
		if err != nil {
			return nil, nil, err
		}
		shape := append([]int{}, o.shape.in(f)...)
		if !f.isA(a, o.dtype, shape) {
			return nil, nil, bad("the cotangent of %s is %s%v, the result %s%v", name, a.dtype(), a.shape(), o.dtype, shape)
		}
		outputs, cots = append(outputs, o), append(cots, a)
	}
	// What is differentiated by.
	var slots []graph.ValueID
	var primals []array
	for _, name := range of {
		slot, ok := p.c.Graph.Params()[name]
		for _, i := range p.inputs {
			if i.name == name {
				slot, ok = i.slot, true
			}
		}
		switch {
		case !ok:
			return nil, nil, bad("the graph has no input or parameter %q to differentiate by", name)
		case !p.c.Graph.Type(slot).DType.IsFloat():
			return nil, nil, bad("%s is %s: there is no gradient", name, p.c.Graph.Type(slot))
		case slices.Contains(slots, slot):
			return nil, nil, bad("%s is named twice", name)
		}
		slots, primals = append(slots, slot), append(primals, f.values[slot])
	}
	if len(outputs) == 0 || len(slots) == 0 {
		return nil, nil, bad("a gradient needs a cotangent, and an input or parameter to differentiate by")
	}

	out, grads := make([]C.mlx_array, len(outputs)), make([]C.mlx_array, len(slots))
	operands, count := handles(primals)
	cotangent, _ := handles(cots)
	rc := C.zr_vjp(&out[0], C.size_t(len(out)), &grads[0], f.function(func(args []array) []array {
		for i, slot := range slots {
			f.values[slot] = args[i]
		}
		if err := p.run(f); err != nil {
			f.err = err
			return nil
		}
		made := make([]array, len(outputs))
		for i, o := range outputs {
			made[i] = f.values[o.slot]
		}
		return made
	}), operands, count, cotangent)
	if !f.after("vjp", rc) {
		return nil, nil, f.err
	}
	made := f.ownAll("vjp", rc, append(out, grads...))
	for i, slot := range slots {
		name, t := of[i], p.c.Graph.Type(slot)
		outputs = append(outputs, output{slot, name, t.DType, dims{all: append([]int{}, primals[i].shape()...)}})
	}
	n := len(outputs) - len(slots)
	if results, err = s.tensors(f, outputs[:n], made[:n]); err != nil {
		return nil, nil, err
	}
	if gradients, err = s.tensors(f, outputs[n:], made[n:]); err != nil {
		for _, t := range results {
			t.Release()
		}
		return nil, nil, err
	}
	return results, gradients, nil
}

// pullBack is how a kernel's node is differentiated.
type pullBack struct {
	node *node
	plan *plan // made when it is first needed, and released with the graph's
	// Of the plan: what it reads and gives, by the spec's inputs and results.
	in, out, cot, grads []graph.ValueID
}

// differentiable makes a kernel's launch one that MLX can differentiate, in frames that
// are.
func (l *launch) differentiable(p *plan, e *mlxEngine, n *node, emit emitMany) emitMany {
	b := &pullBack{node: n}
	return func(f *frame, in []array) []array {
		if !f.differentiated {
			return emit(f, in)
		}
		op := "kernel." + l.spec.Name
		var at []int // of the operands that are there
		var given []array
		for i, a := range in {
			if a.ok() {
				at, given = append(at, i), append(given, a)
			}
		}
		operands := len(in)
		return f.custom(op, len(l.types), given, func(args []array) []array {
			all := make([]array, operands)
			for i, a := range args {
				all[at[i]] = a
			}
			return emit(f, all)
		}, func(args, cots, out []array) []array {
			if b.plan == nil {
				if err := b.compile(p, e, f, l); err != nil {
					f.err = opError(err, n.Node)
					return nil
				}
			}
			all := make([]array, operands)
			for i, a := range args {
				all[at[i]] = a
			}
			grads := b.run(f, all, cots, out)
			made := make([]array, len(args))
			for i, k := range at {
				if made[i] = grads[k]; !made[i].ok() {
					made[i] = f.zeros(args[i].shape(), args[i].dtype())
				}
			}
			return made
		})
	}
}

// compile makes a plan of the spec's gradient.
func (b *pullBack) compile(p *plan, e *mlxEngine, f *frame, l *launch) error {
	s, n := l.spec, b.node
	if len(s.Gradient) == 0 {
		return diag.Errorf("engine/gradient", diag.Pos{}, "kernel %s has no gradient, and the graph is differentiated through it", s.Name).
			WithHint("add the key gradient: to its spec, or rewrite with --preset training, which leaves out kernels without one")
	}
	g := graph.New()
	b.in, b.out, b.cot = nil, nil, nil
	for i, x := range s.Inputs {
		v := graph.None
		if n.types[i].DType != graph.NoDType {
			v = g.Input("input "+x.Name, n.types[i])
		}
		b.in = append(b.in, v)
	}
	for i, r := range s.Results {
		b.out, b.cot = append(b.out, g.Input("result "+r, l.results[i])), append(b.cot, g.Input("cotangent "+r, l.results[i]))
	}
	var err error
	if b.grads, err = s.PullBack(g, n.Scope, b.in, n.Attrs, b.out, b.cot); err != nil {
		return diag.Errorf("engine/gradient", diag.Pos{}, "%v", err)
	}
	plan, err := newPlan(e, f.scope, &graph.Case{Name: "gradient", When: graph.True, Graph: g}, nil)
	if err != nil {
		plan.release()
		return err
	}
	b.plan = plan
	p.gradients = append(p.gradients, plan)
	return nil
}

// run gives the gradients beside the spec's inputs; empty ones for those that are 0.
func (b *pullBack) run(f *frame, in, cots, out []array) []array {
	inner := &frame{scope: f.scope}
	inner.start(b.plan.c.Graph.NumValues())
	grads := make([]array, len(in))
	if err := b.plan.prepare(inner, f.env); err != nil {
		f.err = opError(err, b.node.Node)
		return grads
	}
	set := func(slots []graph.ValueID, list []array) {
		for i, v := range slots {
			if v != graph.None {
				inner.values[v] = list[i]
			}
		}
	}
	set(b.in, in)
	set(b.out, out)
	set(b.cot, cots)
	for _, c := range b.plan.consts {
		inner.values[c.slot] = c.array
	}
	if err := b.plan.run(inner); err != nil {
		f.err = opError(err, b.node.Node)
		return grads
	}
	for i, v := range b.grads {
		if v != graph.None {
			grads[i] = inner.values[v]
		}
	}
	return grads
}
