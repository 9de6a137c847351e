package exact

import (
	"math"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

func (c *call) int(name string) int {
	d, _ := c.n.Attr(name).(graph.Dim)
	return d.Int()
}

func (c *call) float(name string) float64 {
	f, _ := c.n.Attr(name).(graph.Float)
	return float64(float32(f))
}

func (c *call) flag(name string) bool { return c.n.Attr(name) == graph.Flag(true) }

func (c *call) word(name string) string {
	s, _ := c.n.Attr(name).(graph.Str)
	return string(s)
}

// axes returns the axes of a reduction, from the front.
func (c *call) axes() []int {
	rank := len(c.in[0].Shape)
	var axes []int
	switch a := c.n.Attr("axis").(type) {
	case graph.Dim:
		axes = []int{(a.Int() + rank) % rank}
	case graph.Dims:
		for _, d := range a {
			axes = append(axes, (d.Int()+rank)%rank)
		}
	}
	return axes
}

// groups returns, for each element of a reduction's result, the elements that make it.
func (c *call) groups() [][]int {
	shape, axes := c.in[0].Shape, c.axes()
	out := make([][]int, len(c.out.V))
	for i := range c.in[0].V {
		rest, at, n := i, 0, 1
		for d := len(shape) - 1; d >= 0; d-- {
			if !slices.Contains(axes, d) {
				at += rest % shape[d] * n
				n *= shape[d]
			}
			rest /= shape[d]
		}
		out[at] = append(out[at], i)
	}
	return out
}

// rows returns the elements of each row along an axis, in the order of the row, row after
// row as if that axis came last.
func rows(shape []int, axis int) [][]int {
	stride := moves.Size(shape[axis+1:])
	var all [][]int
	for outer := range moves.Size(shape[:axis]) {
		for inner := range stride {
			row := make([]int, shape[axis])
			for i := range row {
				row[i] = (outer*shape[axis]+i)*stride + inner
			}
			all = append(all, row)
		}
	}
	return all
}

func (c *call) fold(f func(group []Number) Number) error {
	for i, g := range c.groups() {
		group := make([]Number, len(g))
		for k, at := range g {
			group[k] = c.in[0].V[at]
		}
		c.out.V[i] = f(group)
	}
	return nil
}

func total(group []Number) Number {
	s := Int(0)
	for _, x := range group {
		s = s.add(x)
	}
	return s
}

func sum(c *call) error { return c.fold(total) }

func prod(c *call) error {
	return c.fold(func(group []Number) Number {
		s := Int(1)
		for _, x := range group {
			s = s.mul(x)
		}
		return s
	})
}

// first returns where the greatest (or least) element is, the first of equal ones.
func first(group []Number, sign int) int {
	at := 0
	for i, x := range group {
		if sign*compare(x, group[at]) > 0 {
			at = i
		}
	}
	return at
}

func extreme(sign int) func(*call) error {
	return func(c *call) error {
		return c.fold(func(group []Number) Number {
			if len(group) == 0 {
				return Exactly(math.Inf(-sign))
			}
			return one(c.t, c.n.Op.Name, group[first(group, sign)])
		})
	}
}

func argExtreme(sign int) func(*call) error {
	return func(c *call) error {
		return c.fold(func(group []Number) Number { return one(c.t, c.n.Op.Name, Int(int64(first(group, sign)))) })
	}
}

func allAny(all bool) func(*call) error {
	return func(c *call) error {
		return c.fold(func(group []Number) Number {
			return truth(slices.ContainsFunc(group, func(x Number) bool { return (x.r != 0) != all }) != all)
		})
	}
}

// greatest is what is taken off before exp, so that the sample does not overflow. It
// changes nothing in the field.
func greatest(group []Number) float64 {
	m := math.Inf(-1)
	for _, x := range group {
		m = max(m, x.r)
	}
	return m
}

// exps returns exp of each number. Their samples are scaled by exp(-m).
func (t *Trace) exps(group []Number) (e []Number, m float64) {
	m = greatest(group)
	for _, x := range group {
		y := t.exp(x)
		if y.r = math.Exp(x.r - m); x.r <= masked {
			y.r = 0
		}
		e = append(e, y)
	}
	return e, m
}

func logsumexp(c *call) error {
	return c.fold(func(group []Number) Number {
		e, m := c.t.exps(group)
		s := total(e)
		l := c.t.log(s)
		l.r = m + math.Log(s.r)
		return l
	})
}

// shares is softmax of a row.
func (t *Trace) shares(row []Number) []Number {
	e, _ := t.exps(row)
	s := total(e).inv()
	for i := range e {
		e[i] = e[i].mul(s)
	}
	return e
}

// alongAxis replaces each row along the op's axis by what f makes of it.
func (c *call) alongAxis(f func(row []Number) []Number) error {
	for _, row := range rows(c.in[0].Shape, c.axes()[0]) {
		v := make([]Number, len(row))
		for i, at := range row {
			v[i] = c.in[0].V[at]
		}
		for i, x := range f(v) {
			c.out.V[row[i]] = x
		}
	}
	return nil
}

func softmax(c *call) error { return c.alongAxis(c.t.shares) }

func cumsum(c *call) error {
	return c.alongAxis(func(row []Number) []Number {
		out, s := make([]Number, len(row)), Int(0)
		for k := range row {
			i := k
			if c.flag("reverse") {
				i = len(row) - 1 - k
			}
			if out[i] = s; c.flag("inclusive") {
				out[i] = s.add(row[i])
			}
			s = s.add(row[i])
		}
		return out
	})
}

// sorted sorts by the sample, equal ones in the order in which they are. A whole order is a
// partition at any place, and the one that engine/ref takes.
func sorted(indices bool) func(*call) error {
	return func(c *call) error {
		c.t.Choices[c.n.Op.Name]++
		return c.alongAxis(func(row []Number) []Number {
			order := make([]int, len(row))
			for i := range order {
				order[i] = i
			}
			// Not a transitive order where ties are not equal; samples have none so near.
			slices.SortStableFunc(order, func(i, j int) int { return compare(row[i], row[j]) })
			out := make([]Number, len(row))
			for i, k := range order {
				if out[i] = row[k]; indices {
					out[i] = Int(int64(k))
				}
			}
			return out
		})
	}
}
