package whole

import (
	"math"
	"strings"
	"testing"

	"zmlx-rewrite/decode"
)

func steps(rows ...[]float32) []decode.Step {
	var list []decode.Step
	for _, r := range rows {
		best := 0
		for k, v := range r {
			if v > r[best] {
				best = k
			}
		}
		list = append(list, decode.Step{ID: best, Logits: r})
	}
	return list
}

// TestCompare: what counts as the same, and what does not.
func TestCompare(t *testing.T) {
	nan := float32(math.NaN())
	inf := float32(math.Inf(-1))
	// The unrewritten model, and the same in float32: it is off by 0.25 at most.
	a, truth := steps([]float32{4, 1, 0}, []float32{2, 1.75, 0}, []float32{0, 5, 1}), steps([]float32{4.25, 1, 0}, []float32{1.75, 2, 0}, []float32{0, 5, 1.25})
	for _, c := range []struct {
		name  string
		a, b  []decode.Step
		truth []decode.Step
		want  Verdict
		why   string
		first int
	}{
		{name: "the same bits", a: a, b: a, truth: truth, want: BitExact, first: -1},
		{name: "as good", a: a, b: steps([]float32{4.25, 1, 0}, []float32{2, 1.75, 0.125}, []float32{0, 5, 1}), truth: truth, want: Identical, first: -1},
		{name: "a near tie", a: a, b: steps([]float32{4, 1, 0}, []float32{1.75, 2, 0}), truth: truth, want: NearTie, first: 1},
		{name: "no near tie", a: a, b: steps([]float32{4, 1, 0}, []float32{2, 1.75, 0}, []float32{0, 5, 5.5}), truth: truth, want: Differs, first: 2},
		{name: "not near enough", a: steps([]float32{2, 1.25, 0, 0, 0, 0}), b: steps([]float32{1.5, 1.75, 0.25, 0.25, 0.25, 0.25}),
			truth: steps([]float32{2.25, 1.5, 0.25, 0.25, 0.25, 0.25}), want: Differs, why: "it prefers token 1", first: 0},
		{name: "the same tokens, other logits", a: a, b: steps([]float32{9, 1, 0}, []float32{2, 1.75, 0}, []float32{0, 5, 1}), truth: truth, want: Differs, why: "more than 1.5 times", first: -1},
		{name: "no number", a: a, b: steps([]float32{4, nan, 0}, []float32{2, 1.75, 0}, []float32{0, 5, 1}), truth: truth, want: Differs, why: "NaN", first: -1},
		{name: "a text that ends", a: a, b: a[:2], truth: truth, want: Differs, why: "longer", first: 2},
		{name: "tokens that are never chosen", a: steps([]float32{1, inf, 0}), b: steps([]float32{1.001, inf, 0}), truth: steps([]float32{1.01, inf, 0}), want: Identical, first: -1},
		// In float32 the model is its own measure.
		{name: "float32", a: a, b: steps([]float32{4, 1, 1e-5}, []float32{2, 1.75, 0}, []float32{0, 5, 1}), want: Identical, first: -1},
		{name: "float32, too far", a: a, b: steps([]float32{4, 1, 1e-3}, []float32{2, 1.75, 0}, []float32{0, 5, 1}), want: Differs, why: "in float32", first: -1},
		{name: "float32, no near tie", a: a, b: steps([]float32{4, 1, 0}, []float32{1.75, 2, 0}), want: Differs, first: 1},
	} {
		got := Compare(c.a, c.b, c.truth)
		if got.Verdict != c.want || got.First != c.first || !strings.Contains(got.Why, c.why) || (got.Why == "") != (c.want != Differs) {
			t.Errorf("%s: %s at %d (%s), not %s at %d", c.name, got.Verdict, got.First, got.Why, c.want, c.first)
		}
	}
}

// TestCompareLed: what comes behind the step where tokens part counts against float32, too.
func TestCompareLed(t *testing.T) {
	a, truth := steps([]float32{2, 1.75, 0}, []float32{4, 1, 0}, []float32{0, 5, 1}), steps([]float32{1.75, 2, 0}, []float32{4.25, 1, 0}, []float32{0, 5, 1.25})
	b := steps([]float32{1.75, 2, 0}, []float32{9, 9, 9})
	good, bad := steps([]float32{1.75, 2, 0}, []float32{4.25, 1, 0}, []float32{0, 5, 1}), steps([]float32{1.75, 2, 0}, []float32{4.25, 1, 3}, []float32{0, 5, 1})
	if c := CompareLed(a, b, good, truth); c.Verdict != NearTie || !c.Closer() || !c.Tie || c.First != 0 || c.StepError != 0.25 {
		t.Errorf("as good behind it: %+v", c)
	}
	if c := CompareLed(a, b, bad, truth); c.Verdict != Differs || c.Closer() || !c.Tie || !strings.Contains(c.Why, "more than 1.5 times") {
		t.Errorf("worse behind it: %+v", c)
	}
	if c := Compare(a, b, truth); c.Verdict != NearTie {
		t.Errorf("up to there: %+v", c)
	}
	if Tied(0, math.NaN()) || Tied(math.NaN(), 1) || !Tied(0.5, 0.5) || Tied(0.51, 0.5) {
		t.Error("what a tie is")
	}
}
