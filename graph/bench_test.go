package graph

import (
	"fmt"
	"testing"
)

// layers builds a graph of about 20 nodes a layer, in the shape of a decoder.
func layers(t testing.TB, n int) *Program {
	t.Helper()
	p := &Program{Name: "layers"}
	g := New()
	add := func(op, scope string, in []ValueID, attrs map[string]Attr) ValueID {
		o := LookupOp(op)
		list := make([]Attr, len(o.Attrs))
		for k, a := range attrs {
			list[o.AttrIndex(k)] = a
		}
		out, err := g.Add(o, scope, in, list...)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	param := func(name string, typ Type) ValueID {
		if _, err := p.AddParam(&Param{Name: name, Type: typ}); err != nil {
			t.Fatal(err)
		}
		return g.Param(name, typ)
	}
	b, l := Sym(SymBatch), Sym(SymSeqLen)
	h := g.Input("h", T(Float16, b, l, N(64)))
	off := g.Input("offset", T(Int32))
	for i := range n {
		scope := fmt.Sprintf("model.layers.%d", i)
		mm := func(x ValueID, m string, from, to int64) ValueID {
			name := scope + "." + m
			return add("quantized_matmul", name, []ValueID{x, param(name+".weight", T(Uint32, N(to), N(from/8))),
				param(name+".scales", T(Float16, N(to), N(from/32))), param(name+".biases", T(Float16, N(to), N(from/32)))},
				map[string]Attr{"group_size": N(32)})
		}
		norm := func(x ValueID, m string) ValueID {
			return add("rms_norm", scope+"."+m, []ValueID{x, param(scope+"."+m+".weight", T(Float16, N(64)))}, map[string]Attr{"eps": Float(1e-5)})
		}
		heads := func(x ValueID) ValueID {
			x = add("reshape", scope, []ValueID{x}, map[string]Attr{"shape": Dims{b, l, N(4), N(16)}})
			return add("transpose", scope, []ValueID{x}, map[string]Attr{"axes": Dims{N(0), N(2), N(1), N(3)}})
		}
		x := norm(h, "input_layernorm")
		q, k, v := heads(mm(x, "q_proj", 64, 64)), heads(mm(x, "k_proj", 64, 64)), heads(mm(x, "v_proj", 64, 64))
		rope := map[string]Attr{"dims": N(16), "base": Float(10000)}
		q, k = add("rope", scope, []ValueID{q, off}, rope), add("rope", scope, []ValueID{k, off}, rope)
		a := add("sdpa", scope+".self_attn", []ValueID{q, k, v}, map[string]Attr{"scale": Float(0.25), "mask": Str("causal")})
		a = add("transpose", scope, []ValueID{a}, map[string]Attr{"axes": Dims{N(0), N(2), N(1), N(3)}})
		a = add("reshape", scope, []ValueID{a}, map[string]Attr{"shape": Dims{b, l, N(64)}})
		h = add("add", scope, []ValueID{h, mm(a, "o_proj", 64, 64)}, nil)
		x = norm(h, "post_attention_layernorm")
		gate, up := mm(x, "mlp.gate_proj", 64, 128), mm(x, "mlp.up_proj", 64, 128)
		x = add("multiply", scope+".mlp", []ValueID{add("multiply", scope+".mlp", []ValueID{gate, add("sigmoid", scope+".mlp", []ValueID{gate}, nil)}, nil), up}, nil)
		h = add("add", scope, []ValueID{h, mm(x, "mlp.down_proj", 128, 64)}, nil)
	}
	g.Output("h", h)
	if err := g.Compact(); err != nil {
		t.Fatal(err)
	}
	p.Cases = []Case{{Name: "all", Graph: g}}
	return p
}

var sizes = []struct {
	name   string
	layers int
}{{"1000", 22}, {"7000", 155}, {"100000", 2223}}

func BenchmarkGraph(b *testing.B) {
	for _, s := range sizes {
		p := layers(b, s.layers)
		g := p.Cases[0].Graph
		text := p.Text()
		for _, f := range []struct {
			name string
			run  func() error
		}{
			{"hash", func() error { g.Hash(); return nil }},
			{"verify", g.Verify},
			{"verify-nodes", func() error { return g.VerifyNodes([]NodeID{NodeID(g.NumNodes() / 2)}) }},
			{"print", func() error { p.Text(); return nil }},
			{"parse", func() error { _, l := ParseText("", text, nil); return l.Err() }},
			{"compact", func() error { return g.Clone().Compact() }},
		} {
			b.Run(f.name+"/"+s.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f.run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(g.NumNodes()), "ns/node")
				if f.name == "parse" {
					b.SetBytes(int64(len(text)))
				}
			})
		}
	}
}
