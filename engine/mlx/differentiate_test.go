//go:build mlx

package mlx

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
)

// between puts a kernel between ops of MLX, twice: its operands are squares of inputs and
// halves of them, its result goes into it again.
func between(t *testing.T, s *kernels.Spec, trial *kernels.Trial) *graph.Graph {
	t.Helper()
	g := graph.New()
	add := func(op *graph.Op, in []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
		out, err := g.Add(op, "model.layers.3", in, attrs...)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	var in []graph.ValueID
	for i, x := range s.Inputs {
		typ := trial.Inputs[i]
		typ.Shape = append([]graph.Dim{graph.Sym("batch")}, typ.Shape...)
		v := g.Input(x.Name, typ)
		in = append(in, add(graph.LookupOp("add"), []graph.ValueID{add(graph.LookupOp("square"), []graph.ValueID{v}), add(graph.LookupOp("sin"), []graph.ValueID{v})}))
	}
	first := add(s.Op(), in, trial.Attrs...)
	again := append([]graph.ValueID{first}, in[1:]...)
	g.Output("out", add(graph.LookupOp("multiply"), []graph.ValueID{add(s.Op(), again, trial.Attrs...), first}))
	return g
}

// vjpOf loads a graph and differentiates it by all inputs.
func vjpOf(t *testing.T, e engine.Engine, p *graph.Program, in map[string]*graph.Literal, cot *graph.Literal, of []string) (out []float64, grads map[string][]float64, err error) {
	t.Helper()
	ctx := context.Background()
	s, err := e.Load(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	given := map[string]engine.Tensor{}
	for name, l := range in {
		given[name] = engine.Take(literal(t, e, l))
	}
	c := literal(t, e, cot)
	defer c.Release()
	results, gradients, err := s.(engine.Differentiator).VJP(ctx, given, nil, map[string]engine.Tensor{"out": c}, of)
	if err != nil {
		return nil, nil, err
	}
	read := func(x engine.Tensor, t graph.DType) []float64 {
		defer x.Release()
		data, e := x.Read()
		if e != nil {
			err = e
			return nil
		}
		list := make([]float64, len(data)/t.Size())
		for i := range list {
			list[i] = graph.DecodeElem(t, data[i*t.Size():])
		}
		return list
	}
	grads = map[string][]float64{}
	out = read(results["out"], cot.DType)
	for name, x := range gradients {
		if x.DType() != in[name].DType {
			t.Errorf("the gradient of %s is %s", name, x.DType())
		}
		grads[name] = read(x, x.DType())
	}
	return out, grads, err
}

// Gradients through launches of the shipped kernels that have one are those of MLX's own
// derivatives of the reference ops, and of finite differences.
func TestKernelGradients(t *testing.T) {
	catalog := shipped(t)
	e := newEngineWith(t, catalog)
	before := liveArrays()
	n := 0
	for _, s := range catalog.All() {
		if len(s.Gradient) == 0 {
			continue
		}
		n++
		t.Run(s.Name, func(t *testing.T) {
			for _, dtype := range []graph.DType{graph.Float32, graph.BFloat16} {
				c := kernels.Choice{Types: map[string]graph.DType{"T": dtype}, Dims: map[string]int64{"rows": 3, "n": 33}}
				trial, err := s.Trial(c)
				if err != nil {
					t.Fatal(err)
				}
				p, err := engine.Program(between(t, s, trial))
				if err != nil {
					t.Fatal(err)
				}
				stock, err := catalog.Expand(p, nil)
				if err != nil {
					t.Fatal(err)
				}
				r := rand.New(rand.NewPCG(1, 2))
				draw := func() *graph.Literal {
					l := &graph.Literal{DType: dtype, Shape: []int{2, 3, 33}}
					for range 2 * 3 * 33 {
						l.Data = graph.AppendElem(l.Data, dtype, r.NormFloat64()*0.7)
					}
					return l
				}
				in, of := map[string]*graph.Literal{}, []string(nil)
				for _, x := range s.Inputs {
					in[x.Name], of = draw(), append(of, x.Name)
				}
				cot := draw()
				launched := e.(engine.KernelRunner).Launches()[s.Name]
				_, got, err := vjpOf(t, e, p, in, cot, of)
				if err != nil {
					t.Fatal(err)
				}
				if launched == e.(engine.KernelRunner).Launches()[s.Name] {
					t.Error("the kernel was not launched")
				}
				_, want, err := vjpOf(t, e, stock, in, cot, of)
				if err != nil {
					t.Fatal(err)
				}
				within := 1e-5
				if dtype == graph.BFloat16 {
					within = 0.05 // both round after each op, and not in the same places
				}
				for _, name := range of {
					size := 0.0
					for _, w := range want[name] {
						size = max(size, math.Abs(w))
					}
					for k, w := range want[name] {
						if d := math.Abs(got[name][k] - w); !(d <= within*(size+math.Abs(w))) {
							t.Errorf("%s: d_%s[%d] is %v, MLX has %v (of at most %v)", dtype, name, k, got[name][k], w, size)
							break
						}
					}
				}
				if dtype == graph.Float32 {
					differences(t, e, p, in, cot, got)
				}
			}
		})
	}
	if n < 6 {
		t.Errorf("%d kernels have a gradient", n)
	}
	if err := do(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if after := liveArrays(); after > before {
		t.Errorf("%d arrays are left", after-before)
	}
}

// differences holds gradients against the slope of the program along random directions.
func differences(t *testing.T, e engine.Engine, p *graph.Program, in map[string]*graph.Literal, cot *graph.Literal, got map[string][]float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	const h = 1.0 / 512
	for name, l := range in {
		direction := make([]float64, len(got[name]))
		slope := 0.0
		for i := range direction {
			direction[i] = r.NormFloat64()
			slope += direction[i] * got[name][i]
		}
		at := func(step float64) float64 {
			moved := map[string]*graph.Literal{}
			for k, v := range in {
				moved[k] = v
			}
			m := &graph.Literal{DType: l.DType, Shape: l.Shape}
			for i := range direction {
				m.Data = graph.AppendElem(m.Data, l.DType, graph.DecodeElem(l.DType, l.Data[4*i:])+step*direction[i])
			}
			moved[name] = m
			out, _, err := vjpOf(t, e, p, moved, cot, []string{name})
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for i, y := range out {
				sum += y * graph.DecodeElem(cot.DType, cot.Data[4*i:])
			}
			return sum
		}
		if want := (at(h) - at(-h)) / (2 * h); !(math.Abs(slope-want) <= 2e-3*(1+math.Abs(want))) {
			t.Errorf("along a direction of %s the slope is %v, finite differences have %v", name, slope, want)
		}
	}
}

// A kernel without a gradient says so, by name, where a gradient is asked for through it,
// and only there; the session goes on.
func TestKernelWithoutGradient(t *testing.T) {
	catalog := shipped(t)
	e := newEngineWith(t, catalog)
	g := graph.New()
	x, y := g.Input("x", graph.T(graph.Float32, graph.Sym("batch"), graph.N(8))), g.Input("y", graph.T(graph.Float32, graph.Sym("batch"), graph.N(8)))
	norm, err := g.Add(catalog.Op("kernel.rms_norm"), "model.layers.3.mlp", []graph.ValueID{x, graph.None}, graph.Float(1e-5))
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.Add(graph.LookupOp("multiply"), "", []graph.ValueID{norm[0], y})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	ones := elems(graph.Float32, []int{2, 8}, 1, 1, 1, 1, 1, 1, 1, 1, -1, 1, -1, 1, -1, 1, -1, 1)
	in := map[string]*graph.Literal{"x": ones, "y": ones}
	_, _, err = vjpOf(t, e, p, in, ones, []string{"x"})
	var is *diag.Issue
	if !errors.As(err, &is) || is.Code != "engine/gradient" || is.Scope != "model.layers.3.mlp" || is.Hint == "" ||
		!strings.Contains(is.Message, "kernel rms_norm has no gradient") {
		t.Errorf("got %v", err)
	}
	_, d, err := vjpOf(t, e, p, in, ones, []string{"y"})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range d["y"] { // the norm of ±1, times a cotangent of ±1
		if math.Abs(v-1) > 1e-4 {
			t.Errorf("d_y[%d] is %v", i, v)
		}
	}
}

// By a parameter, as training does: swiglu(x, w) for the sum of all rows' results.
func TestGradientOfParameter(t *testing.T) {
	catalog := shipped(t)
	e := newEngineWith(t, catalog)
	w, values := weights.NewStore(), elems(graph.Float32, []int{2}, 0.5, -1)
	tensor, err := weights.New("w", graph.Float32, []int{2}, weights.Raw(values.Data))
	if err == nil {
		err = w.Add(tensor)
	}
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	x := g.Input("x", graph.T(graph.Float32, graph.N(2), graph.N(2)))
	rows, err := g.Add(graph.LookupOp("broadcast_to"), "", []graph.ValueID{g.Param("w", graph.T(graph.Float32, graph.N(2)))}, graph.Dims{graph.N(2), graph.N(2)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.Add(catalog.Op("kernel.swiglu"), "", []graph.ValueID{x, rows[0]})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(context.Background(), p, w)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := map[string]engine.Tensor{"x": engine.Take(literal(t, e, elems(graph.Float32, []int{2, 2}, 1, 2, 3, 4)))}
	cot := literal(t, e, elems(graph.Float32, []int{2, 2}, 1, 1, 1, 1))
	defer cot.Release()
	results, grads, err := s.(engine.Differentiator).VJP(context.Background(), in, nil, map[string]engine.Tensor{"out": cot}, []string{"w"})
	if err != nil {
		t.Fatal(err)
	}
	defer results["out"].Release()
	defer grads["w"].Release()
	data, err := grads["w"].Read()
	if err != nil {
		t.Fatal(err)
	}
	silu := func(x float64) float64 { return x / (1 + math.Exp(-x)) }
	for i, want := range []float64{silu(1) + silu(3), silu(2) + silu(4)} {
		if got := graph.DecodeElem(graph.Float32, data[4*i:]); math.Abs(got-want) > 1e-5 {
			t.Errorf("d_w[%d] is %v, not %v", i, got, want)
		}
	}
}

// What cannot be differentiated is refused before MLX is asked.
func TestVJPRefuses(t *testing.T) {
	e := newEngine(t)
	g, in := build(t, "exp", []*graph.Literal{elems(graph.Float32, []int{2}, 1, 2)})
	n := g.Input("n", graph.T(graph.Int32))
	g.Output("n", n)
	in["n"] = elems(graph.Int32, nil, 3)
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cot := elems(graph.Float32, []int{2}, 1, 1)
	for _, c := range []struct {
		name string
		cots map[string]*graph.Literal
		of   []string
		want string
	}{
		{"no result", map[string]*graph.Literal{"o": cot}, []string{"a"}, `no result "o"`},
		{"shape", map[string]*graph.Literal{"out": elems(graph.Float32, []int{1}, 1)}, []string{"a"}, "the cotangent of out is float32[1], the result float32[2]"},
		{"no input", map[string]*graph.Literal{"out": cot}, []string{"b"}, `no input or parameter "b"`},
		{"integers", map[string]*graph.Literal{"out": cot}, []string{"n"}, "n is int32"},
		{"twice", map[string]*graph.Literal{"out": cot}, []string{"a", "a"}, "a is named twice"},
		{"nothing", map[string]*graph.Literal{}, []string{"a"}, "needs a cotangent"},
	} {
		given, cots := map[string]engine.Tensor{}, map[string]engine.Tensor{}
		for name, l := range in {
			given[name] = engine.Take(literal(t, e, l))
		}
		for name, l := range c.cots {
			cots[name] = literal(t, e, l)
		}
		if _, _, err := s.(engine.Differentiator).VJP(context.Background(), given, nil, cots, c.of); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		for _, x := range cots {
			x.Release()
		}
	}
}
