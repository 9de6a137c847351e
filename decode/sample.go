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
	"zmlx-rewrite/graph/syntax"
)

// Sampler chooses a token from logits of the whole vocabulary.
type Sampler interface{ Sample(logits []float32) int }

// Sampling draws tokens at random, with the meaning of mlx-lm's flags: top_p, min_p
// and top_k cut the distribution in that order, temp flattens what is left.
type Sampling struct {
	Temp float64 // above 0
	TopP float64 // 0 or 1: off
	MinP float64 // 0: off; a share of the largest probability
	TopK int     // 0: off
	rng  *rand.Rand
}

// NewSampling returns a sampler; the same seed draws the same tokens. It returns
// an error for values without a meaning.
func NewSampling(temp, topP, minP float64, topK int, seed uint64) (*Sampling, error) {
	switch {
	case !(temp > 0) || math.IsInf(temp, 0):
		return nil, fmt.Errorf("temperature %v is not above 0", temp)
	case topP < 0 || topP > 1 || math.IsNaN(topP):
		return nil, fmt.Errorf("top_p %v is not between 0 and 1", topP)
	case minP < 0 || minP > 1 || math.IsNaN(minP):
		return nil, fmt.Errorf("min_p %v is not between 0 and 1", minP)
	case topK < 0:
		return nil, fmt.Errorf("top_k %d is below 0", topK)
	}
	return &Sampling{temp, topP, minP, topK, rand.New(rand.NewPCG(seed, seed))}, nil
}

// Sample implements Sampler.
func (s *Sampling) Sample(logits []float32) int {
	type cand struct {
		id int
		p  float64 // log-probability, then probability
	}
	most := slices.Max(logits)
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x - most))
	}
	all := make([]cand, len(logits))
	for i, x := range logits {
		all[i] = cand{i, float64(x-most) - math.Log(sum)}
	}
	slices.SortStableFunc(all, func(a, b cand) int { return cmp.Compare(b.p, a.p) })
	keep := len(all)
	if s.TopP > 0 && s.TopP < 1 {
		total := 0.0
		for i := range all {
			if total += math.Exp(all[i].p); total >= s.TopP {
				keep = i + 1
				break
			}
		}
	}
	if s.MinP > 0 {
		least := all[0].p + math.Log(s.MinP)
		for keep > 1 && all[keep-1].p < least {
			keep--
		}
	}
	if s.TopK > 0 {
		keep = min(keep, s.TopK)
	}
	all = all[:keep]
	sum = 0
	for i, top := 0, all[0].p; i < len(all); i++ {
		all[i].p = math.Exp((all[i].p - top) / s.Temp)
		sum += all[i].p
	}
	x := s.rng.Float64() * sum
	for _, c := range all {
		if x -= c.p; x < 0 {
			return c.id
		}
	}
	return all[len(all)-1].id
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

// defines parses name and expression pairs.
func defines(pairs ...string) ([]graph.Define, error) {
	var lines []graph.Define
	for i := 0; i < len(pairs); i += 2 {
		e, err := syntax.Parse(pairs[i+1])
		if err != nil {
			return nil, err
		}
		lines = append(lines, graph.Define{Names: []string{pairs[i]}, Expr: e})
	}
	return lines, nil
}
