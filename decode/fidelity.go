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

// Divergence is how far the probabilities of a generation are from those of another one that
// was fed the same tokens: the Kullback-Leibler divergence of each step, in nats.
type Divergence struct {
	Mean, Max float64
	Step      int     // of Max; -1 if there are no steps
	Logit     float64 // the largest difference of a logit
}

// MeasureDivergence compares the distributions that logits stand for, those of b seen from a.
func MeasureDivergence(a, b []Step) Divergence {
	d := Divergence{Step: -1}
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i].Logits, b[i].Logits
		lx, ly := logSum(x), logSum(y)
		kl := 0.0
		for k := range min(len(x), len(y)) {
			p, q := float64(x[k])-lx, float64(y[k])-ly
			if x[k] == y[k] && math.IsInf(float64(x[k]), -1) {
				continue // a token that neither can take
			}
			if w := math.Exp(p); w != 0 { // NaN counts
				kl += w * (p - q)
			}
			d.Logit = max(d.Logit, math.Abs(float64(x[k])-float64(y[k]))) // NaN if one of them is
		}
		kl = max(kl, 0) // rounding may leave less than nothing
		d.Mean += kl / float64(n)
		if d.Step < 0 || kl > d.Max || math.IsNaN(kl) {
			d.Max, d.Step = kl, i
		}
	}
	return d
}

// logSum is the logarithm of the sum of the exponentials.
func logSum(logits []float32) float64 {
	top := math.Inf(-1)
	for _, x := range logits {
		top = max(top, float64(x))
	}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	return top + math.Log(sum)
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
