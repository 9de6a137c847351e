package proof

import (
	"context"
	"fmt"
	"testing"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rules"
)

// TestShippedRulesAreEquivalent holds every rule that ships against what it replaces.
func TestShippedRulesAreEquivalent(t *testing.T) {
	eachShipped(t, func(set *rules.Set, r *rules.Rule, in *Instances) {
		start := time.Now()
		v := Equivalence(context.Background(), set, in.All)
		if v.Status <= Failed {
			t.Errorf("%s: %s %s %s", r.Name, v.Status, v.Code, v.Detail)
		}
		t.Log(r.Name, len(in.All), v.Status, v.Method, v.Count, v.Why, time.Since(start).Round(time.Millisecond))
	})
}

// TestUnsupportedOpsAreSampled: an op that has no meaning in a field is compared on
// engine/ref, and what is wrong behind it is found.
func TestUnsupportedOpsAreSampled(t *testing.T) {
	const text = "zmlx 1\nprogram p\ncase all\n  input x : float32[4]\n  a = view(x, dtype=int32) : int32[4]\n  b = view(a, dtype=float32) : float32[4]\n  y = %s(b) : float32[4]\n  output y = y\n"
	parse := func(op string) *graph.Graph {
		p, issues := graph.ParseText("p.zg", fmt.Appendf(nil, text, op), nil)
		if issues.HasErrors() {
			t.Fatal(issues)
		}
		return p.Cases[0].Graph
	}
	for op, want := range map[string]Status{"tanh": Tested, "sigmoid": Failed} {
		p := &pair{in: &Instance{Program: &graph.Program{}}, before: parse("tanh"), after: parse(op)}
		v := &Verdict{Status: Proven}
		for i := range points {
			if _, stop := v.point(t.Context(), p, i, map[string]bool{}); stop {
				break
			}
		}
		if v.Status != want || v.Method != methodRounded {
			t.Errorf("tanh and %s: %s by %s: %s", op, v.Status, v.Method, v.Detail)
		}
	}
}
