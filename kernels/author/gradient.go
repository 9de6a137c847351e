package author

import (
	"errors"
	"slices"
)

// columnOp sums over all rows, which is what the gradient of a vector needs.
const columnOp = "column sum"

// noGradient says why a formula has no gradient here.
type noGradient struct{ reason string }

func (e *noGradient) Error() string { return "no gradient: " + e.reason }

func asNoGradient(err error, to **noGradient) bool { return errors.As(err, to) }

// gradient derives a formula with respect to each of its inputs, from the result back, and
// writes the lines of the spec's gradient. They may read the reference's lines. The
// cotangent of the result is d_out, of its shape; the gradient of input x is d_x. An input
// on which the result does not depend smoothly anywhere, as through floor, has none.
func gradient(b *builder, n *naming, result *node) ([]line, error) {
	b.simplify = true
	defer func() { b.simplify = false }()
	n.taken.take("d_out")
	cot, err := b.leaf(cotangentOp, "d_out", result.shape)
	if err != nil {
		return nil, err
	}
	if cot.shape == full {
		n.of[cot] = "d_out"
	}
	d, err := b.pullBack(result, cot)
	if err != nil {
		return nil, err
	}

	var lines []line
	// A line of the gradient of an input, if it is that of one only, has the input's name.
	var roots, last []*node
	for _, x := range b.inputs {
		if d[x] == nil {
			continue
		}
		if slices.Contains(roots, d[x]) || len(d[x].in) == 0 {
			last = append(last, x)
			continue
		}
		roots = append(roots, d[x])
		if n.of[d[x]] != "" {
			last = append(last, x)
			continue
		}
		n.of[d[x]] = n.taken.take("d_" + x.name)
	}
	if len(roots)+len(last) == 0 {
		return nil, &noGradient{"it is 0 everywhere"}
	}
	for _, x := range last {
		roots = append(roots, d[x])
	}
	known := reachable(result)
	for _, x := range reachable(roots...) {
		switch {
		case x == result && isReduction(x.op): // the reference has it without its last axis
			lines = append(lines, line{n.name(x, "g"), "expand_dims(out, axis=-1)"})
		case isLine(x) && !slices.Contains(known, x):
			lines = append(lines, line{n.name(x, "g"), n.expr(x)})
		}
	}
	for _, x := range last {
		lines = append(lines, line{n.taken.take("d_" + x.name), n.of[d[x]]})
	}
	return lines, nil
}

// pullBack returns the gradients of the inputs.
func (b *builder) pullBack(result, cot *node) (map[*node]*node, error) {
	order := reachable(result)
	live := map[*node]bool{} // depends on an input, as a number
	for _, x := range order {
		live[x] = x.op == inputOp
		for _, y := range x.in {
			live[x] = live[x] || live[y] && !y.truth
		}
	}
	d := map[*node]*node{result: cot}
	for _, y := range slices.Backward(order) {
		g := d[y]
		if g == nil || len(y.in) == 0 {
			continue
		}
		f := derivatives[y.op]
		if f == nil {
			return nil, &noGradient{y.op + " has none here"}
		}
		for i, x := range y.in {
			if !live[x] || x.truth {
				continue
			}
			c := &chain{b: b}
			part := f(c, y, g, i)
			if c.err == nil && part.is(0) {
				continue
			}
			part = b.gather(c, part, y, x)
			if d[x] != nil {
				part = c.make("add", d[x], part)
			}
			if c.err != nil {
				return nil, c.err
			}
			d[x] = part
			if part.is(0) { // x - x
				delete(d, x)
			}
		}
	}
	c := &chain{b: b}
	for _, x := range b.inputs {
		if d[x] != nil && d[x].shape != x.shape {
			d[x] = b.spread(c, d[x])
		}
	}
	return d, c.err
}

// gather sums what operand x of y gets over the axes along which x does not vary. A part that
// itself does not vary along the row stands for n equal ones.
func (b *builder) gather(c *chain, part, y, x *node) *node {
	if c.err != nil {
		return nil
	}
	switch {
	case x.shape == perRow && part.shape&vector != 0:
		return c.reduce("sum", part)
	case x.shape == perRow && y.shape == full:
		return c.make("multiply", part, c.count())
	case x.shape == vector && part.shape != vector:
		if part.shape != full {
			part = b.spread(c, part)
		}
		return c.do(func() (*node, error) {
			return b.intern(&node{op: columnOp, in: []*node{part}, shape: vector})
		})
	}
	return part
}

// spread repeats one value a row along the row. (The rule language has no shape to
// broadcast to, but a choice between equals has that of its condition.)
func (b *builder) spread(c *chain, x *node) *node {
	return c.do(func() (*node, error) {
		for _, in := range b.inputs {
			if in.shape != full {
				continue
			}
			same, err := b.make("equal", in, in)
			if err != nil {
				return nil, err
			}
			return b.intern(&node{op: "where", in: []*node{same, x, x}, shape: full})
		}
		return nil, &noGradient{"no input has rows"}
	})
}
