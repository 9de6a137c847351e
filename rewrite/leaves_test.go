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
