package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// symbolCases are graphs over an input x [n, 6] whose attributes mention n.
var symbolCases = map[string]func(n graph.Dim) (op string, attrs []graph.Attr){
	"reshape": func(n graph.Dim) (string, []graph.Attr) {
		return "reshape", []graph.Attr{graph.Dims{n.Mul(graph.N(2)), graph.N(3)}}
	},
	"slice": func(n graph.Dim) (string, []graph.Attr) {
		return "slice", []graph.Attr{graph.Dims{graph.N(0)}, graph.Dims{n.Sub(graph.N(1))}, graph.Dims{n}}
	},
	"slice to the last": func(graph.Dim) (string, []graph.Attr) {
		return "slice", []graph.Attr{graph.Dims{graph.N(0)}, nil, graph.Dims{graph.N(-1)}}
	},
	"broadcast_to": func(n graph.Dim) (string, []graph.Attr) {
		return "broadcast_to", []graph.Attr{graph.Dims{n, n, graph.N(6)}}
	},
	"unflatten": func(n graph.Dim) (string, []graph.Attr) {
		return "unflatten", []graph.Attr{graph.N(-2), graph.Dims{graph.N(1), n}}
	},
	"argpartition": func(n graph.Dim) (string, []graph.Attr) {
		return "argpartition", []graph.Attr{n.Sub(graph.N(1)), graph.N(0)}
	},
	"arange": func(n graph.Dim) (string, []graph.Attr) {
		return "arange", []graph.Attr{graph.N(1), n.Mul(n)}
	},
}

// runSymbols: an attribute with a symbol means what the number in its place does.
func runSymbols(t *testing.T, e engine.Engine) {
	for name, f := range symbolCases {
		for _, n := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				var results [2][]byte
				var shapes [2][]int
				for i, d := range []graph.Dim{graph.Sym("n"), graph.N(int64(n))} {
					g := graph.New()
					x := g.Input("x", graph.T(graph.Float32, d, graph.N(6)))
					op, attrs := f(d)
					in := []graph.ValueID{x}
					if op == "arange" {
						in = nil
					}
					out, err := g.Add(graph.LookupOp(op), "", in, attrs...)
					if err != nil {
						t.Fatal(err)
					}
					g.Output("out", out[0])
					v := make([]float64, 6*n)
					for k := range v {
						v[k] = float64(k * 7 % 11)
					}
					res, err := engine.Run(context.Background(), e, g, nil, map[string]engine.Tensor{"x": newTensor(t, e, Float32([]int{n, 6}, v...))}, nil)
					if err != nil {
						t.Fatal(err)
					}
					shapes[i] = res["out"].Shape()
					if results[i], err = res["out"].Read(); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(shapes[0], shapes[1]) || !bytes.Equal(results[0], results[1]) {
					t.Errorf("%v %x with symbols, %v %x with numbers", shapes[0], results[0], shapes[1], results[1])
				}
			})
		}
	}
	t.Run("kv_len", func(t *testing.T) { runKVLen(t, e) })
}

// runKVLen: a symbol that no shape binds comes from dims, and a position that a
// symbol makes negative is an error, not a position from the end.
func runKVLen(t *testing.T, e engine.Engine) {
	g := graph.New()
	x := g.Input("x", graph.T(graph.Float32, graph.Sym("cap")))
	out, err := g.Add(graph.LookupOp("slice"), "", []graph.ValueID{x}, graph.Dims{graph.N(0)}, graph.Dims{graph.Sym(graph.SymKVLen).Sub(graph.N(2))}, graph.Dims{graph.Sym(graph.SymKVLen)})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	for kv, want := range map[int64][]byte{2: Float32(nil, 1, 2).Data, 4: Float32(nil, 3, 4).Data, 1: nil, 5: nil} {
		res, err := engine.Run(context.Background(), e, g, nil, map[string]engine.Tensor{"x": newTensor(t, e, Float32([]int{4}, 1, 2, 3, 4))}, map[string]int64{graph.SymKVLen: kv})
		var got []byte
		if err == nil {
			got, err = res["out"].Read()
		}
		if (err != nil) != (want == nil) || !bytes.Equal(got, want) {
			t.Errorf("kv_len %d: %x, want %x (%v)", kv, got, want, err)
		}
	}
	if _, err := engine.Run(context.Background(), e, g, nil, map[string]engine.Tensor{"x": newTensor(t, e, Float32([]int{4}, 1, 2, 3, 4))}, nil); err == nil {
		t.Error("an unknown symbol gave no error")
	}
}
