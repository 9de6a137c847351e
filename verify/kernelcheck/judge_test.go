package kernelcheck

import (
	"math"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

func elements(t graph.DType, list ...float64) []byte {
	var b []byte
	for _, v := range list {
		b = graph.AppendElem(b, t, v)
	}
	return b
}

// TestJudge: what a replacement may make otherwise than MLX's own ops, and what not.
func TestJudge(t *testing.T) {
	bf, f32, u32 := graph.BFloat16, graph.Float32, graph.Uint32
	// One row of four floats; a choice of two of them, and what was chosen.
	sums := func(n kernels.Numerics) *Call {
		return &Call{Numerics: n, Results: []string{"y"}, Types: []graph.Type{graph.T(bf, graph.N(1), graph.N(4))},
			Stock: [][]byte{elements(bf, 1, 2, 3, 4)}, Exact: [][]byte{elements(f32, 1, 2.01, 3, 4)}, Tied: new(int)}
	}
	top := func(stock, exact []float64, unordered bool) *Call {
		return &Call{Numerics: kernels.Reordered, Results: []string{"i", "w"}, Types: []graph.Type{graph.T(u32, graph.N(1), graph.N(2)), graph.T(bf, graph.N(1), graph.N(2))},
			Stock: [][]byte{elements(u32, stock...), elements(bf, 0.5, 0.25)}, Exact: [][]byte{elements(u32, exact...), elements(f32, 0.5, 0.25)},
			Of: []int64{8, 0}, Unordered: []bool{unordered, false}, Tied: new(int)}
	}
	large := func(exact float64) *Call { // MLX rounds it down
		return &Call{Numerics: kernels.Reordered, Results: []string{"y"}, Types: []graph.Type{graph.T(graph.Float16, graph.N(1))},
			Stock: [][]byte{elements(graph.Float16, min(exact, 65504))}, Exact: [][]byte{elements(f32, exact)}, Tied: new(int)}
	}
	// With a row of three for each that was chosen, as experts make them.
	rows := func(exact []float64) *Call {
		c := top([]float64{3, 5}, exact, true)
		c.Results, c.Types = append(c.Results, "h"), append(c.Types, graph.T(bf, graph.N(1), graph.N(2), graph.N(3)))
		c.Stock, c.Exact = append(c.Stock, elements(bf, 1, 2, 3, 40, 50, 60)), append(c.Exact, elements(f32, 1, 2, 3, 40, 50, 60))
		c.Of, c.Unordered = append(c.Of, 0), append(c.Unordered, false)
		return c
	}
	made := func(a, b, v, w float64, h ...float64) [][]byte {
		return [][]byte{elements(u32, a, b), elements(bf, v, w), elements(bf, h...)}
	}
	choice := func(a, b, v, w float64) [][]byte { return [][]byte{elements(u32, a, b), elements(bf, v, w)} }
	for _, c := range []struct {
		name string
		call *Call
		got  [][]byte
		want string // of the error; "" for none
		tied int
	}{
		{"exact: the bits", sums(kernels.Exact), [][]byte{elements(bf, 1, 2, 3, 4)}, "", 0},
		{"exact: one bit more", sums(kernels.Exact), [][]byte{elements(bf, 1, 2, 3, 4.03125)}, "y, row 0, element 3: got 4.03125, MLX's own ops give 4 (it promises every bit)", 0},
		{"reordered: as far off as MLX", sums(kernels.Reordered), [][]byte{elements(bf, 1, 2.03125, 3, 4)}, "", 0},
		{"reordered: another number", sums(kernels.Reordered), [][]byte{elements(bf, 1, 2, 3, 4.25)}, "y, row 0, element 3: got 4.25", 0},
		{"reordered: no number", sums(kernels.Reordered), [][]byte{elements(bf, 1, 2, nan(), 4)}, "element 2: got NaN", 0},
		{"reordered: less than normal", sums(kernels.Reordered).with(1, 2).with(3, 0), [][]byte{elements(bf, 1, 2, 3, 6e-39)}, "", 0},
		{"reordered: more than normal", sums(kernels.Reordered).with(1, 2).with(3, 0), [][]byte{elements(bf, 1, 2, 3, 6e-37)}, "element 3", 0},
		{"reordered: beyond the type", large(65611), [][]byte{elements(graph.Float16, 65520)}, "", 0},
		{"reordered: both overflow on the way", large(65000).with(0, math.NaN()), [][]byte{elements(graph.Float16, 65520)}, "", 0},
		{"reordered: not beyond the type", large(65000), [][]byte{elements(graph.Float16, 65520)}, "got +Inf", 0},
		{"reordered: beyond, on the other side", large(65611), [][]byte{elements(graph.Float16, -65520)}, "got -Inf", 0},
		{"chosen: the same", top([]float64{3, 5}, []float64{3, 5}, false), choice(3, 5, 0.5, 0.25), "", 0},
		{"chosen: another one", top([]float64{3, 5}, []float64{3, 5}, false), choice(3, 6, 0.5, 0.125), "i, row 0, element 1: got 6", 0},
		{"chosen: another order", top([]float64{3, 5}, []float64{3, 5}, false), choice(5, 3, 0.25, 0.5), "i, row 0, element 0: got 5", 0},
		{"chosen: another order that means nothing", top([]float64{3, 5}, []float64{3, 5}, true), choice(5, 3, 0.25, 0.5), "", 0},
		{"chosen: weights of the others", top([]float64{3, 5}, []float64{3, 5}, true), choice(5, 3, 0.5, 0.25), "w, row 0", 0},
		{"chosen: equals", top([]float64{3, 5}, []float64{3, 5}, true), choice(3, 7, 0.5, 0.25), "", 1},
		{"chosen: MLX is wrong itself", top([]float64{3, 5}, []float64{3, 6}, true), choice(3, 6, 0.5, 0.3), "", 0},
		{"chosen: twice, at a near tie", top([]float64{3, 5}, []float64{3, 6}, true), choice(3, 3, 0.5, 0.5), "is no choice", 0},
		{"chosen: another order, and rows in it", rows([]float64{3, 5}), made(5, 3, 0.25, 0.5, 40, 50, 60, 1, 2, 3), "", 0},
		{"chosen: another order, but not of the rows", rows([]float64{3, 5}), made(5, 3, 0.25, 0.5, 1, 2, 3, 40, 50, 60), "h, row 0", 0},
		{"chosen: a row is wrong", rows([]float64{3, 5}), made(3, 5, 0.5, 0.25, 1, 2, 3, 40, 50, 70), "h, row 1, element 2", 0},
		{"chosen: another one at a near tie, with its row", rows([]float64{3, 6}), made(3, 6, 0.5, 0.25, 1, 2, 3, -7, -8, -9), "", 0},
		{"chosen: another one that is worth the same, with its row", rows([]float64{3, 5}), made(3, 6, 0.5, 0.25, 1, 2, 3, -7, -8, -9), "", 1},
		{"chosen: what is not there", top([]float64{3, 5}, []float64{3, 6}, true), choice(3, 9, 0.5, 0.5), "is no choice", 0},
	} {
		var got, stock Error
		err := c.call.Judge(c.got, &got, &stock)
		switch {
		case err == nil && c.want != "":
			t.Errorf("%s: accepted", c.name)
		case err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", c.name, err)
		}
		if *c.call.Tied != c.tied {
			t.Errorf("%s: %d ties", c.name, *c.call.Tied)
		}
		if c.tied > 0 && got.RMS() > 0 { // another element's numbers say nothing of rounding
			t.Errorf("%s: an error of %v was measured", c.name, got.RMS())
		}
	}
}

// with sets an element of the results to a number that MLX has exactly; to none, of what MLX
// has only.
func (c *Call) with(k int, v float64) *Call {
	c.Stock[0] = append(append(c.Stock[0][:2*k:2*k], elements(c.Types[0].DType, v)...), c.Stock[0][2*k+2:]...)
	if math.IsNaN(v) {
		return c
	}
	c.Exact[0] = append(append(c.Exact[0][:4*k:4*k], elements(graph.Float32, v)...), c.Exact[0][4*k+4:]...)
	return c
}

func nan() float64 { return graph.DecodeElem(graph.Float32, []byte{0, 0, 0xC0, 0x7F}) }
