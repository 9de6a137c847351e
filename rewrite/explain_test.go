package rewrite

import (
	"fmt"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// refusalsOf rewrites a graph by one rule and lists where it did not apply: scope, code,
// how many nodes of the pattern matched, the line where that stopped.
func refusalsOf(t *testing.T, rule, text string, off map[string]string) (applied int, list []string) {
	t.Helper()
	set, err := setOf(t, "zmlx: 1\nfamily: test\nrules:\n  - name: r\n    doc: A rule of this test.\n    numerics: exact"+rule, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\ncase all\n"+text), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	res, err := Run(p, &Config{Set: set, Rules: set.Rules(), Off: off, Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res.Cases[0].Refusals(set.Rule("test.r")) {
		list = append(list, fmt.Sprintf("%s %s %d/%d %s", r.Scope, r.Code, r.Matched, r.Of, r.Line()))
	}
	return len(res.Cases[0].Sites), list
}

const nearlyTwice = `  input x : float32[4]
  a = exp(x) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = exp(b) : float32[4] @ C
  d = sigmoid(c) : float32[4] @ D
  e = negative(d) : float32[4] @ E
  f = exp(e) : float32[4] @ F
  output f = f
`

// TestNearMisses: a place where a pattern nearly matches is told, with how far it got, and
// one where it matches is not.
func TestNearMisses(t *testing.T) {
	const rule = "\n    match: {m: exp(x), y: negative(m)}\n    replace: {y: negative(x)}\n"
	n, list := refusalsOf(t, rule, nearlyTwice, nil)
	if want := []string{"E match/op 1/2 m"}; n != 1 || !slices.Equal(list, want) {
		t.Errorf("applied %d times, refused at %q, not %q", n, list, want)
	}
	n, list = refusalsOf(t, rule, nearlyTwice, map[string]string{"test.r": "it is off"})
	if want := []string{"B plan/off 2/2 ", "E match/op 1/2 m"}; n != 0 || !slices.Equal(list, want) {
		t.Errorf("off: applied %d times, refused at %q, not %q", n, list, want)
	}
}

// TestRowsOfAttention: kv_len of a guard is what attention sees, said or not.
func TestRowsOfAttention(t *testing.T) {
	const rule = "\n    match: {y: 'negative(a)', z: 'exp(y)'}\n    guards: {rows: kv_len <= 5}\n    replace: {z: exp(a)}\n"
	for rows, applied := range map[string]int{"5": 1, "6": 0} {
		for _, at := range []string{"", ", kv_len=" + rows} {
			cap := rows
			if at != "" {
				cap = "9"
			}
			n, list := refusalsOf(t, rule, `  input q : float32[1, 2, 1, 4]
  input k : float32[1, 2, `+cap+`, 4]
  a = sdpa(q, k, k, scale=1.0`+at+`) : float32[1, 2, 1, 4] @ A
  y = negative(a) : float32[1, 2, 1, 4] @ Y
  z = exp(y) : float32[1, 2, 1, 4] @ Z
  output z = z
`, nil)
			if n != applied {
				t.Errorf("%s rows%s: applied %d times; %q", rows, at, n, list)
			}
		}
	}
}
