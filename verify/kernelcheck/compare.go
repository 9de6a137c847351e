package kernelcheck

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// onDevice widens the bounds by what MLX's own ops are off there: a kernel may be twice as
// far off as they are in the row. Where they are off by a hundredth of the row and more,
// they are no measure. Rotations are also as far off as their angles are rounded: backends
// make an angle in different steps, so that it differs in its last place.
func (t *Truth) onDevice(c *Case, stock [][]byte) {
	for i, r := range c.Results {
		if !r.DType.IsFloat() {
			continue
		}
		v, n := floats(r.DType, stock[i]), c.row(i)
		for at := 0; at < len(v); at += n {
			off, top := 0.0, 0.0
			for k := at; k < at+n; k++ {
				if finite(t.Exact[i][k]) && finite(v[k]) {
					off, top = max(off, math.Abs(v[k]-t.Exact[i][k])), max(top, math.Abs(t.Exact[i][k]))
				}
			}
			if off >= top/100 {
				off = 0
			}
			for k := at; k < at+n; k++ {
				t.Bound[i][k] += 2*off + 2*c.angle()*top
			}
		}
	}
}

// compare reports how results differ from what they should be by more than they may.
func (c *Case) compare(t *Truth, got [][]byte) error {
	loose := map[int]bool{}
	for i := range t.Loose {
		for row := range t.Loose[i] {
			loose[row] = true
		}
	}
	for i, r := range c.Results {
		name := c.Spec.Results[i]
		if bytes.Equal(got[i], t.Want[i]) {
			continue
		}
		g, w := floats(r.DType, got[i]), floats(r.DType, t.Want[i])
		n := c.row(i)
		for k := range g {
			if g[k] == w[k] && math.Signbit(g[k]) == math.Signbit(w[k]) || loose[k/n] && len(t.Loose) > 1 {
				continue
			}
			if problem := c.element(t, i, k, g[k], w[k]); problem != "" {
				return fmt.Errorf("%s, row %d of %d, element %d of %d: got %v, the reference has %v (%s)", name, k/n, len(g)/n, k%n, n, g[k], w[k], problem)
			}
		}
	}
	return nil
}

// element says what is wrong with one element, or "".
func (c *Case) element(t *Truth, i, k int, got, want float64) string {
	exact := t.Exact[i][k]
	switch {
	case c.Results[i].DType.IsInteger() || c.Results[i].DType == graph.Bool:
		return "must be equal"
	case math.IsNaN(got) && math.IsNaN(want):
		return ""
	case c.Spec.Numerics == kernels.Exact && !transcendental(c.Spec):
		return "must be equal in every bit"
	case c.Spec.Numerics == kernels.Exact:
		// Libraries' exp differ in the last place of a float32, which the steps behind it
		// may make four; in 16 bits that is seldom seen, and then as one.
		units := 1.0
		if c.Results[i].DType == graph.Float32 {
			units = 4
		}
		size := math.Abs(want)
		if turns(c.Spec) { // a sum of two products is as far off as the larger of them
			for _, v := range floats(c.Results[i].DType, t.Want[i])[k-k%c.row(i):][:c.row(i)] {
				if finite(v) {
					size = max(size, math.Abs(v))
				}
			}
		}
		if d := math.Abs(got - want); finite(got) && finite(want) && d <= units*ulp(c.Results[i].DType, size) {
			return ""
		}
		return fmt.Sprintf("may differ by %v units in the last place, for exp and its like", units)
	case math.IsNaN(got) != math.IsNaN(exact):
		return fmt.Sprintf("exactly %v", exact)
	case finite(exact) && finite(got):
		if d := math.Abs(got - exact); d > t.Bound[i][k] {
			return fmt.Sprintf("exactly %v: off by %.3g, bound %.3g", exact, d, t.Bound[i][k])
		}
		return ""
	case got == exact || got == want:
		return ""
	}
	return fmt.Sprintf("exactly %v", exact)
}

// transcendental reports whether the reference has an op whose last bit libraries
// differ in.
func transcendental(s *kernels.Spec) bool {
	for _, d := range s.Reference() {
		for _, name := range calls(d.Expr) {
			switch name {
			case "exp", "expm1", "log", "log1p", "log2", "log10", "sigmoid", "tanh", "erf", "erfinv", "sin", "cos", "tan", "sinh", "cosh",
				"arcsin", "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh", "power", "rsqrt", "softmax", "logsumexp", "logaddexp", "logcumsumexp", "rope":
				return true
			}
		}
	}
	return false
}

// angle is the rounding of a rotation's largest angle: a unit in the last place of the
// position, times scale, as float32 has it; 0 where nothing is rotated.
func (c *Case) angle() float64 {
	if !turns(c.Spec) {
		return 0
	}
	most := 0.0
	for i, x := range c.Spec.Inputs {
		if x.Name != "offset" || c.Data[i] == nil {
			continue
		}
		for _, v := range floats(c.Inputs[i].DType, c.Data[i]) {
			most = max(most, math.Abs(v))
		}
	}
	for i, name := range c.Spec.Floats() {
		if name == "scale" {
			most *= math.Abs(c.Floats[i])
		}
	}
	return most * 0x1p-23
}

// turns reports whether the reference is a rotation, whose terms may cancel.
func turns(s *kernels.Spec) bool {
	return slices.ContainsFunc(s.Reference(), func(d graph.Define) bool { return slices.Contains(calls(d.Expr), "rope") })
}
