package kernelcheck

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// Truth is what a case's results should be, and how far off they may be.
type Truth struct {
	Want  [][]byte    // the reference graph on engine/ref, in the results' types
	Exact [][]float64 // the same with all floats in float32 and sums in float64
	Bound [][]float64 // for each element, how far from Exact a kernel may be
	// Loose are rows of integer results that the reference itself changes when its
	// inputs change in their last places: near ties.
	Loose []map[int]bool
}

// perturbations is how often the reference is run on inputs that are off by rounding.
const perturbations = 4

// truth runs the reference graph. It is run in the results' own types, which has the
// rounding steps of MLX's ops; in float32, which has next to none; and a few times on
// inputs changed in their last places, which shows how much rounding there matters.
func (c *Case) truth() (*Truth, error) {
	t := &Truth{}
	var err error
	if t.Want, err = c.reference(c.Inputs, c.Data); err != nil {
		return nil, err
	}
	wide, data := make([]graph.Type, len(c.Inputs)), make([][]byte, len(c.Inputs))
	for i, in := range c.Inputs {
		wide[i], data[i] = in, c.Data[i]
		if in.DType.IsFloat() {
			wide[i].DType = graph.Float32
			data[i] = convert(in.DType, graph.Float32, c.Data[i])
		}
	}
	exact, types, err := c.reference32(wide, data)
	if err != nil {
		return nil, err
	}
	for i := range exact {
		t.Exact = append(t.Exact, floats(types[i].DType, exact[i]))
		t.Bound = append(t.Bound, make([]float64, len(t.Exact[i])))
		t.Loose = append(t.Loose, map[int]bool{})
	}
	r := rand.New(rand.NewPCG(c.Seed, 77))
	for range perturbations {
		moved := make([][]byte, len(data))
		for i := range data {
			moved[i] = data[i]
			if wide[i].DType == graph.Float32 {
				moved[i] = nudge(r, data[i])
			}
		}
		again, _, err := c.reference32(wide, moved)
		if err != nil {
			return nil, err
		}
		for i := range again {
			v := floats(types[i].DType, again[i])
			for k := range v {
				t.Bound[i][k] = max(t.Bound[i][k], math.Abs(v[k]-t.Exact[i][k]))
				if v[k] != t.Exact[i][k] && types[i].DType.IsInteger() && c.Style != Lattice { // real ties are no near ties
					t.Loose[i][k/c.row(i)] = true
				}
			}
		}
	}
	c.bounds(t)
	return t, nil
}

// bounds turns the spread of each element into a bound: what rounding of the inputs
// does to the row, what the reference's own rounding steps do, and the rounding of the
// result. The factors leave room for another order of the same additions (a chain of
// n in place of a tree), and for nothing else.
func (c *Case) bounds(t *Truth) {
	for i, result := range c.Results {
		if !result.DType.IsFloat() {
			continue
		}
		want, n := floats(result.DType, t.Want[i]), c.row(i)
		for at := 0; at < len(want); at += n {
			spread, own := 0.0, 0.0
			for k := at; k < at+n; k++ {
				if finite(t.Exact[i][k]) && finite(want[k]) {
					spread = max(spread, finiteOr0(t.Bound[i][k]))
					own = max(own, math.Abs(want[k]-t.Exact[i][k]))
				}
			}
			for k := at; k < at+n; k++ {
				t.Bound[i][k] = 1.5*spread + 2*own + 4*ulp(result.DType, t.Exact[i][k])
			}
		}
	}
}

// row is the length of the last axis of result i.
func (c *Case) row(i int) int {
	d, ok := c.Results[i].Dim(-1)
	if !ok {
		return 1
	}
	n, _ := d.Const()
	return int(max(n, 1))
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func finiteOr0(v float64) float64 {
	if finite(v) {
		return v
	}
	return 0
}

// reference runs the spec's graph on inputs of these types.
func (c *Case) reference(types []graph.Type, data [][]byte) ([][]byte, error) {
	out, _, err := c.run(types, data)
	return out, err
}

func (c *Case) reference32(types []graph.Type, data [][]byte) ([][]byte, []graph.Type, error) {
	return c.run(types, data)
}

func (c *Case) run(types []graph.Type, data [][]byte) ([][]byte, []graph.Type, error) {
	s := c.Spec
	g := graph.New()
	e := ref.New()
	in := map[string]engine.Tensor{}
	ids := make([]graph.ValueID, len(types))
	for i, t := range types {
		if t.DType == graph.NoDType {
			ids[i] = graph.None
			continue
		}
		name := s.Inputs[i].Name
		ids[i] = g.Input(name, t)
		shape, err := engine.Shape(t.Shape, nil)
		if err != nil {
			return nil, nil, err
		}
		if in[name], err = e.NewTensor(t.DType, shape, data[i]); err != nil {
			return nil, nil, err
		}
	}
	results, err := s.Expand(g, "", ids, c.Attrs)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, len(results))
	for i, v := range results {
		names[i] = fmt.Sprintf("result%d", i)
		g.Output(names[i], v)
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		return nil, nil, err
	}
	list, typ := make([][]byte, len(results)), make([]graph.Type, len(results))
	for i, v := range results {
		typ[i] = g.Type(v)
		if list[i], err = out[names[i]].Read(); err != nil {
			return nil, nil, err
		}
	}
	return list, typ, nil
}

func floats(t graph.DType, data []byte) []float64 {
	n := t.Size()
	v := make([]float64, len(data)/n)
	for i := range v {
		v[i] = graph.DecodeElem(t, data[i*n:])
	}
	return v
}

func convert(from, to graph.DType, data []byte) []byte {
	var b []byte
	for _, v := range floats(from, data) {
		b = graph.AppendElem(b, to, v)
	}
	return b
}

// farthest is how many units in their last place inputs are moved by. More than one or
// two, since the reference rounds what it computes on the way: a smaller change
// would often leave no trace.
const farthest = 8

// nudge moves each float32 by up to that much, up or down. What is 0 or not finite stays.
func nudge(r *rand.Rand, data []byte) []byte {
	var b []byte
	for _, v := range floats(graph.Float32, data) {
		if v != 0 && finite(v) {
			x := float32(v) * (1 + float32(r.IntN(2*farthest+1)-farthest)*0x1p-23)
			if finite(float64(x)) {
				v = float64(x)
			}
		}
		b = graph.AppendElem(b, graph.Float32, v)
	}
	return b
}

// ulp is the distance from |v| to the next larger number of type t.
func ulp(t graph.DType, v float64) float64 {
	if !finite(v) {
		return 0
	}
	bits, least := 23, -149
	switch t {
	case graph.Float16:
		bits, least = 10, -24
	case graph.BFloat16:
		bits, least = 7, -133
	}
	if v == 0 {
		return math.Ldexp(1, least)
	}
	_, e := math.Frexp(v)
	return math.Ldexp(1, max(e-1-bits, least))
}
