package convert_test

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/graph/normal"
)

// Some models do not leave attention to one operation, and say which rows of a cache are
// there in a way of their own. mlx-lm cuts them off, and so does what is built (a
// slice up to kv_len); a trace has the whole cache, and a mask. The two are one graph
// where it can be said: in a call that fills the caches. There offset is a number, masks
// are constants, and one that hides nothing is none.

// filled returns g for a call that fills its caches of kv_cap rows, in normal form.
func filled(t *testing.T, e engine.Engine, g *graph.Graph, env map[string]int64) *graph.Graph {
	t.Helper()
	env = maps.Clone(env)
	env[graph.SymKVLen] = env[graph.SymKVCap]
	g, err := normal.Specialize(g, env)
	if err != nil {
		t.Fatal(err)
	}
	out := graph.New()
	to := make([]graph.ValueID, g.NumValues())
	for _, v := range g.Inputs() {
		to[v] = out.Input(g.InputName(v), g.Type(v))
	}
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		v := n.Out[0]
		switch n.Op.Name {
		case "input":
			if g.InputName(v) == "offset" {
				to[v] = out.Constant(&graph.Literal{DType: graph.Int32, Shape: []int{}, Data: binary.LittleEndian.AppendUint32(nil, uint32(env[graph.SymKVCap]-env[graph.SymSeqLen]))})
			}
			continue
		case "param":
			to[v] = out.Param(g.InputName(v), g.Type(v))
			continue
		case "constant":
			to[v] = out.Constant(g.Literal(v))
			continue
		}
		in, constants := make([]graph.ValueID, len(n.In)), true
		for i, x := range n.In {
			in[i] = x
			if x != graph.None {
				in[i] = to[x]
				constants = constants && out.Literal(to[x]) != nil
			}
		}
		attrs := slices.Clone(n.Attrs)
		if n.Op.Name == "sdpa" { // all rows are what attention sees anyway
			if k := n.Op.AttrIndex("kv_len"); attrs[k] != nil && attrs[k].Equal(out.Type(in[1]).Shape[2]) {
				attrs[k] = nil
			}
		}
		if n.Op.Name == "where" && allTrue(out, in[0]) && out.Type(in[1]).Equal(g.Type(v)) {
			to[v] = in[1]
			continue
		}
		results, err := out.Add(n.Op, n.Scope, in, attrs...)
		if err != nil {
			t.Fatal(err)
		}
		to[v] = results[0]
		if constants {
			to[v] = out.Constant(evaluate(t, e, out, results[0]))
		}
	}
	for _, o := range g.Outputs() {
		out.Output(o.Name, to[o.Value])
	}
	if _, err := normal.Form(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// allTrue reports whether v is a constant that is true everywhere, or elements of one.
func allTrue(g *graph.Graph, v graph.ValueID) bool {
	for g.Def(v).Op.IsView() || g.Def(v).Op.Name == "take_along_axis" {
		v = g.Def(v).In[0]
	}
	l := g.Literal(v)
	return l != nil && l.DType == graph.Bool && !slices.Contains(l.Data, 0)
}

// evaluate computes a value of constants.
func evaluate(t *testing.T, e engine.Engine, g *graph.Graph, v graph.ValueID) *graph.Literal {
	t.Helper()
	one := graph.New()
	n := g.Def(v)
	in := make([]graph.ValueID, len(n.In))
	for i, x := range n.In {
		in[i] = x
		if x != graph.None {
			in[i] = one.Constant(g.Literal(x))
		}
	}
	results, err := one.Add(n.Op, n.Scope, in, n.Attrs...)
	if err != nil {
		t.Fatal(err)
	}
	one.Output("x", results[0])
	out, err := engine.Run(context.Background(), e, one, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer out["x"].Release()
	data, err := out["x"].Read()
	if err != nil {
		t.Fatal(err)
	}
	return &graph.Literal{DType: out["x"].DType(), Shape: slices.Clone(out["x"].Shape()), Data: slices.Clone(data)}
}

// filledOnly are the families whose parity is shown in calls that fill the caches, and
// why not in all of them.
var filledOnly = map[string]string{
	"gemma2":        "caps the scores of attention itself",
	"deepseek_v3":   "adds the scores of the rotated parts as a mask",
	"deepseek_v32":  "chooses rows, and adds the scores of the rotated parts as a mask",
	"glm4_moe_lite": "adds the scores of the rotated parts as a mask",
	"kimi_k2":       "adds the scores of the rotated parts as a mask",
	"kimi_k25":      "adds the scores of the rotated parts as a mask",
}

// In a call that fills its caches, every family is what mlx-lm computes.
func TestBuiltMeetsCapturedFilled(t *testing.T) {
	e := ref.New()
	defer e.Close()
	for _, name := range families(t) {
		p := newParity(t, name)
		captured, err := convert.Import("capture", p.file, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range p.specs(t) {
			c := captured.Cases[i].Graph
			if _, notes, err := normal.Raise(c); err != nil || len(notes) > 0 {
				t.Fatal(name, err, notes)
			}
			a, b := filled(t, e, c, s.Env), filled(t, e, p.built.Cases[s.Case].Graph, s.Env)
			if a.Hash() != b.Hash() {
				t.Errorf("%s for %v: %s", name, s.Env, difference(a, b))
			}
		}
		if want := p.hashes(t); filledOnly[name] != "" && want[0].Hash() == captured.Cases[0].Graph.Hash() {
			t.Errorf("%s is equal in other calls, too: take it off the list", name)
		}
	}
}
