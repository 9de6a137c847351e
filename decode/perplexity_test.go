package decode_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
)

// perplexities are testdata/perplexity.json: see scripts/oracle/perplexity_goldens.py.
type perplexities struct {
	Text  string
	Cases []struct {
		Model             string
		Batch             int
		Rows              [][]int
		Perplexity, Error float64
	}
}

// TestPerplexityIsMLXLM: float32 sums in another order move the seventh digit; the bound
// is ten times what they do.
func TestPerplexityIsMLXLM(t *testing.T) {
	e := ref.New()
	defer e.Close()
	testPerplexity(t, e, func(model string) bool { return model != kvSmolLM2 })
}

func testPerplexity(t *testing.T, e engine.Engine, wanted func(model string) bool) {
	text, err := os.ReadFile("testdata/perplexity.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens perplexities
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens.Cases) < 5 {
		t.Fatalf("%d cases, %v", len(goldens.Cases), err)
	}
	for _, c := range goldens.Cases {
		if !wanted(c.Model) {
			continue
		}
		t.Run(c.Model, func(t *testing.T) {
			m := kvModel(t, c.Model)
			s, err := e.Load(context.Background(), m.Program, m.Weights)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var done []int
			var last *decode.Perplexity
			got, err := decode.Measure(context.Background(), e, s, m.Program, c.Rows, c.Batch, func(n int, of *decode.Perplexity) {
				done, last = append(done, n), of
				if of.Tokens != n*(len(c.Rows[0])-1) {
					t.Errorf("%d tokens of %d rows", of.Tokens, n)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(got.Value/c.Perplexity-1) > 1e-5 || math.Abs(got.Error/c.Error-1) > 1e-4 {
				t.Errorf("%v ± %v, mlx-lm's is %v ± %v", got.Value, got.Error, c.Perplexity, c.Error)
			}
			if *last != *got {
				t.Errorf("the last that progress is told is %v, not %v", last, got)
			}
			if want := len(c.Rows) * (len(c.Rows[0]) - 1); got.Tokens != want || slices.Max(done) != len(c.Rows) || len(done) != (len(c.Rows)+c.Batch-1)/c.Batch {
				t.Errorf("%d tokens, %d are predicted; progress %v", got.Tokens, want, done)
			}
		})
	}
	for _, bad := range [][][]int{nil, {{1}}, {{1, 2}, {1, 2, 3}}, {{1, 2, 1 << 20}}} {
		m := kvModel(t, "llama-f32")
		s, err := e.Load(context.Background(), m.Program, m.Weights)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode.Measure(context.Background(), e, s, m.Program, bad, 2, nil); err == nil {
			t.Errorf("%v has a perplexity", bad)
		}
		s.Close()
	}
}
