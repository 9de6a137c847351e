package author

import "math"

// derivative returns what an op adds to the gradient of its operand i, if g is that of its
// result y. It is called only for operands that depend on an input.
type derivative func(c *chain, y, g *node, i int) *node

// product is for ops of one operand whose gradient is g times something.
func product(f func(c *chain, x, y *node) *node) derivative {
	return func(c *chain, y, g *node, _ int) *node { return c.make("multiply", g, f(c, y.in[0], y)) }
}

// nothing is for ops that are flat wherever they are smooth.
func nothing(c *chain, _, _ *node, _ int) *node { return c.number(0) }

// derivatives are those of all ops that give numbers, as MLX's own vjp functions have them
// where a function has a kink.
var derivatives = map[string]derivative{
	"abs":      product(func(c *chain, x, _ *node) *node { return c.make("sign", x) }),
	"ceil":     nothing,
	"cos":      product(func(c *chain, x, _ *node) *node { return c.make("negative", c.make("sin", x)) }),
	"exp":      product(func(_ *chain, _, y *node) *node { return y }),
	"expm1":    product(func(c *chain, _, y *node) *node { return c.make("add", y, c.number(1)) }),
	"floor":    nothing,
	"log":      func(c *chain, y, g *node, _ int) *node { return c.make("divide", g, y.in[0]) },
	"negative": func(c *chain, _, g *node, _ int) *node { return c.make("negative", g) },
	"sign":     nothing,
	"sin":      product(func(c *chain, x, _ *node) *node { return c.make("cos", x) }),
	"square":   product(func(c *chain, x, _ *node) *node { return c.make("multiply", x, c.number(2)) }),
	// 2/sqrt(pi) exp(-x^2)
	"erf": product(func(c *chain, x, _ *node) *node {
		return c.make("multiply", c.make("exp", c.make("negative", c.make("square", x))), c.number(2/math.SqrtPi))
	}),
	"log1p": func(c *chain, y, g *node, _ int) *node {
		return c.make("divide", g, c.make("add", y.in[0], c.number(1)))
	},
	// -1/2 x^(-3/2)
	"rsqrt": product(func(c *chain, x, y *node) *node {
		return c.make("multiply", c.make("divide", y, x), c.number(-0.5))
	}),
	"sigmoid": product(func(c *chain, _, y *node) *node {
		return c.make("multiply", y, c.make("subtract", c.number(1), y))
	}),
	"sqrt": func(c *chain, y, g *node, _ int) *node {
		return c.make("divide", c.make("multiply", g, c.number(0.5)), y)
	},
	"tanh": product(func(c *chain, _, y *node) *node { return c.make("subtract", c.number(1), c.make("square", y)) }),

	"add": func(_ *chain, _, g *node, _ int) *node { return g },
	"divide": func(c *chain, y, g *node, i int) *node {
		d := c.make("divide", g, y.in[1])
		if i == 0 {
			return d
		}
		return c.make("negative", c.make("multiply", d, y))
	},
	// exp(x - y) of each operand x, which does not overflow.
	"logaddexp": func(c *chain, y, g *node, i int) *node {
		return c.make("multiply", g, c.make("exp", c.make("subtract", y.in[i], y)))
	},
	"maximum": func(c *chain, y, g *node, i int) *node {
		return pick(c, c.make("greater", y.in[0], y.in[1]), g, i == 0)
	},
	"minimum": func(c *chain, y, g *node, i int) *node {
		return pick(c, c.make("less", y.in[0], y.in[1]), g, i == 0)
	},
	"multiply": func(c *chain, y, g *node, i int) *node { return c.make("multiply", g, y.in[1-i]) },
	"power": func(c *chain, y, g *node, i int) *node {
		p := y.in[1]
		if !p.isNumber() {
			return c.do(func() (*node, error) {
				return nil, &noGradient{"power has one only where the exponent is a number"}
			})
		}
		return c.make("multiply", g, c.make("multiply", c.make("power", y.in[0], c.number(p.value-1)), p))
	},
	"subtract": func(c *chain, _, g *node, i int) *node {
		if i == 0 {
			return g
		}
		return c.make("negative", g)
	},
	"where": func(c *chain, y, g *node, i int) *node { return pick(c, y.in[0], g, i == 1) },

	"sum": func(_ *chain, _, g *node, _ int) *node { return g },
	"max": extremum,
	"min": extremum,
	"logsumexp": func(c *chain, y, g *node, _ int) *node {
		return c.make("multiply", g, c.make("exp", c.make("subtract", y.in[0], y)))
	},
}

// pick is g where the condition holds, or where it does not, and else 0.
func pick(c *chain, cond, g *node, holds bool) *node {
	if holds {
		return c.make("where", cond, g, c.number(0))
	}
	return c.make("where", cond, c.number(0), g)
}

// extremum shares the gradient among equal elements.
func extremum(c *chain, y, g *node, _ int) *node {
	best := c.make("equal", y.in[0], y)
	ties := c.do(func() (*node, error) { return c.b.reduce("sum", best) })
	return pick(c, best, c.make("divide", g, ties), true)
}
