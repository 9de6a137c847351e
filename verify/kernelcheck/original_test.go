package kernelcheck

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// The original that this project rewrites shipped kernels which were wrong for some rows,
// batches and formats, and passed its own tests. Each of these mistakes is a test here.

// launches runs one kernel, compiled once, on inputs that a test makes itself.
type launches struct {
	t *testing.T
	s *kernels.Spec
	p *process
}

func launcher(t *testing.T, name string) *launches {
	t.Helper()
	s := catalog(t).Spec(name)
	program, err := build(t.Context(), s, limit(s, 1), programs(t))
	if err == ErrNoCompiler {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &launches{t, s, &process{ctx: context.Background(), path: program}}
	t.Cleanup(l.p.stop)
	return l
}

// run launches the kernel on float32 inputs and returns its results, and what the
// reference has.
func (l *launches) run(dims, attrs map[string]int64, inputs ...[]float64) (got, want [][]float64) {
	l.t.Helper()
	ch := kernels.Choice{Types: map[string]graph.DType{}, Attrs: map[string]graph.Attr{}, Dims: dims}
	for _, x := range l.s.Inputs {
		ch.Types[x.TypeName] = graph.Float32
	}
	for name, v := range attrs {
		ch.Attrs[name] = graph.N(v)
	}
	trial, err := l.s.Trial(ch)
	if err != nil {
		l.t.Fatal(err)
	}
	c := &Case{Trial: trial, Alias: slices.Repeat([]int{-1}, len(inputs))}
	for _, v := range inputs {
		var b []byte
		for _, x := range v {
			b = graph.AppendElem(b, graph.Float32, x)
		}
		c.Data = append(c.Data, b)
	}
	out, err := l.p.run(c, schedules[0])
	if err != nil {
		l.t.Fatal(err)
	}
	truth, err := c.reference(c.Inputs, c.Data)
	if err != nil {
		l.t.Fatal(err)
	}
	for i, r := range c.Results {
		got, want = append(got, floats(r.DType, out[i])), append(want, floats(r.DType, truth[i]))
	}
	return got, want
}

// TestOriginalLanes: its top-k kept one value for lanes i and i + 32, so that of two
// experts there only one was found.
func TestOriginalLanes(t *testing.T) {
	for name, attrs := range map[string]map[string]int64{
		"router_softmax_topk": {"k": 4}, "router_softmax_topk_first": {"k": 4}, "router_topk_softmax": {"k": 4}, "router_topk_softmax_first": {"k": 4},
		"router_sigmoid_topk": {"k": 4}, "router_sigmoid_topk_first": {"k": 4},
	} {
		t.Run(name, func(t *testing.T) {
			l := launcher(t, name)
			const e, rows = 128, 32
			x := make([]float64, rows*e)
			for row := range rows { // all four values of lane `row` are the best
				for i := range e {
					x[row*e+i] = float64(i%7) / 100
				}
				for j := range 4 {
					x[row*e+row+32*j] = 3 + float64((j*3)%4)/8
				}
			}
			inputs := [][]float64{x}
			if len(l.s.Inputs) == 2 {
				inputs = append(inputs, make([]float64, e))
			}
			got, want := l.run(map[string]int64{"rows": rows, "e": e}, attrs, inputs...)
			if !slices.Equal(got[0], want[0]) {
				t.Errorf("experts %v, want %v", got[0], want[0])
			}
			for row := range rows {
				mine := slices.Sorted(slices.Values(got[0][4*row : 4*row+4]))
				if r := float64(row); !slices.Equal(mine, []float64{r, r + 32, r + 64, r + 96}) {
					t.Errorf("row %d: experts %v", row, mine)
				}
			}
		})
	}
}

// TestOriginalBatchIsTopK: its fused experts were silently wrong where the batch had as
// many rows as experts were chosen. No reference is needed to see that: the rows of a
// batch in another order must give the same rows in that order.
func TestOriginalBatchIsTopK(t *testing.T) {
	for _, s := range catalog(t).All() {
		k := slices.Index(s.Ints(), "k")
		if s.Code == nil || s.Trials == nil || k < 0 || len(s.Inputs[0].Shape) != 2 || s.Inputs[0].Shape[0].Name != "..." || len(s.Results) != 2 {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			l := launcher(t, s.Name)
			for _, rows := range []int64{1, 2, 4, 6, 8} {
				attrs := map[string]int64{"k": rows}
				dims := map[string]int64{"rows": rows, "e": 64}
				if s.Name == "router_sigmoid_group_topk" {
					attrs["n_group"], attrs["per"], attrs["n_drop"] = 8, 8, 4
				}
				r := rand.New(rand.NewPCG(uint64(rows), 1))
				x, bias := make([]float64, rows*64), make([]float64, 64)
				for i := range x {
					x[i] = r.NormFloat64()
				}
				for i := range bias {
					bias[i] = r.NormFloat64() / 4
				}
				order := r.Perm(int(rows))
				moved := permuted(x, order, 64)
				inputs, again := [][]float64{x}, [][]float64{moved}
				if len(s.Inputs) == 2 {
					inputs, again = append(inputs, bias), append(again, bias)
				}
				a, _ := l.run(dims, attrs, inputs...)
				b, _ := l.run(dims, attrs, again...)
				for i := range a {
					if want := permuted(a[i], order, int(rows)); !slices.Equal(b[i], want) {
						t.Errorf("%d rows, k = %d: %s of the rows in another order is %v, want %v", rows, rows, s.Results[i], b[i], want)
					}
				}
			}
		})
	}
}

