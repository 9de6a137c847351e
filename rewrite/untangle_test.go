package rewrite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
)

// TestTogether: of matches with several results that need each other's, the least preferred
// is not applied, and says why. Matches of which one needs the other's results are, and
// what several are given, a range too, ties nobody.
func TestTogether(t *testing.T) {
	specs := map[string]string{"two": `
zmlx: 1
kernel: two
doc: A difference and a product.
inputs: {x: "float32[n]", y: "float32[n]", s: "float32[n]"}
reference: {p: "subtract(x, s)", q: "multiply(y, s)"}
results: [p, q]
numerics: exact
`}
	cfg := configOf(t, rule("of", `
    match: {p: "subtract(x, s)", q: "multiply(y, s)"}
    replace: {"p, q": "kernel.two(x, y, s)"}`)+rule("range", `
    match: {s: "arange(stop=4, dtype=float32)", a: sin(x), p: "subtract(a, s)", q: "multiply(y, s)"}
    results: [a]
    replace: {a: sin(x), "p, q": "kernel.two(a, y, arange(stop=4, dtype=float32))"}`)+rule("single", `
    match: {c: cos(x), y: negative(c)}
    replace: {y: cos(x)}`), specs)
	for _, c := range []struct{ name, graph, sites, cycle string }{
		{"side by side", `
  p1 = subtract(x, a) : float32[4] @ P1
  q1 = multiply(x, a) : float32[4]
  p2 = subtract(x, b) : float32[4] @ P2
  q2 = multiply(x, b) : float32[4]
  output p1 = p1
  output q1 = q1
  output p2 = p2
  output q2 = q2`, "of@P1 of@P2", ""},
		{"the second needs both results of the first", `
  p1 = subtract(x, a) : float32[4] @ P1
  q1 = multiply(x, a) : float32[4]
  e = exp(p1) : float32[4]
  p2 = subtract(e, b) : float32[4] @ P2
  q2 = multiply(q1, b) : float32[4]
  output p2 = p2
  output q2 = q2`, "of@P1 of@P2", ""},
		{"each needs the other's", `
  p1 = subtract(x, a) : float32[4] @ P1
  p2 = subtract(x, b) : float32[4] @ P2
  e1 = layer_norm(p1, none, c, eps=1) : float32[4]
  e2 = exp(p2) : float32[4]
  q2 = multiply(e1, b) : float32[4]
  q1 = multiply(e2, a) : float32[4]
  output q1 = q1
  output q2 = q2`, "1 of 2", ""},
		{"three in a ring", `
  p1 = subtract(x, a) : float32[4] @ P1
  p2 = subtract(x, b) : float32[4] @ P2
  p3 = subtract(x, c) : float32[4] @ P3
  e1 = exp(p1) : float32[4]
  e2 = exp(p2) : float32[4]
  e3 = exp(p3) : float32[4]
  q2 = multiply(e1, b) : float32[4]
  q3 = multiply(e2, c) : float32[4]
  q1 = multiply(e3, a) : float32[4]
  output q1 = q1
  output q2 = q2
  output q3 = q3`, "2 of 3", ""},
		{"the smaller of two goes", `
  s = arange(stop=4, dtype=float32) : float32[4]
  p1 = subtract(x, a) : float32[4] @ P1
  e1 = exp(p1) : float32[4]
  q2 = multiply(e1, s) : float32[4]
  i = sin(x) : float32[4] @ I
  p2 = subtract(i, s) : float32[4]
  e2 = exp(p2) : float32[4]
  q1 = multiply(e2, a) : float32[4]
  output q1 = q1
  output q2 = q2`, "range@I", "of@P1"},
		{"one with a single result, behind two that need each other's", `
  s = arange(stop=4, dtype=float32) : float32[4]
  p1 = subtract(x, a) : float32[4] @ P1
  e1 = exp(p1) : float32[4]
  q2 = multiply(e1, s) : float32[4]
  i = sin(x) : float32[4] @ I
  p2 = subtract(i, s) : float32[4]
  e2 = exp(p2) : float32[4]
  q1 = multiply(e2, a) : float32[4]
  z = add(q1, q2) : float32[4]
  v = cos(z) : float32[4]
  w = negative(v) : float32[4] @ W
  output w = w`, "range@I single@W", "of@P1"},
		{"one behind the other, with one range", `
  s = arange(stop=4, dtype=float32) : float32[4]
  i = sin(x) : float32[4] @ I
  p = subtract(i, s) : float32[4]
  q = multiply(a, s) : float32[4]
  j = sin(p) : float32[4] @ J
  p2 = subtract(j, s) : float32[4]
  q2 = multiply(i, s) : float32[4]
  t = arange(stop=2, dtype=float32) : float32[2]
  u = arange(stop=3, dtype=float32) : float32[3]
  output q = q
  output p2 = p2
  output q2 = q2
  output t = t
  output u = u`, "range@I range@J", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := rewritten(t, cfg, programOf(t, cfg, "  input x : float32[4]\n  input a : float32[4]\n  input b : float32[4]\n  input c : float32[4]\n  input d : float32[4]"+c.graph+"\n"))
			k := &res.Cases[0]
			var cycle []string
			for _, f := range k.refusals {
				if f.Code != CodeCycle {
					continue
				}
				cycle = append(cycle, f.Rule.Short()+"@"+f.Scope)
				wanted, found := f.Detail()
				equal(t, "why", wanted+"; "+found, "matches that can be applied together; this one and others need each other's results")
			}
			if n, of, ok := strings.Cut(c.sites, " of "); ok { // which of them, the graph's order decides
				if fmt.Sprint(len(k.Sites)) != n || fmt.Sprint(len(cycle)+len(k.Sites)) != of {
					t.Errorf("%s: applied at %s, not at %s", c.name, applied(k), cycle)
				}
				return
			}
			equal(t, "sites", applied(k), c.sites)
			equal(t, "not applied", strings.Join(cycle, " "), c.cycle)
		})
	}
}

