package normal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/verify/exact"
)

// Random graphs of what the passes look at give the same bits before and after, and are
// the same functions (package verify/exact) at a random point.
func TestFormKeepsResults(t *testing.T) {
	e := ref.New()
	defer e.Close()
	changed := normal.Counts{}
	for seed := range uint64(2000) {
		r := &random{rand.New(rand.NewPCG(seed, 1)), graph.New(), nil}
		r.grow(14)
		g := r.g
		if err := g.Compact(); err != nil {
			t.Fatal(err)
		}
		want := results(t, e, g, seed)
		before, was, evaluate := g.String(), g.Clone(), exactly(seed)
		counts, err := normal.Form(g)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, before)
		}
		for name, n := range counts {
			changed[name] += n
		}
		if err := g.Verify(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, g)
		}
		for name, got := range results(t, e, g, seed) {
			if !bytes.Equal(got, want[name]) {
				t.Fatalf("seed %d: %s differs\nbefore\n%safter\n%s", seed, name, before, g)
			}
		}
		a, errA := evaluate(was)
		b, errB := evaluate(g)
		if no := (*exact.UnsupportedError)(nil); errA != nil && !errors.As(errA, &no) || errA == nil && errB != nil {
			t.Fatalf("seed %d: %v, %v", seed, errA, errB)
		}
		for name := range a {
			if !slices.EqualFunc(a[name].V, b[name].V, exact.Number.Same) {
				t.Fatalf("seed %d: %s is another function\nbefore\n%safter\n%s", seed, name, before, g)
			}
		}
		if again, err := normal.Form(g); err != nil || again.Total() != 0 {
			t.Fatalf("seed %d: a second time changes %v, %v\n%s", seed, again, err, g)
		}
	}
	for _, p := range normal.Passes() {
		// Indices of experts and masks have tests of their own.
		if changed[p.Name] == 0 && p.Name != "indices" && p.Name != "sdpa-mask" {
			t.Errorf("no graph has work for pass %s", p.Name)
		}
	}
	t.Log(changed)
}

// exactly returns what evaluates graphs at one random point.
func exactly(seed uint64) func(*graph.Graph) (map[string]*exact.Array, error) {
	in := map[string]*exact.Array{}
	return func(g *graph.Graph) (map[string]*exact.Array, error) {
		r := rand.New(rand.NewPCG(seed, 3))
		for _, v := range g.Inputs() {
			typ, name := g.Type(v), g.InputName(v)
			if in[name] != nil {
				continue
			}
			a := &exact.Array{DType: typ.DType, Shape: []int{}}
			for _, d := range typ.Shape {
				a.Shape = append(a.Shape, d.Int())
			}
			for range typ.Size().Int() {
				switch n := r.IntN(5) - 2; {
				case typ.DType.IsFloat():
					a.V = append(a.V, exact.Random(r, float64(n)/2))
				case typ.DType.IsUnsigned() || typ.DType == graph.Bool:
					a.V = append(a.V, exact.Int(int64(n&1)))
				default:
					a.V = append(a.V, exact.Int(int64(n)))
				}
			}
			in[name] = a
		}
		return exact.Run(context.Background(), g, in, exact.NewTrace())
	}
}

