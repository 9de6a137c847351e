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