// TestUntangle: of two matches that need each other's results the one that is behind in the
// order of preference is dropped, and none that stands beside them.
func TestUntangle(t *testing.T) {
	p, issues := graph.ParseText("test.zg", []byte(`zmlx 1
program test
case all
  s = arange(stop=4, dtype=float32) : float32[4]
  t = arange(stop=4, dtype=float32) : float32[4]
  p1 = subtract(s, t) : float32[4]
  p2 = multiply(s, t) : float32[4]
  q2 = exp(p1) : float32[4]
  q1 = sin(p2) : float32[4]
  r1 = cos(s) : float32[4]
  r2 = tanh(s) : float32[4]
  output q1 = q1
  output q2 = q2
  output r1 = r1
  output r2 = r2
`), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	pair := graph.New() // a replacement with two results
	for _, name := range []string{"p", "q"} {
		pair.Output(name, pair.Input(name, graph.T(graph.Float32)))
	}
	match := func(nodes ...graph.NodeID) *candidate {
		return &candidate{match: &matcher.Match{Nodes: nodes}, shape: &shape{replacement: &replacement{graph: pair}}}
	}
	first, second, beside := match(0, 2, 5), match(3, 4), match(0, 6, 7)
	g := p.Cases[0].Graph
	for _, order := range [][]*candidate{{first, second, beside}, {second, first, beside}, {beside, first, second}, {first, beside, second}} {
		kept, dropped := untangle(g, g.Uses(), slices.Clone(order))
		loser := second
		if slices.Index(order, first) > slices.Index(order, second) {
			loser = first
		}
		want := slices.DeleteFunc(slices.Clone(order), func(c *candidate) bool { return c == loser })
		if !slices.Equal(kept, want) || len(dropped) != 1 || dropped[0] != loser {
			t.Errorf("kept %d, dropped %d, or others than the less preferred", len(kept), len(dropped))
		}
	}
	if kept, dropped := untangle(g, g.Uses(), []*candidate{first, beside}); len(kept) != 2 || dropped != nil {
		t.Errorf("without the second, kept %d and dropped %d", len(kept), len(dropped))
	}
}

// TestTangled compares the ordering of parts of a graph with the ordering of all of it.
func TestTangled(t *testing.T) {
	pair := graph.New() // a replacement with two results
	for _, name := range []string{"p", "q"} {
		pair.Output(name, pair.Input(name, graph.T(graph.Float32)))
	}
	several := &shape{replacement: &replacement{graph: pair}}
	tangles := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 5))
		g := graph.New()
		values := []graph.ValueID{g.Input("x", graph.T(graph.Float32, graph.N(4)))}
		for range 10 + r.IntN(30) {
			back := func() graph.ValueID { return values[max(0, len(values)-1-r.IntN(8))] }
			out, err := g.Add(graph.LookupOp("add"), "", []graph.ValueID{back(), back()})
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, out[0])
		}
		uses := g.Uses()
		var taken []*candidate
		owned := map[graph.NodeID]bool{}
		for range 8 {
			a := graph.NodeID(1 + r.IntN(g.NumNodes()-1))
			b := min(a+1+graph.NodeID(r.IntN(6)), graph.NodeID(g.NumNodes()-1))
			c := &candidate{match: &matcher.Match{Nodes: []graph.NodeID{b, a}}, shape: several}
			alone := newOrdering(g, uses, 0, graph.NodeID(g.NumNodes()), []*candidate{c})
			if a == b || owned[a] || owned[b] || alone.stuck()[0] {
				continue // the matcher gives no such match
			}
			owned[a], owned[b] = true, true
			taken = append(taken, c)
		}
		all := newOrdering(g, uses, 0, graph.NodeID(g.NumNodes()), taken)
		want := slices.Contains(all.stuck(), true)
		if got := tangled(g, uses, taken); got != want {
			t.Fatal(fmt.Sprintf("seed %d: tangled is %t, not %t\n", seed, got, want), g)
		}
		if want {
			tangles++
		}
	}
	if tangles < 100 || tangles > 1900 {
		t.Errorf("%d of 2000 are tangled: the test says little", tangles)
	}
}
