package decode

import "math"

// Errors is how far the logits of a generation are from those of a float32 run that was
// fed the same tokens.
type Errors struct {
	// Steps has, for each step, the largest difference over the whole vocabulary.
	Steps []float64
	// RMS is the root of the mean square of the differences of all steps.
	RMS float64
}

// MeasureErrors compares logits step by step with those of truth, which saw the same tokens.
func MeasureErrors(run, truth []Step) Errors {
	var e Errors
	sum, n := 0.0, 0
	for i := range min(len(run), len(truth)) {
		most := 0.0
		for k := range min(len(run[i].Logits), len(truth[i].Logits)) {
			n++
			if run[i].Logits[k] == truth[i].Logits[k] { // infinite ones, too
				continue
			}
			d := math.Abs(float64(run[i].Logits[k]) - float64(truth[i].Logits[k]))
			most = max(most, d) // NaN if one of them is
			sum += d * d
		}
		e.Steps = append(e.Steps, most)
	}
	if n > 0 {
		e.RMS = math.Sqrt(sum / float64(n))
	}
	return e
}

// Follow returns a Sampler that takes the given tokens, one after the other, whatever the
// logits are: a generation of no more tokens is then fed what another one made.
func Follow(tokens []int) Sampler { return &follow{tokens} }

type follow struct{ rest []int }

func (f *follow) Sample([]float32) int {
	next := f.rest[0]
	f.rest = f.rest[1:]
	return next
}
