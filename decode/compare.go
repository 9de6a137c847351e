package decode

import "math"

// Comparison says where two generations of the same prompt part.
type Comparison struct {
	Steps int // tokens compared
	// First is the first step whose tokens differ, -1 if none does.
	First int
	// A and B are the tokens at that step.
	A, B int
	// Margin is how far the best logit of the first generation was ahead of its
	// second best at that step; at the closest step if no token differs.
	Margin     float64
	MarginStep int
	// MaxError is the largest difference between logits of the two before they part.
	MaxError     float64
	MaxErrorStep int
	Exact        bool // all logits before they part have the same bits
}

// Step is what a comparison needs of one step.
type Step struct {
	ID     int
	Logits []float32
}

// Margin returns how far the largest value is ahead of the second largest.
func Margin(logits []float32) float64 {
	best, second := math.Inf(-1), math.Inf(-1)
	for _, x := range logits {
		switch v := float64(x); {
		case v > best:
			best, second = v, best
		case v > second:
			second = v
		}
	}
	return best - second
}

// Compare compares two generations step by step. Logits are compared up to and
// with the step where the tokens part: until then both saw the same tokens.
func Compare(a, b []Step) *Comparison {
	c := &Comparison{First: -1, Margin: math.Inf(1), MarginStep: -1, MaxErrorStep: -1, Exact: true}
	for i := range min(len(a), len(b)) {
		c.Steps++
		m := Margin(a[i].Logits)
		if m < c.Margin {
			c.Margin, c.MarginStep = m, i
		}
		for k := range min(len(a[i].Logits), len(b[i].Logits)) {
			x, y := a[i].Logits[k], b[i].Logits[k]
			if math.Float32bits(x) == math.Float32bits(y) {
				continue
			}
			c.Exact = false
			if d := math.Abs(float64(x) - float64(y)); d > c.MaxError || math.IsNaN(d) {
				c.MaxError, c.MaxErrorStep = d, i
			}
		}
		if a[i].ID != b[i].ID {
			c.First, c.A, c.B = i, a[i].ID, b[i].ID
			c.Margin, c.MarginStep = m, i
			return c
		}
	}
	if len(a) != len(b) && c.First < 0 {
		c.First = c.Steps // one ended before the other
		c.A, c.B = -1, -1
		if c.Steps < len(a) {
			c.A = a[c.Steps].ID
		} else {
			c.B = b[c.Steps].ID
		}
	}
	return c
}
