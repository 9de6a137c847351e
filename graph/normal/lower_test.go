package normal_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
)

// attention makes kv_append of two rows into caches of eight, and attention over the
// rows that are there then.
func attention(t *testing.T, heads, length int64, mask string, more map[string]graph.Attr) *graph.Graph {
	t.Helper()
	g := graph.New()
	typ := func(shape ...int64) graph.Type {
		dims := make([]graph.Dim, len(shape))
		for i, n := range shape {
			dims[i] = graph.N(n)
		}
		return graph.T(graph.Float32, dims...)
	}
	q, offset := g.Input("q", typ(1, heads, length, 4)), g.Input("offset", graph.T(graph.Int32))
	var kv [2]graph.ValueID
	for i, name := range []string{"keys", "values"} {
		cache, rows := g.Input(name, typ(1, 2, 8, 4)), g.Input("new_"+name, typ(1, 2, length, 4))
		out, err := g.Add(graph.LookupOp("kv_append"), "", []graph.ValueID{cache, rows, offset})
		if err != nil {
			t.Fatal(err)
		}
		kv[i] = out[0]
		g.Output(name, out[0])
	}
	op := graph.LookupOp("sdpa")
	attrs := make([]graph.Attr, len(op.Attrs))
	attrs[op.AttrIndex("scale")] = graph.Float(0.5)
	attrs[op.AttrIndex("mask")] = graph.Str(mask)
	attrs[op.AttrIndex("kv_len")] = graph.Sym(graph.SymKVLen)
	for name, a := range more {
		attrs[op.AttrIndex(name)] = a
	}
	out, err := g.Add(op, "layer", []graph.ValueID{q, kv[0], kv[1]}, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	if err := g.Compact(); err != nil {
		t.Fatal(err)
	}
	return g
}

// Attention over a part of a cache, lowered, gives what the reference engine gives
// for the op itself.
func TestLowerPartialAttention(t *testing.T) {
	e := ref.New()
	defer e.Close()
	for _, heads := range []int64{2, 6} {
		for _, length := range []int64{1, 3} {
			for mask, more := range map[string]map[string]graph.Attr{"none": nil, "causal": nil, "window": {"window": graph.N(2)}} {
				for _, offset := range []float64{0, 3, float64(8 - length)} {
					g := attention(t, heads, length, mask, more)
					at := map[string]float64{"offset": offset}
					dims := map[string]int64{"kv_len": int64(offset) + length}
					want := numbers(t, e, g, at, dims)
					for _, target := range []normal.Target{normal.CPU, normal.GPU} {
						low := g.Clone()
						if err := normal.Lower(low, target); err != nil {
							t.Fatal(err)
						}
						if err := low.Verify(); err != nil {
							t.Fatal(err)
						}
						text := low.String()
						if strings.Contains(text, "kv_append") || strings.Contains(text, "kv_len") || target == normal.CPU && strings.Contains(text, "sdpa") {
							t.Errorf("%s: left over:\n%s", mask, text)
						}
						for name, got := range numbers(t, e, low, at, nil) {
							for i, x := range got {
								if d := math.Abs(x - want[name][i]); !(d <= 1e-6) {
									t.Fatalf("%s, %d heads, %d queries, offset %g, for %s: %s[%d] is %g, not %g\n%s", mask, heads, length, offset, target, name, i, x, want[name][i], text)
								}
							}
						}
					}
				}
			}
		}
	}
}

// A ring behind a sliding window shows all rows that were written to, wherever the next
// one goes; several rows stand behind those that the first of them sees. Lowered and
// raised again, both are what they were.
func TestLowerRings(t *testing.T) {
	e := ref.New()
	defer e.Close()
	for _, c := range []struct {
		length, heads        int
		offset, first, shown int
		mask                 string
	}{
		{1, 4, 3, 3, 4, ""},
		{1, 4, 7, 7, 8, ""},
		{1, 2, 8, 0, 8, ""},
		{1, 4, 21, 5, 8, ""},
		{3, 4, 5, 5, 8, `, mask="window", window=4`},
		{3, 2, 40, 5, 8, `, mask="window", window=6`},
	} {
		p, issues := graph.ParseText("ring.zg", fmt.Appendf(nil, `zmlx 1
program ring
window 8
case all
  input offset : int32[]
  input window_offset : int32[]
  input q : float32[1, %[1]d, %[2]d, 4]
  input new_keys : float32[1, 2, %[2]d, 4]
  input new_values : float32[1, 2, %[2]d, 4]
  input cache.0.keys : float32[1, 2, 8, 4]
  input cache.0.values : float32[1, 2, 8, 4]
  k = kv_append(cache.0.keys, new_keys, window_offset) : float32[1, 2, 8, 4]
  v = kv_append(cache.0.values, new_values, window_offset) : float32[1, 2, 8, 4]
  out = sdpa(q, k, v, scale=0.3%[3]s, kv_len=window_len) : float32[1, %[1]d, %[2]d, 4]
  output out = out
  output cache.0.keys = k
  output cache.0.values = v
`, c.heads, c.length, c.mask), nil)
		if err := issues.Err(); err != nil {
			t.Fatal(err)
		}
		g := p.Cases[0].Graph
		at := map[string]float64{"offset": float64(c.offset), "window_offset": float64(c.first)}
		want := numbers(t, e, g, at, map[string]int64{"window_len": int64(c.shown)})
		for _, target := range []normal.Target{normal.CPU, normal.GPU} {
			low := g.Clone()
			if err := normal.Lower(low, target); err != nil {
				t.Fatal(err)
			}
			if text := low.String(); strings.Contains(text, "kv_append") || strings.Contains(text, "window_len") {
				t.Errorf("left over:\n%s", text)
			}
			for name, got := range numbers(t, e, low, at, nil) {
				for i, x := range got {
					if d := math.Abs(x - want[name][i]); !(d <= 1e-6) {
						t.Fatalf("%+v, for %s: %s[%d] is %g, not %g\n%s", c, target, name, i, x, want[name][i], low)
					}
				}
			}
			if target != normal.CPU {
				continue
			}
			if _, notes, err := normal.Raise(low); err != nil || len(notes) > 0 {
				t.Fatal(err, notes)
			}
			back := g.Clone()
			if _, err := normal.Form(back); err != nil {
				t.Fatal(err)
			}
			if low.Hash() != back.Hash() {
				t.Errorf("%+v: raised\n%s\nfrom\n%s", c, low, back)
			}
		}
	}
}

// numbers runs a graph on random numbers; at has those of its whole numbers.
func numbers(t *testing.T, e engine.Engine, g *graph.Graph, at map[string]float64, dims map[string]int64) map[string][]float64 {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	in := map[string]engine.Tensor{}
	for _, v := range g.Inputs() {
		typ := g.Type(v)
		shape, n := []int{}, 1
		for _, d := range typ.Shape {
			shape = append(shape, d.Int())
			n *= d.Int()
		}
		var data []byte
		for range n {
			x := r.NormFloat64()
			if typ.DType == graph.Int32 {
				x = at[g.InputName(v)]
			}
			data = graph.AppendElem(data, typ.DType, x)
		}
		tensor, err := e.NewTensor(typ.DType, shape, data)
		if err != nil {
			t.Fatal(err)
		}
		in[g.InputName(v)] = tensor
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, dims)
	if err != nil {
		t.Fatalf("%v\n%s", err, g)
	}
	all := map[string][]float64{}
	for name, tensor := range out {
		data, err := tensor.Read()
		if err != nil {
			t.Fatal(err)
		}
		size := tensor.DType().Size()
		for at := 0; at < len(data); at += size {
			all[name] = append(all[name], graph.DecodeElem(tensor.DType(), data[at:]))
		}
	}
	return all
}

func TestLowerRefuses(t *testing.T) {
	type values = []graph.ValueID
	f32 := func(shape ...int64) graph.Type {
		dims := make([]graph.Dim, len(shape))
		for i, n := range shape {
			dims[i] = graph.N(n)
		}
		return graph.T(graph.Float32, dims...)
	}
	for _, c := range []struct {
		says  string
		types []graph.Type
		op    string
		attrs []graph.Attr
	}{
		{"mode mxfp4", []graph.Type{graph.T(graph.Uint32, graph.N(2), graph.N(4)), graph.T(graph.Uint8, graph.N(2), graph.N(1))}, "dequantize", []graph.Attr{graph.N(32), graph.N(4), graph.Str("mxfp4")}},
		{"kv_len kv_len is not a number", []graph.Type{f32(1, 2, 1, 4), f32(1, 2, 8, 4), f32(1, 2, 8, 4)}, "sdpa", []graph.Attr{graph.Float(1), nil, nil, graph.Sym("kv_len")}},
		{"is not a number", []graph.Type{graph.T(graph.Float32, graph.N(2), graph.Sym("n"))}, "rms_norm", []graph.Attr{graph.Float(1e-5)}},
		{"same offset", []graph.Type{f32(2, 2, 8, 4), f32(2, 2, 1, 4), graph.T(graph.Int32, graph.N(2))}, "kv_append", nil},
	} {
		g := graph.New()
		var in values
		for i, typ := range c.types {
			in = append(in, g.Input(fmt.Sprint("x", i), typ))
		}
		out, err := g.Add(graph.LookupOp(c.op), "model.here", in, c.attrs...)
		if err != nil {
			t.Fatal(err)
		}
		g.Output("out", out[0])
		if err := normal.Lower(g, normal.CPU); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "model.here") {
			t.Errorf("%s: %v, want %q", c.op, err, c.says)
		}
	}
}
