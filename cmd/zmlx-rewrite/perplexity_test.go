package main

import (
	"testing"

	"zmlx-rewrite/decode"
)

// TestCompared: an interrupted perplexity is of samples that both programs have read, if the
// rewritten one has read any; what the unrewritten one has read in all is kept beside it.
func TestCompared(t *testing.T) {
	at := func(value float64) *decode.Perplexity {
		return &decode.Perplexity{Value: value, Error: value / 10, Tokens: int(value)}
	}
	before := map[int]*decode.Perplexity{2: at(20), 4: at(40), 5: at(50)}
	for name, x := range map[string]struct {
		before, after            map[int]*decode.Perplexity
		samples                  int
		perplexity, delta, whole float64
	}{
		"all":                 {before, map[int]*decode.Perplexity{2: at(20), 4: at(40), 5: at(55)}, 5, 50, 0.1, 0},
		"in the second":       {before, map[int]*decode.Perplexity{2: at(30)}, 2, 20, 0.5, 50},
		"between":             {before, nil, 5, 50, -1, 0},
		"in the first":        {map[int]*decode.Perplexity{2: at(20), 4: at(40)}, nil, 4, 40, -1, 0},
		"before it has begun": {nil, nil, 0, 0, 0, 0},
	} {
		got := compared(x.before, x.after, 5)
		if x.samples == 0 {
			if got != nil {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		delta := -1.0
		if got.RelativeDelta != nil {
			delta = *got.RelativeDelta
		}
		if got.Samples != x.samples || got.Perplexity != x.perplexity || delta < x.delta-1e-9 || delta > x.delta+1e-9 || got.All != x.whole || got.Tokens != int(x.perplexity) {
			t.Errorf("%s: %+v, difference %v", name, got, delta)
		}
	}
}