// results runs a graph on inputs drawn from the seed.
func results(t *testing.T, e engine.Engine, g *graph.Graph, seed uint64) map[string][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	in := map[string]engine.Tensor{}
	for _, v := range g.Inputs() {
		typ := g.Type(v)
		var data []byte
		shape := make([]int, typ.Rank())
		n := 1
		for i, d := range typ.Shape {
			shape[i] = d.Int()
			n *= shape[i]
		}
		for range n {
			x := float64(r.IntN(9)-4) / 2 // zeros, and so negative zeros, are common
			if x == 0 && r.IntN(2) == 0 {
				x = 1 / -1e300 / 1e300
			}
			data = graph.AppendElem(data, typ.DType, x)
		}
		tensor, err := e.NewTensor(typ.DType, shape, data)
		if err != nil {
			t.Fatal(err)
		}
		in[g.InputName(v)] = tensor
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, g)
	}
	all := map[string][]byte{}
	for name, tensor := range out {
		if all[name], err = tensor.Read(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

type random struct {
	*rand.Rand
	g      *graph.Graph
	values []graph.ValueID
}

func (r *random) pick() graph.ValueID { return r.values[r.IntN(len(r.values))] }

// grow adds n operations, many of which have the spelling that a pass removes.
func (r *random) grow(n int) {
	floats := []graph.DType{graph.Float32, graph.Float16, graph.BFloat16, graph.Int32}
	for i := range 2 {
		r.values = append(r.values, r.g.Input(fmt.Sprintf("x%d", i), graph.T(floats[r.IntN(4)], graph.N(int64(1+r.IntN(3))), graph.N(3), graph.N(4))))
	}
	for len(r.values) < n {
		v := r.pick()
		t := r.g.Type(v)
		rank := t.Rank()
		axis := func() graph.Dim { return graph.N(int64(r.IntN(rank))) }
		switch k := r.IntN(16); {
		case k == 0:
			r.try("multiply", v, r.g.Scalar(t.DType, []float64{1, 2, -0.5}[r.IntN(3)]))
		case k == 1:
			zero := 0.0
			if r.IntN(2) == 0 {
				zero = 1 / -1e300 / 1e300
			}
			r.try([]string{"add", "subtract"}[r.IntN(2)], v, r.g.Scalar(t.DType, zero))
		case k == 2:
			r.try([]string{"add", "multiply", "maximum", "where"}[r.IntN(3)], v, r.pick())
		case k == 3:
			r.add("astype", []graph.ValueID{v}, floats[r.IntN(4)])
		case k == 4 && rank > 0 && rank < 5:
			r.add("expand_dims", []graph.ValueID{v}, graph.Dims{graph.N(int64(r.IntN(rank + 1)))})
		case k == 5 && rank > 0:
			r.add("squeeze", []graph.ValueID{v}, graph.Dims{axis()})
		case k == 6 && rank > 0:
			perm := make(graph.Dims, rank)
			for i, p := range r.Perm(rank) {
				perm[i] = graph.N(int64(p))
			}
			r.add("transpose", []graph.ValueID{v}, perm)
		case k == 7:
			shape := graph.Dims{t.Size()}
			if rank > 1 && r.IntN(2) == 0 {
				shape = graph.Dims{graph.Product(t.Shape[:rank-1]), t.Shape[rank-1]}
			}
			r.add("reshape", []graph.ValueID{v}, shape)
		case k == 8 && rank > 0:
			op, a := []string{"sum", "max", "argmax"}[r.IntN(3)], axis()
			if op == "sum" && t.Shape[a.Int()].Is(1) {
				op = "max" // MLX leaves the sum of one element out; engine/ref adds it to 0.0, which is not exact for -0.0
			}
			r.add(op, []graph.ValueID{v}, graph.Dims{a}, graph.Flag(r.IntN(2) == 0))
		case k == 9 && rank > 0:
			d := t.Shape[rank-1]
			start := int64(r.IntN(min(d.Int(), 2))) // one element is left
			r.add("slice", []graph.ValueID{v}, graph.Dims{graph.N(-1)}, graph.Dims{graph.N(start)}, graph.Dims{d}, graph.Dims{graph.N(int64(1 + r.IntN(3)))})
		case k == 10 && rank < 4:
			r.add("broadcast_to", []graph.ValueID{v}, graph.Dims(append([]graph.Dim{graph.N(2)}, t.Shape...)))
		case k == 11 && rank > 2 && t.DType.IsFloat():
			w := r.g.Constant(&graph.Literal{DType: graph.Float32, Shape: []int{t.Shape[rank-1].Int(), 2}, Data: make([]byte, 8*t.Shape[rank-1].Int())})
			rows := r.add("flatten", []graph.ValueID{v}, graph.N(0), graph.N(-2))
			product := r.add("matmul", []graph.ValueID{rows, w})
			r.add("unflatten", []graph.ValueID{product}, graph.N(0), graph.Dims(t.Shape[:rank-1]))
		case k == 14:
			r.try("add", v, r.add("broadcast_to", []graph.ValueID{r.pick()}, graph.Dims(t.Shape)))
		case k == 15:
			r.try("multiply", v, r.add("astype", []graph.ValueID{r.g.Scalar(graph.Float32, 0.3)}, floats[r.IntN(3)]))
		case k == 12:
			r.add([]string{"exp", "negative", "square", "sigmoid"}[r.IntN(4)], []graph.ValueID{v})
		case k == 13 && rank > 0:
			r.add("squeeze", []graph.ValueID{r.add("max", []graph.ValueID{v}, graph.Dims{graph.N(-1)}, graph.Flag(true))}, graph.Dims{graph.N(-1)})
		}
	}
	for i := range 3 {
		r.g.Output(fmt.Sprintf("out%d", i), r.values[len(r.values)-1-i])
	}
}

func (r *random) try(op string, a, b graph.ValueID) {
	if r.IntN(2) == 0 {
		a, b = b, a
	}
	r.add(op, []graph.ValueID{a, b})
}

// add adds an operation if its operands fit.
func (r *random) add(op string, in []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
	for _, v := range in {
		if v == graph.None {
			return graph.None
		}
	}
	if op == "argmax" {
		attrs[0] = attrs[0].(graph.Dims)[0]
	}
	out, err := r.g.Add(graph.LookupOp(op), "", in, attrs...)
	if err != nil {
		return graph.None
	}
	r.values = append(r.values, out[0])
	return out[0]
}
