package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// TestPairs: each site of a model is two graphs that make the same results of the same
// types. Under the names of the rule, sites that are alike are the same graphs; under
// their own, no two layers are.
func TestPairs(t *testing.T) {
	for _, name := range []string{"Qwen3-30B-A3B-4bit", "gemma-2-9b-it-4bit"} {
		res, err := Run(reference(t, name), config(t))
		if err != nil {
			t.Fatal(err)
		}
		sites := 0
		for i := range res.Cases {
			c := &res.Cases[i]
			kinds, owns := map[string]bool{}, map[string]bool{}
			for k := range c.Sites {
				s := &c.Sites[k]
				sites++
				p, err := s.Pair(false)
				if err != nil {
					t.Fatalf("%s, %s at %s: %v", name, s.Rule.Name, s.Scope, err)
				}
				for _, g := range []*graph.Graph{p.Before, p.After} {
					if err := g.Verify(); err != nil {
						t.Fatalf("%s, %s at %s: %v", name, s.Rule.Name, s.Scope, err)
					}
				}
				before, after := p.Before.Outputs(), p.After.Outputs()
				if len(before) != len(s.Rule.Results) || len(after) != len(before) {
					t.Fatalf("%s at %s: results %v before, %v after, the rule's %v", s.Rule.Name, s.Scope, before, after, s.Rule.Results)
				}
				for j, o := range before {
					if a := after[j]; a.Name != o.Name || !p.After.Type(a.Value).Equal(p.Before.Type(o.Value)) {
						t.Errorf("%s at %s: %s is %s, %s is %s", s.Rule.Name, s.Scope, o.Name, p.Before.Type(o.Value), a.Name, p.After.Type(a.Value))
					}
				}
				if n := count(p.Before, nil); n != len(slices.DeleteFunc(slices.Clone(s.Match.Nodes), func(id graph.NodeID) bool {
					return len(s.Graph().Node(id).In) == 0
				})) {
					t.Errorf("%s at %s: %d nodes of %d that were matched", s.Rule.Name, s.Scope, n, s.Size)
				}
				for _, k := range s.Rule.Kernels {
					if count(p.After, func(n *graph.Node) bool { return n.Op.Name == graph.KernelPrefix+k }) == 0 {
						t.Errorf("%s at %s: no kernel %s", s.Rule.Name, s.Scope, k)
					}
				}
				kind := fmt.Sprint(s.Rule.Name, p.Before.Hash(), p.After.Hash())
				kinds[kind] = true
				q, err := s.Pair(true)
				if err != nil {
					t.Fatal(err)
				}
				own := fmt.Sprint(kind, q.Before.Hash(), q.After.Hash())
				if slices.ContainsFunc(p.Leaves, func(l Leaf) bool { return l.Param != "" }) && owns[own] {
					t.Errorf("%s: %s and another site have the same parameters", s.Rule.Name, s.Scope)
				}
				owns[own] = true
			}
			if 8*len(kinds) > len(c.Sites) { // of 48 layers or 42
				t.Errorf("%s, %s: %d sites of %d kinds", name, c.Name, len(c.Sites), len(kinds))
			}
		}
		if sites == 0 {
			t.Errorf("%s: no sites", name)
		}
	}
}

func count(g *graph.Graph, want func(*graph.Node) bool) int {
	n := 0
	for id := range graph.NodeID(g.NumNodes()) {
		if x := g.Node(id); len(x.In) > 0 && (want == nil || want(x)) {
			n++
		}
	}
	return n
}

