package decode

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// Sampler chooses a token from the log-probabilities of the whole vocabulary, which it
// may change.
type Sampler interface{ Sample(logprobs []float32) int }

// Sampling draws tokens at random, with the meaning of mlx-lm's flags: top_p, min_p, xtc and
// top_k cut the distribution in that order, temp flattens what is left. What is cut is
// what mlx_lm/sample_utils.py cuts; the random numbers are our own.
type Sampling struct {
	Temp float64 // above 0
	TopP float64 // 0 or 1: off
	MinP float64 // 0: off; a share of the largest probability
	// MinKeep tokens, at least 1, stay whatever MinP says.
	MinKeep int
	TopK    int // 0: off
	// XTCProbability of the draws, 0 for none, have only the least likely of the tokens above
	// XTCThreshold, and those below it. XTCKeep are tokens that stay whatever that says.
	XTCProbability, XTCThreshold float64
	XTCKeep                      []int
	// Type is the element type of the log-probabilities, in which MLX computes what MinP
	// and XTCThreshold are compared with. None is float32.
	Type graph.DType
	rng  *rand.Rand
}

// NewSampling returns a sampler; the same seed draws the same tokens. It returns
// an error for values without a meaning.
func NewSampling(s Sampling, seed uint64) (*Sampling, error) {
	switch {
	case !(s.Temp > 0) || math.IsInf(s.Temp, 0):
		return nil, fmt.Errorf("temperature %v is not above 0", s.Temp)
	case s.TopP < 0 || s.TopP > 1 || math.IsNaN(s.TopP):
		return nil, fmt.Errorf("top_p %v is not between 0 and 1", s.TopP)
	case s.MinP < 0 || s.MinP > 1 || math.IsNaN(s.MinP):
		return nil, fmt.Errorf("min_p %v is not between 0 and 1", s.MinP)
	case s.MinKeep < 1:
		return nil, fmt.Errorf("min_tokens_to_keep %d is below 1", s.MinKeep)
	case s.TopK < 0:
		return nil, fmt.Errorf("top_k %d is below 0", s.TopK)
	case !(s.XTCProbability >= 0 && s.XTCProbability <= 1):
		return nil, fmt.Errorf("xtc_probability %v is not between 0 and 1", s.XTCProbability)
	case !(s.XTCThreshold >= 0 && s.XTCThreshold <= 0.5):
		return nil, fmt.Errorf("xtc_threshold %v is not between 0 and 0.5", s.XTCThreshold)
	}
	s.rng = rand.New(rand.NewPCG(seed, seed))
	return &s, nil
}

var none = float32(math.Inf(-1))

// Filter sets the log-probability of tokens that are cut to minus infinity. It draws a
// random number if XTC may cut.
func (s *Sampling) Filter(logprobs []float32) {
	if s.TopP > 0 && s.TopP < 1 {
		s.topP(logprobs)
	}
	if s.MinP > 0 {
		s.minP(logprobs)
	}
	if s.XTCProbability > 0 && s.rng.Float64() <= s.XTCProbability {
		s.xtc(logprobs)
	}
	if s.TopK > 0 && s.TopK < len(logprobs) {
		for _, i := range largestFirst(logprobs)[s.TopK:] {
			logprobs[i] = none
		}
	}
}

// topP keeps tokens as long as those above them have less than TopP of the mass, and
// whatever is as likely as the last of them.
func (s *Sampling) topP(logprobs []float32) {
	sorted := slices.Clone(logprobs)
	slices.Sort(sorted)
	above := make([]float32, len(sorted)) // the mass of larger ones, in float32 as MLX adds it up
	var mass float32
	for i := len(sorted) - 1; i >= 0; i-- {
		above[i] = mass
		mass += float32(math.Exp(float64(sorted[i])))
	}
	least, dropped := float32(s.TopP)*mass, 0
	for _, a := range above {
		if a >= least {
			dropped++
		}
	}
	threshold := sorted[min(dropped, len(sorted)-1)]
	for i, x := range logprobs {
		if x < threshold {
			logprobs[i] = none
		}
	}
}

func (s *Sampling) minP(logprobs []float32) {
	least := s.round(s.round(math.Log(s.MinP)) + float64(slices.Max(logprobs)))
	var keep []int
	if s.MinKeep > 1 {
		keep = largestFirst(logprobs)[:min(s.MinKeep, len(logprobs))]
	}
	for i, x := range logprobs {
		if float64(x) < least && !slices.Contains(keep, i) {
			logprobs[i] = none
		}
	}
}

// xtc cuts the tokens that are likelier than the least likely one above the threshold.
func (s *Sampling) xtc(logprobs []float32) {
	probs := s.softmax(logprobs)
	threshold, least := s.round(s.XTCThreshold), math.Inf(1)
	for _, p := range probs {
		if p > threshold {
			least = min(least, p)
		}
	}
	for i, p := range probs {
		if p > least && !slices.Contains(s.XTCKeep, i) {
			logprobs[i] = none
		}
	}
}

// softmax rounds as MLX's on a CPU, which adds up in the element type: what is equal there
// decides what XTC cuts.
func (s *Sampling) softmax(logprobs []float32) []float64 {
	probs, most, sum := make([]float64, len(logprobs)), float64(slices.Max(logprobs)), 0.0
	for i, x := range logprobs {
		probs[i] = s.round(math.Exp(s.round(float64(x) - most)))
		sum = s.round(sum + probs[i])
	}
	norm := s.round(1 / sum)
	for i := range probs {
		probs[i] = s.round(probs[i] * norm)
	}
	return probs
}

// round rounds to the element type of the log-probabilities.
func (s *Sampling) round(x float64) float64 {
	t := s.Type
	if t != graph.Float16 && t != graph.BFloat16 {
		t = graph.Float32
	}
	return graph.DecodeElem(t, graph.AppendElem(nil, t, float64(float32(x))))
}

// largestFirst returns all indices, the most likely first, the lowest among equals.
func largestFirst(logprobs []float32) []int {
	order := make([]int, len(logprobs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(logprobs[b], logprobs[a]) })
	return order
}

// Sample implements Sampler.
func (s *Sampling) Sample(logprobs []float32) int {
	s.Filter(logprobs)
	most, sum := float64(slices.Max(logprobs)), 0.0
	weights := make([]float64, len(logprobs))
	for i, x := range logprobs {
		weights[i] = math.Exp((float64(x) - most) / s.Temp)
		sum += weights[i]
	}
	x, last := s.rng.Float64()*sum, 0
	for i, w := range weights {
		if w == 0 {
			continue
		}
		last = i
		if x -= w; x < 0 {
			break
		}
	}
	return last
}

func floats(t engine.Tensor) ([]float32, error) {
	data, err := t.Read()
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}
