package decode

import (
	"context"
	"math"
	"slices"
	"testing"
)

func TestMeasure(t *testing.T) {
	truth := []Step{{0, []float32{1, 2, 3}}, {1, []float32{4, 0, 0}}}
	run := []Step{{0, []float32{1, 2.5, 3}}, {1, []float32{4, 0, -1}}, {2, []float32{9, 9, 9}}}
	e := MeasureErrors(run, truth)
	if !slices.Equal(e.Steps, []float64{0.5, 1}) || math.Abs(e.RMS-math.Sqrt(1.25/6)) > 1e-12 {
		t.Errorf("%+v", e)
	}
	nan := float32(math.NaN())
	for _, logits := range [][]float32{{nan, 0, 0}, {0, nan, 0}, {0, 9, nan}} {
		if e := MeasureErrors([]Step{{0, logits}}, truth[:1]); !math.IsNaN(e.Steps[0]) || !math.IsNaN(e.RMS) {
			t.Errorf("%v: %+v", logits, e)
		}
	}
	never := float32(math.Inf(-1)) // a token that is never chosen
	if e := MeasureErrors([]Step{{0, []float32{1, never}}}, []Step{{0, []float32{1.5, never}}}); e.Steps[0] != 0.5 || math.IsNaN(e.RMS) {
		t.Errorf("beside a token that is never chosen: %+v", e)
	}
}

// TestDivergence: KL of two coins by hand, a constant added to all logits changes nothing but
// the logits, and what is no number is not taken for nothing.
func TestDivergence(t *testing.T) {
	log := func(x float64) float32 { return float32(math.Log(x)) }
	a := []Step{{0, []float32{log(0.5), log(0.5)}}, {0, []float32{3, 1}}}
	b := []Step{{0, []float32{log(0.9), log(0.1)}}, {0, []float32{5, 3}}}
	want := 0.5*math.Log(0.5/0.9) + 0.5*math.Log(0.5/0.1)
	if d := MeasureDivergence(a, b); math.Abs(d.Max-want) > 1e-6 || math.Abs(d.Mean-want/2) > 1e-6 || d.Step != 0 || d.Logit != 2 {
		t.Errorf("%+v, want a maximum of %v", d, want)
	}
	if d := MeasureDivergence(b, a); math.Abs(d.Max-(0.9*math.Log(0.9/0.5)+0.1*math.Log(0.1/0.5))) > 1e-6 {
		t.Errorf("seen from the other side: %+v", d)
	}
	nan, never := float32(math.NaN()), float32(math.Inf(-1))
	if d := MeasureDivergence(a, []Step{{0, []float32{nan, 0}}, b[1]}); !math.IsNaN(d.Max) || !math.IsNaN(d.Mean) || !math.IsNaN(d.Logit) {
		t.Errorf("%+v", d)
	}
	if d := MeasureDivergence([]Step{{0, []float32{0, never}}}, []Step{{0, []float32{0, never}}}); d.Max != 0 || d.Logit != 0 {
		t.Errorf("a token that neither takes: %+v", d)
	}
	if d := MeasureDivergence([]Step{{0, []float32{0, 0}}}, []Step{{0, []float32{0, never}}}); !math.IsInf(d.Max, 1) {
		t.Errorf("a token that only the first takes: %+v", d)
	}
}

// A model that follows its own text computes what it computed.
func TestFollow(t *testing.T) {
	m, ctx := newModel(t), context.Background()
	run := func(tokens Sampler) (*Result, []Step) {
		var list []Step
		r, err := m.generator(t).Generate(ctx, []int{3, 14, 15}, Options{MaxTokens: 6, Logits: true, Sampler: tokens, OnToken: func(tok Token) error {
			list = append(list, Step(tok))
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r, list
	}
	r, free := run(nil)
	same, forced := run(Follow(r.Tokens))
	if c := Compare(free, forced); !slices.Equal(same.Tokens, r.Tokens) || !c.Exact || c.First >= 0 {
		t.Errorf("%v follows %v: %+v", same.Tokens, r.Tokens, c)
	}
	other := slices.Clone(r.Tokens)
	other[2] = (other[2] + 1) % vocab
	led, forced := run(Follow(other))
	if c := Compare(free, forced); !slices.Equal(led.Tokens, other) || c.First != 2 || !c.Exact {
		t.Errorf("%v follows %v: %+v", led.Tokens, other, c)
	}
	if slices.Equal(forced[3].Logits, free[3].Logits) {
		t.Error("the token that was taken makes no difference")
	}
}