func permuted(v []float64, order []int, n int) []float64 {
	var out []float64
	for _, row := range order {
		out = append(out, v[row*n:(row+1)*n]...)
	}
	return out
}

// TestOriginalMaskedGroups: with 8 groups of which 4 are kept, experts of the others must
// not be chosen, however good they are, unless all of the kept ones are below 0: dropped
// scores become 0.0, as in the models, and not minus infinity.
func TestOriginalMaskedGroups(t *testing.T) {
	l := launcher(t, "router_sigmoid_group_topk")
	const groups, per, e = 8, 32, 256
	dims := map[string]int64{"rows": 1}
	attrs := map[string]int64{"k": 8, "n_group": groups, "per": per, "n_drop": 4}
	x, bias := make([]float64, e), make([]float64, e)
	for i := range x {
		x[i] = -1 + float64(i%13)/50
	}
	for g := range 4 { // the best single experts, alone in groups 0 to 3
		x[g*per+3] = 2
	}
	for g := 4; g < groups; g++ { // two good ones, which together are better
		x[g*per+5], x[g*per+6] = 1.6, 1.5
	}
	got, want := l.run(dims, attrs, x, bias)
	if !slices.Equal(got[0], want[0]) {
		t.Errorf("experts %v, want %v", got[0], want[0])
	}
	for _, i := range got[0] {
		if i < 4*per {
			t.Errorf("expert %v of a dropped group is chosen", i)
		}
	}
	for i := range bias { // all below 0: the zeros of dropped groups are better
		bias[i] = -2
	}
	got, want = l.run(dims, attrs, x, bias)
	if !slices.Equal(got[0], want[0]) {
		t.Errorf("experts %v, want %v", got[0], want[0])
	}
	for n, i := range got[0] {
		if i != float64(n) {
			t.Errorf("experts %v, want the first of the dropped groups", got[0])
			break
		}
	}
}

// TestOriginalBits: it claimed to unpack 3, 5 and 6 bits and got them wrong. A kernel
// that reads packed weights refuses what it was not written for.
func TestOriginalBits(t *testing.T) {
	for _, s := range catalog(t).All() {
		at := slices.IndexFunc(s.Attrs, func(a kernels.Attr) bool { return a.Name == "bits" })
		if at < 0 {
			continue
		}
		if len(s.Attrs[at].Ints) == 0 {
			t.Errorf("kernel %s takes any number of bits", s.Name)
		}
		for _, bits := range []int64{3, 5, 6} {
			if slices.Contains(s.Attrs[at].Ints, bits) {
				continue // then TestShipped checks it
			}
			if _, err := s.Trial(kernels.Choice{Attrs: map[string]graph.Attr{"bits": graph.N(bits)}}); err == nil {
				t.Errorf("kernel %s is in its domain with %d bits", s.Name, bits)
			}
		}
	}
}

// TestRowsDoNotMix: a row's results have nothing to do with how many rows there are.
func TestRowsDoNotMix(t *testing.T) {
	l := launcher(t, "add_rms_norm")
	r := rand.New(rand.NewPCG(1, 1))
	values := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.NormFloat64()
		}
		return v
	}
	const d = 300
	for _, rows := range []int{2, 8, 9} {
		x, y, w := values(rows*d), values(rows*d), values(d)
		all, _ := l.run(map[string]int64{"rows": int64(rows), "d": d}, nil, x, y, w)
		for row := range rows {
			one, _ := l.run(map[string]int64{"rows": 1, "d": d}, nil, x[row*d:(row+1)*d], y[row*d:(row+1)*d], w)
			for i := range one {
				if a, b := fmt.Sprint(one[i]), fmt.Sprint(all[i][row*d:(row+1)*d]); a != b {
					t.Fatalf("%d rows: row %d of %s differs from the row alone", rows, row, l.s.Results[i])
				}
			}
		}
	}
}
