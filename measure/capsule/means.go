package capsule

import (
	"slices"
	"strconv"

	"zmlx-rewrite/bench"
)

// What the combinations of a mean have in common.
const (
	ByLength = "length"
	ByPrompt = "prompt"
	OfAll    = "all"
)

// Mean sums up some combinations of a stress run.
type Mean struct {
	Of       string      `json:"mean_of" jsonschema:"what the combinations have in common: length, prompt, or all: nothing"`
	Which    string      `json:"which,omitempty" jsonschema:"the length in tokens, or the kind of prompt"`
	Cells    int         `json:"combinations" jsonschema:"so many"`
	A        float64     `json:"unrewritten_ts" jsonschema:"tokens a second: the mean of the combinations' medians"`
	B        float64     `json:"rewritten_ts" jsonschema:"the same of the rewritten program"`
	Ratio    float64     `json:"ratio" jsonschema:"of times: above 1 the rewritten program is faster; the geometric mean of the combinations' ratios"`
	Interval *[2]float64 `json:"interval,omitempty" jsonschema:"of the ratio, 95 %; absent where a combination has fewer than three rounds"`
}

// MeansOf computes the means of a stress run from its raw times: by length, by kind of prompt,
// and of all. Groups without a round of both sides are left out.
func MeansOf(c *Capsule) []Mean {
	out := []Mean{}
	for _, g := range []struct {
		of    string
		which func(*Cell) string
	}{
		{ByLength, func(x *Cell) string { return strconv.Itoa(x.Made) }},
		{ByPrompt, func(x *Cell) string { return x.Prompt }},
		{OfAll, func(*Cell) string { return "" }},
	} {
		var known []string
		for i := range c.Cells {
			which := g.which(&c.Cells[i])
			if slices.Contains(known, which) {
				continue
			}
			known = append(known, which)
			if m, ok := meanOf(c, func(x *Cell) bool { return g.which(x) == which }); ok {
				m.Of, m.Which = g.of, which
				out = append(out, m)
			}
		}
	}
	return out
}

// Combinations are the names of what was measured of those that a mean is of, sorted.
func (m *Mean) Combinations(c *Capsule) (out []string) {
	for i := range c.Cells {
		cell := &c.Cells[i]
		in := m.Of == OfAll || m.Of == ByPrompt && cell.Prompt == m.Which || m.Of == ByLength && strconv.Itoa(cell.Made) == m.Which
		if in && cell.Summary().Rounds > 0 {
			out = append(out, cell.Name())
		}
	}
	slices.Sort(out)
	return out
}

func meanOf(c *Capsule, in func(*Cell) bool) (m Mean, ok bool) {
	few := false
	var runs [][]bench.Run
	for i := range c.Cells {
		cell := &c.Cells[i]
		if !in(cell) {
			continue
		}
		s := cell.Summary()
		if s.Rounds == 0 {
			continue
		}
		m.A, m.B, m.Cells = m.A+s.A.Median, m.B+s.B.Median, m.Cells+1
		few = few || s.Rounds <= bench.FewRounds
		runs = append(runs, cell.Bench())
	}
	ratio, low, high, ok := bench.Group(runs)
	if !ok {
		return m, false
	}
	m.A, m.B, m.Ratio = m.A/float64(m.Cells), m.B/float64(m.Cells), ratio
	if !few {
		m.Interval = &[2]float64{low, high}
	}
	return m, true
}

// Sum adds to a stress run's capsule what its table says beyond the raw times: the means, and
// how each combination drifted.
func (c *Capsule) Sum() {
	for i := range c.Cells {
		c.Cells[i].DriftA, c.Cells[i].DriftB = c.Cells[i].Drift(false), c.Cells[i].Drift(true)
	}
	c.Means = MeansOf(c)
}

// Summed reports whether means and drift are what the raw times say; true for a capsule that
// has none of them. The last digits may differ: other processors round otherwise.
func (c *Capsule) Summed() bool {
	near := func(x, y float64) bool { return x == y || x > 0 && y > 0 && x/y < 1+1e-9 && y/x < 1+1e-9 }
	if c.Means == nil {
		return true
	}
	for i := range c.Cells {
		if x := &c.Cells[i]; !near(x.DriftA, x.Drift(false)) || !near(x.DriftB, x.Drift(true)) {
			return false
		}
	}
	return slices.EqualFunc(c.Means, MeansOf(c), func(x, y Mean) bool {
		same := x.Of == y.Of && x.Which == y.Which && x.Cells == y.Cells && near(x.A, y.A) && near(x.B, y.B) && near(x.Ratio, y.Ratio) && (x.Interval == nil) == (y.Interval == nil)
		return same && (x.Interval == nil || near(x.Interval[0], y.Interval[0]) && near(x.Interval[1], y.Interval[1]))
	})
}
