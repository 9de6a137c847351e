package graph

import (
	"strings"
	"testing"
)

// Each way to break a graph is found, and named.
func TestVerifyFinds(t *testing.T) {
	node := func(g *Graph, op string) *Node {
		for i := range g.nodes {
			if g.nodes[i].Op.Name == op {
				return &g.nodes[i]
			}
		}
		t.Fatal("no node", op)
		return nil
	}
	for _, c := range []struct {
		want  string
		spoil func(p *Program, g *Graph)
	}{
		{"", func(*Program, *Graph) {}},
		{"has no op", func(_ *Program, g *Graph) { node(g, "take").Op = nil }},
		{"has 1 results, not 2", func(_ *Program, g *Graph) { n := node(g, splitHalf.Name); n.Out = n.Out[:1] }},
		{"result 0 is not defined by it", func(_ *Program, g *Graph) { n := node(g, splitHalf.Name); n.Out[0], n.Out[1] = n.Out[1], n.Out[0] }},
		{"result 0 is not defined by it", func(_ *Program, g *Graph) { g.values[node(g, "take").Out[0]].Def = 0 }},
		{"define 19 values of 20", func(_ *Program, g *Graph) { g.values = append(g.values, Value{Def: 3}) }},
		{"is defined behind its use", func(_ *Program, g *Graph) { node(g, "take").In[1] = node(g, "rms_norm").Out[0] }},
		{"is defined behind its use", func(_ *Program, g *Graph) { n := node(g, "take"); n.In[1] = n.Out[0] }},
		{"which is not in the graph", func(_ *Program, g *Graph) { node(g, "take").In[1] = 1000 }},
		{"which is not in the graph", func(_ *Program, g *Graph) { node(g, "take").In[1] = -2 }},
		{"an absent last operand is kept", func(_ *Program, g *Graph) { n := node(g, "rms_norm"); n.In = append(n.In, None) }},
		{"takes 2 operands, got 3", func(_ *Program, g *Graph) { n := node(g, "take"); n.In = append(n.In, n.In[0]) }},
		{"operand indices is missing", func(_ *Program, g *Graph) { n := node(g, "take"); n.In = n.In[:1] }},
		{"has 0 attributes, not 1", func(_ *Program, g *Graph) { node(g, "take").Attrs = nil }},
		{"attribute axis is 0, in normal form -2", func(_ *Program, g *Graph) { node(g, "take").Attrs = []Attr{N(0)} }},
		{"attribute axis: expected an axis", func(_ *Program, g *Graph) { node(g, "take").Attrs = []Attr{Flag(true)} }},
		{"attribute start is [0], in normal form <nil>", func(_ *Program, g *Graph) {
			n := node(g, "slice")
			n.Attrs[n.Op.AttrIndex("start")] = Dims{N(0)}
		}},
		{"attribute mode is <nil>, in normal form", func(_ *Program, g *Graph) { node(g, splitHalf.Name).Attrs[0] = nil }},
		{"has type int8[], not float16[batch, 1, 576]", func(_ *Program, g *Graph) { g.values[node(g, "take").Out[0]].typ = ref(T(Int8)) }},
		{"the scope cannot be written", func(_ *Program, g *Graph) { node(g, "take").Scope = "a`b" }},
		{"has no name that can be written", func(_ *Program, g *Graph) { node(g, "input").Attrs[0] = Str("a\nb") }},
		{"a leaf with 0 operands and 0 attributes", func(_ *Program, g *Graph) { node(g, "input").Attrs = nil }},
		{"a constant without a literal", func(_ *Program, g *Graph) { node(g, "constant").Attrs = []Attr{Str("x")} }},
		{"3 bytes for float32[]", func(_ *Program, g *Graph) {
			node(g, "constant").Attrs[0] = &Literal{DType: Float32, Shape: []int{}, Data: make([]byte, 3)}
		}},
		{"but its literal has int32[]", func(_ *Program, g *Graph) { node(g, "constant").Attrs[0] = ScalarLiteral(Int32, 1) }},
		{"two inputs are called", func(_ *Program, g *Graph) { g.Def(g.inputs[1]).Attrs[0] = g.Def(g.inputs[0]).Attrs[0] }},
		{"is listed as an input", func(_ *Program, g *Graph) { g.inputs[1] = node(g, "take").Out[0] }},
		{"2 inputs, listed are 1", func(_ *Program, g *Graph) { g.inputs = g.inputs[:1] }},
		{"are called \"model.norm.weight\"", func(_ *Program, g *Graph) { g.Def(g.Params()["v2"]).Attrs[0] = Str("model.norm.weight") }},
		{"an input and a parameter, are called \"v2\"", func(_ *Program, g *Graph) { g.Def(g.inputs[0]).Attrs[0] = Str("v2") }},
		{"output \"logits\" is there twice", func(_ *Program, g *Graph) { g.outputs[1].Name = "logits" }},
		{"output \"logits\" is value 99", func(_ *Program, g *Graph) { g.outputs[0].Value = 99 }},
		{"replacements are pending", func(_ *Program, g *Graph) { g.repl = map[ValueID]ValueID{0: 0} }},
		{"is not in the program's table", func(p *Program, _ *Graph) { p.Param("v2").Type = T(Float16, N(4), N(577)) }},
		{"is not in the program's table", func(p *Program, _ *Graph) { p.Params = p.Params[:len(p.Params)-1] }},
		{"not in order of names", func(p *Program, _ *Graph) { p.Params[0], p.Params[1] = p.Params[1], p.Params[0] }},
		{"has type float32[4], but is made with float32[3]", func(p *Program, _ *Graph) { p.Param("lut").Type = T(Float32, N(4)) }},
		{"which is not in the program's table", func(p *Program, _ *Graph) { p.Param("lut").From.Args[0] = "nothing" }},
		{"lut is made from itself", func(p *Program, _ *Graph) { p.Param("lut").From.Args[0] = "lut" }},
		{"a field that it does not read", func(p *Program, _ *Graph) { p.Param("lut").From.Stop = 1 }},
		{"perm is not a permutation", func(p *Program, _ *Graph) { p.Param("lut").From.Perm = []int{0, 0, 1} }},
		{"of no quantized matrix", func(p *Program, _ *Graph) { p.Param("v2").Part = "weight" }},
		{"mode \"none\" is not one of", func(p *Program, _ *Graph) { p.Param("model.a.weight").Quant.Mode = "none" }},
		{"has no cases", func(p *Program, _ *Graph) { p.Cases = nil }},
		{"the name cannot be written", func(p *Program, _ *Graph) { p.Cases[0].Name = "a\tb" }},
		{"mentions rows", func(p *Program, _ *Graph) { p.Cases[0].When = Compare(Sym("rows"), EQ, N(1)) }},
		{"2 inputs and 1 outputs, the first case has 2 and 2", func(p *Program, _ *Graph) { g := p.Cases[1].Graph; g.outputs = g.outputs[:1] }},
		{"output scores, the first case has logits", func(p *Program, _ *Graph) { p.Cases[1].Graph.outputs[0].Name = "scores" }},
	} {
		p := mustParse(t, sample)
		c.spoil(p, p.Cases[0].Graph)
		err := p.Verify()
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

// The incremental form sees the given nodes and the readers of their results,
// through pending replacements too, and nothing else.
func TestVerifyNodes(t *testing.T) {
	build := func() (*Graph, map[string]ValueID) {
		g := New()
		x := g.Input("x", T(Float16, N(4)))
		v := map[string]ValueID{"x": x}
		v["a"] = call(t, g, "exp", []ValueID{x}, nil)
		v["b"] = call(t, g, "sum", []ValueID{v["a"]}, map[string]Attr{"axis": Dims{N(-1)}})
		v["c"] = call(t, g, "sum", []ValueID{x}, map[string]Attr{"axis": Dims{N(-1)}})
		v["new"] = call(t, g, "cos", []ValueID{x}, nil)
		g.Output("y", v["b"])
		return g, v
	}
	spoil := func(g *Graph, v ValueID) { g.Def(v).Attrs = []Attr{Dims{N(0)}, Flag(false)} }
	for _, c := range []struct {
		given, spoiled string
		replace        bool
		found          bool
	}{
		{"a", "", false, false},
		{"a", "b", false, true},
		{"a", "c", false, false},
		{"b", "b", false, true},
		{"x", "c", false, true},
		{"new", "b", false, false},
		{"new", "b", true, true}, // b now reads new
		{"a", "b", true, true},
	} {
		g, v := build()
		if c.spoiled != "" {
			spoil(g, v[c.spoiled])
		}
		if c.replace {
			if err := g.Replace(v["a"], v["new"]); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.VerifyNodes([]NodeID{g.Value(v[c.given]).Def}); (err != nil) != c.found {
			t.Errorf("given %s with %s spoiled (replaced %v): %v", c.given, c.spoiled, c.replace, err)
		}
	}
	g, v := build()
	g.values[v["a"]].typ = ref(T(Float32, N(4)))
	if err := g.VerifyNodes([]NodeID{g.Value(v["a"]).Def}); err == nil {
		t.Error("a wrong type is not found")
	}
	if err := g.VerifyNodes([]NodeID{100}); err == nil {
		t.Error("a node that is not there is verified")
	}
	g.repl = map[ValueID]ValueID{v["b"]: v["x"]}
	if err := g.VerifyNodes(nil); err == nil || !strings.Contains(err.Error(), "output y changes its type") {
		t.Error("an output of another type:", err)
	}
}

// Symbols of shapes and attributes are those that a call binds.
func TestVerifySymbols(t *testing.T) {
	for _, c := range []struct {
		name, want string
		build      func(*Graph)
	}{
		{"of the input", "", func(g *Graph) {
			call(t, g, "slice", []ValueID{g.Input("x", T(Float32, N(4), Sym("n")))}, map[string]Attr{"axis": Dims{N(-1)}, "start": Dims{Sym("n").Sub(N(2))}})
		}},
		{"common ones", "", func(g *Graph) {
			call(t, g, "slice", []ValueID{g.Input("x", T(Float32, N(4), N(8)))}, map[string]Attr{"axis": Dims{N(-1)}, "start": Dims{Sym("batch")}, "stop": Dims{Sym("batch").Add(N(2))}})
		}},
		{"of an attribute", "attribute start has the symbol stat, which no input has", func(g *Graph) {
			call(t, g, "slice", []ValueID{g.Input("x", T(Float32, N(4), N(8)))}, map[string]Attr{"axis": Dims{N(-1)}, "start": Dims{Sym("stat")}, "stop": Dims{Sym("stat").Add(N(2))}})
		}},
		{"of a parameter", "its type float32[2*rows] has the symbol rows, which no input has", func(g *Graph) {
			g.Param("w", T(Float32, Sym("rows").Mul(N(2))))
		}},
	} {
		g := New()
		c.build(g)
		g.Output("y", 0)
		if err := g.Verify(); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// What a window sees follows from kv_len: the window, and what else the call's own tokens see.
func TestWithWindow(t *testing.T) {
	p := &Program{Window: 128}
	for _, c := range []struct{ seq, rows, want int64 }{{1, 8, 8}, {1, 128, 128}, {1, 129, 128}, {0, 129, 128}, {8, 129, 129}, {8, 200, 135}} {
		env := map[string]int64{SymKVLen: c.rows, SymSeqLen: c.seq}
		if got := p.WithWindow(env)[SymWindowLen]; got != c.want {
			t.Errorf("%v: a window of 128 sees %d rows, want %d", env, got, c.want)
		}
		if env[SymWindowLen] != 0 {
			t.Error("the caller's symbols were changed")
		}
	}
	if got := p.WithWindow(map[string]int64{SymKVLen: 200, SymWindowLen: 7}); got[SymWindowLen] != 7 {
		t.Errorf("a window of 7 rows was made %d", got[SymWindowLen])
	}
}

// Symbols are lengths of at least 1: conditions and shapes are compared by that.
func TestSymbolsAreLengths(t *testing.T) {
	p := mustParse(t, "zmlx 1\nprogram p\ncase a when n >= 1\n  input x : float32[2, n]\n  output y = x\n")
	if _, err := p.Select(map[string]int64{"n": 1}); err != nil {
		t.Error(err)
	}
	if c, err := p.Select(map[string]int64{"n": 0}); err == nil || !strings.Contains(err.Error(), "n is 0; it must be at least 1") {
		t.Error("no rows select", c, err)
	}
	if err := p.Cases[0].Graph.BindShapes(map[string]int64{}, map[string][]int{"x": {2, 0}}); err == nil || !strings.Contains(err.Error(), "dimension 1 (n) is 0") {
		t.Error("no rows bind n:", err)
	}
}

func ref(t Type) *Type { return &t }
