package author

// simpler returns a simpler node of the same value, or nil. It is for gradients only: it
// drops what a NaN or an infinity would have made of a factor 0, as every automatic
// derivative does.
func (b *builder) simpler(op string, in []*node) (*node, error) {
	switch op {
	case "add":
		switch {
		case in[0].is(0):
			return in[1], nil
		case in[1].is(0):
			return in[0], nil
		case in[1].op == "negative":
			return b.make("subtract", in[0], in[1].in[0])
		case in[0].op == "negative":
			return b.make("subtract", in[1], in[0].in[0])
		}
	case "subtract":
		switch {
		case in[1].is(0):
			return in[0], nil
		case in[0].is(0):
			return b.make("negative", in[1])
		case in[1].op == "negative":
			return b.make("add", in[0], in[1].in[0])
		case in[0] == in[1]:
			return b.number(0)
		}
	case "negative":
		if in[0].op == "negative" {
			return in[0].in[0], nil
		}
	case "multiply":
		for i, x := range in {
			y := in[1-i]
			switch {
			case x.is(0):
				return x, nil
			case x.is(1):
				return y, nil
			case x.is(-1):
				return b.make("negative", y)
			case x.op == "negative":
				c := chain{b: b}
				return c.make("negative", c.make("multiply", x.in[0], y)), c.err
			case x.isNumber() && y.op == "multiply" && y.in[1].isNumber(): // (a * 2) * 3
				c := chain{b: b}
				return c.make("multiply", y.in[0], c.number(y.in[1].value*x.value)), c.err
			}
		}
		// Numbers come last, so that the rule above finds them.
		if in[0].isNumber() {
			return b.make("multiply", in[1], in[0])
		}
	case "divide":
		switch {
		case in[0].is(0):
			return in[0], nil
		case in[1].is(1):
			return in[0], nil
		case in[0].op == "negative":
			c := chain{b: b}
			return c.make("negative", c.make("divide", in[0].in[0], in[1])), c.err
		}
	case "where":
		if in[1] == in[2] {
			return in[1], nil
		}
	}
	return nil, nil
}
