package rewrite

import (
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// TestLeaves: leaves of a pair have the names that the rule gives them, numbered where two
// would be alike; with own names, parameters have theirs.
func TestLeaves(t *testing.T) {
	set, err := setOf(t, `
zmlx: 1
family: test
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact
    match: {a: "multiply(x, u)", b: "multiply(a, v)", y: negative(b)}
    replace: {y: "multiply(x, u)"}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, issues := graph.ParseText("test.zg", []byte(`zmlx 1
program test
param m.a : float32[4]
param m.b : float32[4]
case all
  input tokens : float32[4]
  a = multiply(tokens, m.a) : float32[4]
  b = multiply(a, m.b) : float32[4]
  y = negative(b) : float32[4]
  output out = y
`), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	res, err := Run(p, &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	for own, want := range map[bool]string{false: "u=m.a v=m.b x=", true: "m.a=m.a m.b=m.b x="} {
		pair, err := res.Cases[0].Sites[0].Pair(own)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range pair.Leaves {
			got = append(got, l.Name+"="+l.Param)
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("own %t: leaves %s, not %s", own, s, want)
		}
	}
}

// TestLeavesWithOwnNames: no two leaves have one name, also where an input has the name that
// a parameter has in the model, and where a rule makes what an earlier round made.
func TestLeavesWithOwnNames(t *testing.T) {
	set, err := setOf(t, `
zmlx: 1
family: test
rules:
  - name: first
    doc: A rule of this test.
    numerics: reordered
    match: {a: "multiply(x, u)", b: "multiply(a, v)", c: exp(b), y: negative(c)}
    weights: {w: "concat(u, v, axis=-1)"}
    replace: {h: "multiply(x, u)", i: "slice(w, axis=-1, stop=4)", y: "add(h, i)"}
  - name: second
    doc: A rule of this test.
    numerics: reordered
    match: {a: "slice(w, axis=-1, stop=4)", h: "multiply(x, u)", y: "add(h, a)", b: "multiply(y, v)", z: negative(b)}
    weights: {w2: "concat(u, v, axis=-1)"}
    replace: {i: "slice(w2, axis=-1, stop=4)", j: "slice(w, axis=-1, start=4)", k: "multiply(x, i)", z: "add(k, j)"}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, issues := graph.ParseText("test.zg", []byte(`zmlx 1
program test
param x : float32[4]
param v : float32[4]
case all
  input tokens : float32[4]
  a = multiply(tokens, x) : float32[4]
  b = multiply(a, v) : float32[4]
  c = exp(b) : float32[4]
  y = negative(c) : float32[4]
  d = multiply(y, v) : float32[4]
  z = negative(d) : float32[4]
  output out = z
`), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	res, err := Run(p, &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(res.Cases[0].Sites); n != 2 {
		t.Fatalf("%d sites, not 2", n)
	}
	for i := range res.Cases[0].Sites {
		for _, own := range []bool{false, true} {
			pair, err := res.Cases[0].Sites[i].Pair(own)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, l := range pair.Leaves {
				if seen[l.Name] {
					t.Errorf("site %d, own %t: two leaves are called %s: %+v", i, own, l.Name, pair.Leaves)
				}
				seen[l.Name] = true
				if own && l.Param != "" && l.Name != l.Param {
					t.Errorf("site %d: %s is called %s", i, l.Param, l.Name)
				}
			}
		}
	}
}