// TestPairOfASite: a pair has what the rule took and what it put there. What is made of
// nothing, constants and ranges, is in it; all else that it reads is a leaf, under the
// name that the rule gives it, or its own.
func TestPairOfASite(t *testing.T) {
	cfg := configOf(t, rule("r", `
    match: {a: "multiply(x, u)", b: "multiply(a, v)", c: "multiply(b, 3.0)", r: "arange(stop=3, dtype=float32)", d: "multiply(c, r)", e: "rms_norm(d, n?, eps=$eps)", y: "multiply(e, z)"}
    results: [b]
    weights: {w: "concat(u, v, axis=0)", again: "concat(u, v, axis=0)"}
    replace: {b: "kernel.both(z, w, again)", y: "multiply(b, 6.0)"}
    numerics: lossy`), map[string]string{"both": `
zmlx: 1
kernel: both
doc: Of this test.
inputs: {x: "float32[a, b]", w: "float32[..., n]", v: "float32[..., n]"}
reference: {y: "exp(x)"}
results: [y]
numerics: exact
`})
	res := rewritten(t, cfg, programOf(t, cfg, `
param m.a : float32[2, 3]
param z : float32[2, 3]
case all
  input tokens : float32[2, 3]
  a = multiply(tokens, m.a) : float32[2, 3]
  b = multiply(a, z) : float32[2, 3] @ B
  three = constant(3) : float32[]
  c = multiply(b, three) : float32[2, 3]
  r = arange(stop=3, dtype=float32) : float32[3]
  d = multiply(c, r) : float32[2, 3]
  e = rms_norm(d, eps=1) : float32[2, 3]
  s = sin(tokens) : float32[2, 3]
  y = multiply(e, s) : float32[2, 3]
  again = sin(b) : float32[2, 3]
  output y = y
  output again = again
`))
	c := &res.Cases[0]
	equal(t, "sites", applied(c), "r@B")
	for own, want := range map[bool]struct{ before, after, leaves string }{
		false: {`
  param u : float32[2, 3]
  param v : float32[2, 3]
  input x : float32[2, 3]
  input z : float32[2, 3]
  v0 = multiply(x, u) : float32[2, 3]
  v1 = multiply(v0, v) : float32[2, 3]
  v2 = constant(3.0) : float32[]
  v3 = multiply(v1, v2) : float32[2, 3]
  v4 = arange(stop=3, dtype=float32) : float32[3]
  v5 = multiply(v3, v4) : float32[2, 3]
  v6 = rms_norm(v5, eps=1.0) : float32[2, 3]
  v7 = multiply(v6, z) : float32[2, 3]
  output b = v1
  output y = v7
`, `
  param w : float32[4, 3]
  input z : float32[2, 3]
  v0 = kernel.both(z, w, w) : float32[2, 3]
  v1 = constant(6.0) : float32[]
  v2 = multiply(v0, v1) : float32[2, 3]
  output b = v0
  output y = v2
`, "x u=m.a v=z z w=m.a+z"},
		true: {`
  param m.a : float32[2, 3]
  param z : float32[2, 3]
  input x : float32[2, 3]
  input z.1 : float32[2, 3]
  v0 = multiply(x, m.a) : float32[2, 3]
  v1 = multiply(v0, z) : float32[2, 3]
  v2 = constant(3.0) : float32[]
  v3 = multiply(v1, v2) : float32[2, 3]
  v4 = arange(stop=3, dtype=float32) : float32[3]
  v5 = multiply(v3, v4) : float32[2, 3]
  v6 = rms_norm(v5, eps=1.0) : float32[2, 3]
  v7 = multiply(v6, z.1) : float32[2, 3]
  output b = v1
  output y = v7
`, `
  param @m.a+z@ : float32[4, 3]
  input z.1 : float32[2, 3]
  v0 = kernel.both(z.1, @m.a+z@, @m.a+z@) : float32[2, 3]
  v1 = constant(6.0) : float32[]
  v2 = multiply(v0, v1) : float32[2, 3]
  output b = v0
  output y = v2
`, "x m.a=m.a z=z z.1 m.a+z=m.a+z"},
	} {
		pair, err := c.Sites[0].Pair(own)
		if err != nil {
			t.Fatal(err)
		}
		text := func(g *graph.Graph) string { return "\n" + strings.ReplaceAll(g.String(), "`", "@") }
		equal(t, "before", text(pair.Before), want.before)
		equal(t, "after", text(pair.After), want.after)
		var leaves []string
		for _, l := range pair.Leaves {
			text := l.Name
			if l.Param != "" {
				text += "=" + l.Param
			}
			if (l.Value == graph.None) != (l.Param == "m.a+z") {
				t.Errorf("leaf %s is value %d of the graph", l.Name, l.Value)
			}
			leaves = append(leaves, text)
		}
		equal(t, "leaves", strings.Join(leaves, " "), want.leaves)
	}
}

// TestKeep: what a plan applies is the same each time, and so is each part of it. Any prefix
// of a case's applications gives exactly these, all of them the plan itself, none the
// program as it was.
func TestKeep(t *testing.T) {
	p := reference(t, "Qwen3-30B-A3B-4bit")
	p.Cases = p.Cases[:1]
	cfg := config(t)
	res, err := Run(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var plan []SiteID
	for _, c := range res.Cases {
		for _, s := range c.Sites {
			if !slices.Contains(plan, s.ID) {
				plan = append(plan, s.ID)
			}
		}
	}
	rounds := 0
	for _, id := range plan {
		rounds = max(rounds, id.Round)
	}
	if rounds < 2 {
		t.Fatalf("a plan of %d rounds, too simple for this test", rounds)
	}
	for _, n := range []int{0, 1, 7, len(plan) / 2, len(plan) - 1, len(plan)} {
		only := *cfg
		only.Keep = func(id SiteID) bool { return slices.Contains(plan[:n], id) }
		part, err := Run(p, &only)
		if err != nil {
			t.Fatal(err)
		}
		if err := part.Program.Verify(); err != nil {
			t.Fatal(err)
		}
		var got []SiteID
		for _, c := range part.Cases {
			for _, s := range c.Sites {
				if !slices.Contains(got, s.ID) {
					got = append(got, s.ID)
				}
			}
		}
		if !slices.Equal(got, plan[:n]) {
			t.Errorf("of %d applications, the first %d were asked for, %d applied: %v", len(plan), n, len(got), got[:min(3, len(got))])
		}
		if n == len(plan) && part.Program.Hash() != res.Program.Hash() {
			t.Error("all applications are another program than the plan")
		}
		if n == 0 {
			for _, c := range part.Cases {
				if c.After.Hash() != c.Before.Hash() {
					t.Errorf("case %s was changed", c.Name)
				}
			}
		}
	}
}
