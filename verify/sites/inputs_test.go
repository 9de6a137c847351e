package sites

import (
	"math/rand/v2"
	"slices"
	"testing"

	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/kernelcheck"
)

// TestInputs: indices exist, are distinct in a row, and are sorted where an op is told so,
// also behind views and a division; positions are those of the call.
func TestInputs(t *testing.T) {
	g := graph.New()
	add := func(op string, in []graph.ValueID, attrs ...any) graph.ValueID {
		t.Helper()
		o := graph.LookupOp(op)
		list := make([]graph.Attr, len(o.Attrs))
		for i := 0; i < len(attrs); i += 2 {
			list[o.AttrIndex(attrs[i].(string))] = attrs[i+1].(graph.Attr)
		}
		out, err := g.Add(o, "", in, list...)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	n := func(v int64) graph.Dim { return graph.N(v) }
	b, s := graph.Sym(graph.SymBatch), graph.Sym(graph.SymSeqLen)
	x := g.Input("x", graph.T(graph.BFloat16, b, s, n(1), n(1), n(64)))
	idx := g.Input("idx", graph.T(graph.Uint32, b, s, n(4)))
	w := g.Input("w", graph.T(graph.BFloat16, n(7), n(64), n(32)))
	g.Output("chosen", add("gather_mm", []graph.ValueID{x, w, graph.None, idx}))
	order := g.Input("order", graph.T(graph.Uint32, b))
	table := g.Input("table", graph.T(graph.BFloat16, n(5), n(8)))
	g.Output("taken", add("take", []graph.ValueID{table, add("floor_divide", []graph.ValueID{order, g.Scalar(graph.Uint32, 3)})}, "axis", n(-2)))
	flat := g.Input("flat", graph.T(graph.BFloat16, b, n(1), n(64)))
	in := g.Input("sorted", graph.T(graph.Uint32, b))
	g.Output("sorted_chosen", add("gather_mm", []graph.ValueID{flat, w, graph.None, in}, "sorted_indices", graph.Flag(true)))
	g.Input("at", graph.T(graph.Int32))
	g.Input("ring", graph.T(graph.Int32))
	env := map[string]int64{graph.SymBatch: 40, graph.SymSeqLen: 1, graph.SymKVLen: 300}
	got, err := inputs(g, map[string]string{"at": cache.Offset, "ring": cache.WindowOffset}, 128, env, kernelcheck.Normal, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	numbers := func(name string) []int {
		x := got[name]
		var list []int
		for i := 0; i < len(x.bytes); i += x.dtype.Size() {
			list = append(list, int(graph.DecodeElem(x.dtype, x.bytes[i:])))
		}
		return list
	}
	chosen := numbers("idx")
	if len(chosen) != 160 || slices.Max(chosen) != 6 {
		t.Errorf("%d of 7 matrices chosen, up to %d", len(chosen), slices.Max(chosen))
	}
	for at := 0; at < len(chosen); at += 4 {
		row := slices.Sorted(slices.Values(chosen[at : at+4]))
		if len(slices.Compact(row)) != 4 {
			t.Fatalf("a row chooses %v", chosen[at:at+4])
		}
	}
	if list := numbers("order"); slices.Max(list) > 14 || slices.Max(list) < 12 {
		t.Errorf("indices that are divided by 3 for 5 rows: up to %d", slices.Max(list))
	}
	if list := numbers("sorted"); !slices.IsSorted(list) || slices.Max(list) > 6 || slices.Max(list) == 0 {
		t.Errorf("sorted: %v", list)
	}
	if at, ring := numbers("at"), numbers("ring"); at[0] != 299 || ring[0] != 299%128 {
		t.Errorf("positions %v and %v behind 299 rows", at, ring)
	}
}

// TestWiden: everything that a graph computes is float32; what is given as 16 bits is
// converted where it is read.
func TestWiden(t *testing.T) {
	p, issues := graph.ParseText("x.zg", []byte(`zmlx 1
program x
param `+"`w`"+` : bfloat16[8]
case a
  input x : float16[2, 8]
  input i : int32[2, 8]
  v0 = astype(x, dtype=bfloat16) : bfloat16[2, 8]
  v1 = multiply(v0, w) : bfloat16[2, 8]
  c = constant(0.1) : bfloat16[]
  v2 = multiply(v1, c) : bfloat16[2, 8]
  v3 = add(v2, i) : bfloat16[2, 8]
  output y = v3
  output i = i
`), nil)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	h, err := widen(p.Cases[0].Graph)
	if err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for id := range graph.NodeID(h.NumNodes()) {
		n := h.Node(id)
		for _, v := range n.Out {
			typ := h.Type(v)
			if n.Op.Name != "param" && typ.DType != graph.Float32 && typ.DType != graph.Int32 || n.Op.Name == "param" && typ.DType != graph.BFloat16 {
				t.Errorf("%s makes %s", n.Op.Name, typ)
			}
		}
		if l := h.Literal(n.Out[0]); l != nil {
			if v, _ := l.Scalar(); v != 0.10009765625 { // what bfloat16 has of 0.1
				t.Errorf("the constant is %v", v)
			}
		}
		if !n.Op.IsLeaf() {
			nodes++
		}
	}
	if nodes != 5 { // the weights' conversion, too
		t.Errorf("%d nodes", nodes)
	}
}
