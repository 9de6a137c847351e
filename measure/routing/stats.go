package routing

import (
	"cmp"
	"math"
	"slices"
)

// Token is what one token was sent to in one layer.
type Token struct {
	IDs     []int
	Weights []float64 // of each id; nil if not known
}

// Trace is the routing of a text: of each layer, of each token.
type Trace [][]Token

// Stats are a layer's figures over a text. The JSON form is a contract: fields may be added,
// these stay.
type Stats struct {
	Layer    string    `json:"layer" jsonschema:"name"`
	Experts  int       `json:"experts" jsonschema:"in all"`
	K        int       `json:"k" jsonschema:"experts of one token"`
	Tokens   int       `json:"tokens" jsonschema:"that were fed"`
	Counts   []int     `json:"counts" jsonschema:"how often each expert was chosen"`
	Weights  []float64 `json:"weights,omitempty" jsonschema:"sum of the weights of each expert; absent if they are not known"`
	Entropy  float64   `json:"entropy" jsonschema:"bits, of the counts"`
	Balance  float64   `json:"balance" jsonschema:"entropy over the most that it can be"`
	Load     float64   `json:"max_over_mean" jsonschema:"of the counts"`
	Unused   int       `json:"unused" jsonschema:"experts that were never chosen"`
	Mixing   float64   `json:"weight_entropy" jsonschema:"bits, of the weights of a token, mean"`
	Together []Pair    `json:"together,omitempty" jsonschema:"experts most often chosen for the same token"`
	Cut      bool      `json:"interrupted,omitempty" jsonschema:"ctrl-C ended it before all of the text was fed"`
}

// Pair is two experts and for how many tokens both were chosen; Lift says how many times more
// often than if they were chosen independently.
type Pair struct {
	A     int     `json:"a" jsonschema:"expert"`
	B     int     `json:"b" jsonschema:"another, of a larger number"`
	Count int     `json:"count" jsonschema:"tokens that both were chosen for"`
	Lift  float64 `json:"lift" jsonschema:"how many times more often than if they were chosen independently"`
}

// pairs is how many pairs are kept of a layer.
const pairs = 8

// Sum adds a layer up.
func Sum(name string, experts, k int, tokens []Token) Stats {
	s := Stats{Layer: name, Experts: experts, K: k, Tokens: len(tokens), Counts: make([]int, experts)}
	together := map[[2]int]int{}
	for _, t := range tokens {
		for i, id := range t.IDs {
			s.Counts[id]++
			if t.Weights != nil {
				if s.Weights == nil {
					s.Weights = make([]float64, experts)
				}
				s.Weights[id] += t.Weights[i]
			}
			for _, other := range t.IDs[:i] {
				together[[2]int{min(id, other), max(id, other)}]++
			}
		}
		s.Mixing += entropy(t.Weights) / float64(len(tokens))
	}
	counts := make([]float64, experts)
	for i, n := range s.Counts {
		counts[i] = float64(n)
	}
	s.Load, s.Unused = Load(s.Counts)
	s.Entropy, s.Balance = Entropy(s.Counts)
	for p, n := range together {
		expected := counts[p[0]] * counts[p[1]] / float64(len(tokens))
		s.Together = append(s.Together, Pair{p[0], p[1], n, float64(n) / expected})
	}
	slices.SortFunc(s.Together, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	s.Together = s.Together[:min(pairs, len(s.Together))]
	return s
}

// Entropy is that of how often each expert was chosen, in bits, and its share of the most that
// it can be.
func Entropy(counts []int) (bits, balance float64) {
	list := make([]float64, len(counts))
	for i, n := range counts {
		list[i] = float64(n)
	}
	bits = entropy(list)
	if len(counts) > 1 {
		balance = bits / math.Log2(float64(len(counts)))
	}
	return bits, balance
}

// Load is how many times more often the most popular expert was chosen than the mean one, and
// how many never were.
func Load(counts []int) (mostOverMean float64, unused int) {
	sum, most := 0, 0
	for _, n := range counts {
		sum, most = sum+n, max(most, n)
		if n == 0 {
			unused++
		}
	}
	if sum > 0 {
		mostOverMean = float64(most) * float64(len(counts)) / float64(sum)
	}
	return mostOverMean, unused
}

// entropy of numbers that need not add up to 1, in bits. Those below zero do not count.
func entropy(list []float64) float64 {
	sum := 0.0
	for _, x := range list {
		sum += max(x, 0)
	}
	h := 0.0
	for _, x := range list {
		if x > 0 {
			h -= x / sum * math.Log2(x/sum)
		}
	}
	return h
}

// Difference says how two traces of the same text differ.
type Difference struct {
	Tokens int     // compared: of all layers
	Other  int     // of them sent to other experts
	First  int     // first position in the text with one; -1 if there is none
	Layer  int     // of it
	Weight float64 // the largest difference of weights where the experts are the same
}

// First are the first n tokens of a trace, or as many as it has.
func (t Trace) First(n int) Trace {
	out := make(Trace, len(t))
	for i := range t {
		out[i] = t[i][:min(n, len(t[i]))]
	}
	return out
}

// Compare compares which experts were chosen, in whatever order, and their weights.
func Compare(a, b Trace) Difference {
	d := Difference{First: -1, Layer: -1}
	for layer := range a {
		for i := range a[layer] {
			x, y := a[layer][i].sorted(), b[layer][i].sorted()
			d.Tokens++
			if !slices.Equal(x.IDs, y.IDs) {
				d.Other++
				if d.First < 0 || i < d.First {
					d.First, d.Layer = i, layer
				}
				continue
			}
			for k := range min(len(x.Weights), len(y.Weights)) {
				if w := math.Abs(x.Weights[k] - y.Weights[k]); w > d.Weight || math.IsNaN(w) {
					d.Weight = w
				}
			}
		}
	}
	return d
}

func (t Token) sorted() Token {
	order := make([]int, len(t.IDs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(t.IDs[a], t.IDs[b]) })
	var out Token
	for _, i := range order {
		out.IDs = append(out.IDs, t.IDs[i])
		if t.Weights != nil {
			out.Weights = append(out.Weights, t.Weights[i])
		}
	}
	return out
}

// Top returns the n experts that were chosen most often.
func (s *Stats) Top(n int) []int {
	order := make([]int, s.Experts)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.Counts[b], s.Counts[a]) })
	return order[:min(n, len(order))]
}
