package kernelcheck

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Points at which a gradient is looked at, and how far apart two may be.
const (
	checkPoints    = 6
	checkStep      = 1e-5
	checkTolerance = 1e-5
)

// CheckGradient compares a kernel's gradient with finite differences of its reference, both
// in float64 on engine/ref, at random points. The gradient is lines in the language of
// rules, over the spec's inputs and attributes, the reference's lines, and a cotangent
// d_RESULT for each result; d_INPUT is the gradient of an input, 0 if there is no such line.
//
// A point where the slopes on both sides differ is a kink, and left out. The error says
// which element of which input is wrong, or that too few points were smooth.
func CheckGradient(s *kernels.Spec, gradient []graph.Define) error {
	for _, x := range s.Inputs {
		if !slices.Contains(x.DTypes, graph.Float32) {
			return fmt.Errorf("kernel %s: input %s is not of floats: its gradient cannot be checked", s.Name, x.Name)
		}
	}
	for _, d := range gradient {
		for _, name := range d.Names {
			if in, ok := strings.CutPrefix(name, "d_"); ok && !slices.ContainsFunc(s.Inputs, func(x kernels.Input) bool { return x.Name == in }) {
				return fmt.Errorf("kernel %s: gradient: %s is not of an input", s.Name, name)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 0x9e3779b97f4a7c15))
	compared := map[string]int{}
	for i := range checkPoints {
		c := kernels.Choice{Dims: map[string]int64{}}
		if s.Trials != nil { // the first two lengths that are not large
			for _, d := range s.Trials.Dims {
				small := slices.DeleteFunc(slices.Clone(d.Values), func(n int64) bool { return n > 32 })
				if len(small) > 0 {
					c.Dims[d.Name] = min(small[min(i, len(small)-1)], 6)
				}
			}
		}
		t, err := s.Trial(c)
		if err != nil {
			return fmt.Errorf("kernel %s: gradient: no call to try: %w", s.Name, err)
		}
		p := &slope{spec: s, gradient: gradient, trial: t}
		if err := p.point(r, 1+float64(i/2), compared); err != nil {
			return fmt.Errorf("kernel %s: %w", s.Name, err)
		}
	}
	for _, x := range s.Inputs {
		if compared[x.Name] == 0 {
			return fmt.Errorf("kernel %s: gradient: no point was smooth in %s, so nothing is known of d_%s", s.Name, x.Name, x.Name)
		}
	}
	return nil
}

// RunGradient runs a gradient once, where all inputs are 0: it says whether its lines hang
// together, and nothing of their values.
func RunGradient(s *kernels.Spec, gradient []graph.Define, t *kernels.Trial) error {
	p := &slope{spec: s, gradient: gradient, trial: t}
	zeros := func(types []graph.Type) (list [][]float64) {
		for _, x := range types {
			n, _ := x.Size().Const()
			list = append(list, make([]float64, n))
		}
		return list
	}
	p.in, p.cot = zeros(t.Inputs), zeros(t.Results)
	_, _, err := p.run(true)
	return err
}

// slope is a gradient at one point.
type slope struct {
	spec     *kernels.Spec
	gradient []graph.Define
	trial    *kernels.Trial
	in       [][]float64
	cot      [][]float64
}

// point looks at one point, of which numbers are drawn up to the given width.
func (p *slope) point(r *rand.Rand, width float64, compared map[string]int) error {
	draw := func(types []graph.Type) [][]float64 {
		list := make([][]float64, len(types))
		for i, t := range types {
			n, _ := t.Size().Const()
			list[i] = make([]float64, n)
			for k := range list[i] {
				// Positive more often than not: half of all functions want that.
				list[i][k] = (r.Float64()*2.4 - 0.6) * width
			}
		}
		return list
	}
	p.in, p.cot = draw(p.trial.Inputs), draw(p.trial.Results)
	_, d, err := p.run(true)
	if err != nil {
		return err
	}
	for i, x := range p.spec.Inputs {
		for k := range p.in[i] {
			want, smooth, err := p.difference(i, k)
			if err != nil {
				return err
			}
			if !smooth {
				continue
			}
			got := 0.0
			if d[x.Name] != nil {
				if len(d[x.Name]) != len(p.in[i]) {
					return fmt.Errorf("gradient: d_%s has %d elements, %s has %d", x.Name, len(d[x.Name]), x.Name, len(p.in[i]))
				}
				got = d[x.Name][k]
			}
			compared[x.Name]++
			if !(math.Abs(got-want) <= checkTolerance*(1+math.Abs(want))) {
				return fmt.Errorf("gradient: d_%s[%d] is %v where finite differences have %v (inputs %v, cotangent %v)", x.Name, k, got, want, p.in, p.cot)
			}
		}
	}
	return nil
}

// difference is the slope along one element; smooth is false at a kink, or outside of the
// function's domain.
func (p *slope) difference(i, k int) (want float64, smooth bool, err error) {
	at := p.in[i][k]
	defer func() { p.in[i][k] = at }()
	f := func(x float64) float64 {
		p.in[i][k] = x
		v, _, e := p.run(false)
		if e != nil {
			err = e
		}
		return v
	}
	mid := f(at)
	// Of two steps: a kink that lies between the points of one shows in the other.
	var wide [2]float64
	for s, h := range []float64{checkStep, checkStep / 4} {
		up, down := f(at+h), f(at-h)
		left, right := (mid-down)/h, (up-mid)/h
		wide[s] = (up - down) / (2 * h)
		if !(math.Abs(left-right) <= 1e-3*(1+math.Abs(wide[s]))) {
			return 0, false, err
		}
	}
	// Richardson: the error of second order cancels.
	want = (16*wide[1] - wide[0]) / 15
	return want, math.Abs(wide[0]-wide[1]) <= 1e-4*(1+math.Abs(want)), err
}

// run evaluates the sum of the results times the cotangents and, if asked, the gradients.
func (p *slope) run(withGradient bool) (float64, map[string][]float64, error) {
	g, e := graph.New(), ref.New()
	bound := &graph.Bindings{Values: map[string]graph.ValueID{}, Vars: map[string]graph.Attr{}}
	in := map[string]engine.Tensor{}
	put := func(name string, t graph.Type, data []float64) error {
		t.DType = graph.Float64
		shape, err := engine.Shape(t.Shape, nil)
		if err != nil {
			return err
		}
		raw := make([]byte, 0, 8*len(data))
		for _, x := range data {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
		}
		if in[name], err = e.NewTensor(graph.Float64, shape, raw); err == nil {
			bound.Values[name] = g.Input(name, t)
		}
		return err
	}
	for i, x := range p.spec.Inputs {
		if err := put(x.Name, p.trial.Inputs[i], p.in[i]); err != nil {
			return 0, nil, err
		}
	}
	for i, a := range p.spec.Attrs {
		bound.Vars[a.Name] = p.trial.Attrs[i]
	}
	lines := p.spec.Reference()
	if withGradient {
		for i, r := range p.spec.Results {
			if err := put("d_"+r, p.trial.Results[i], p.cot[i]); err != nil {
				return 0, nil, err
			}
		}
		lines = append(slices.Clone(lines), p.gradient...)
	}
	if err := g.BuildAll(lines, bound); err != nil {
		return 0, nil, fmt.Errorf("gradient: %w", err)
	}
	show := func(name string) {
		if v, ok := bound.Values[name]; ok {
			g.Output("result "+name, v)
		}
	}
	for _, r := range p.spec.Results {
		show(r)
	}
	if withGradient {
		for _, x := range p.spec.Inputs {
			show("d_" + x.Name)
		}
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("gradient: %w", err)
	}
	read := func(name string) ([]float64, error) {
		t := out["result "+name]
		if t == nil {
			return nil, nil
		}
		data, err := t.Read()
		if err != nil {
			return nil, err
		}
		if t.DType() != graph.Float64 {
			return nil, fmt.Errorf("gradient: %s is %s, not of the element type of the inputs", name, t.DType())
		}
		list := make([]float64, len(data)/8)
		for i := range list {
			list[i] = graph.DecodeElem(graph.Float64, data[8*i:])
		}
		return list, nil
	}
	sum := 0.0
	for i, r := range p.spec.Results {
		v, err := read(r)
		if err != nil {
			return 0, nil, err
		}
		for k, x := range v {
			sum += x * p.cot[i][k]
		}
	}
	d := map[string][]float64{}
	if withGradient {
		for _, x := range p.spec.Inputs {
			if d[x.Name], err = read("d_" + x.Name); err != nil {
				return 0, nil, err
			}
		}
	}
	return sum, d, nil
}
