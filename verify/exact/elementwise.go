package exact

import (
	"math"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

// ops are those that compute. Ops that move elements need no row here.
var ops map[string]func(*call) error

func init() { // the table and its functions know each other
	ops = map[string]func(*call) error{
		"astype": astype, "where": where, "arange": arange, "left_shift": leftShift,
		"matmul": matmul, "addmm": addmm, "gather_mm": gatherMM, "quantized_matmul": quantizedMatmul, "gather_qmm": gatherQMM, "dequantize": dequantize, "conv1d": conv1d,
		"sum": sum, "prod": prod, "max": extreme(1), "min": extreme(-1), "all": allAny(true), "any": allAny(false), "argmax": argExtreme(1), "argmin": argExtreme(-1),
		"logsumexp": logsumexp, "softmax": softmax, "cumsum": cumsum,
		"sort": sorted(false), "argsort": sorted(true), "partition": sorted(false), "argpartition": sorted(true),
		"rms_norm": rmsNorm, "layer_norm": layerNorm, "rope": rope, "sdpa": sdpa,
	}
	for name, f := range wholeDivision {
		real := binary2[name]
		binary2[name] = func(t *Trace, a, b Number) Number {
			if t.whole {
				return f(a, b)
			}
			return real(t, a, b)
		}
	}
	for name, f := range unknown {
		unary[name] = func(t *Trace, a Number) Number { return t.unknown(name, f(a.r), a) }
	}
	for name, f := range unary {
		ops[name] = func(c *call) error {
			for i, x := range c.in[0].V {
				c.out.V[i] = f(c.t, x)
			}
			return nil
		}
	}
	for name, f := range binary2 {
		ops[name] = func(c *call) error {
			a, b := moves.Broadcast(c.in[0].Shape, c.out.Shape), moves.Broadcast(c.in[1].Shape, c.out.Shape)
			c.t.whole = c.out.DType.IsInteger()
			for i := range c.out.V {
				c.out.V[i] = f(c.t, c.in[0].V[a[i]], c.in[1].V[b[i]])
			}
			return nil
		}
	}
}

func one(t *Trace, name string, a Number) Number { t.Choices[name]++; return a }

// unknown are functions that nothing is known of in the fields.
var unknown = map[string]func(float64) float64{
	"erf": math.Erf, "erfinv": math.Erfinv, "sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "sinh": math.Sinh, "cosh": math.Cosh,
	"arcsin": math.Asin, "arccos": math.Acos, "arctan": math.Atan, "arcsinh": math.Asinh, "arccosh": math.Acosh, "arctanh": math.Atanh,
}

var unary = map[string]func(*Trace, Number) Number{
	"abs": func(t *Trace, a Number) Number {
		if one(t, "abs", a); a.r < 0 {
			return a.neg()
		}
		return a
	},
	"negative": func(_ *Trace, a Number) Number { return a.neg() },
	"square":   func(_ *Trace, a Number) Number { return a.mul(a) },
	"exp":      (*Trace).exp, "log": (*Trace).log, "sigmoid": (*Trace).sigmoid, "tanh": (*Trace).tanh, "rsqrt": (*Trace).rsqrt, "sqrt": (*Trace).sqrt,
	"log1p": func(t *Trace, a Number) Number {
		c := t.log(Int(1).add(a))
		c.r = math.Log1p(a.r)
		return c
	},
	"expm1": func(t *Trace, a Number) Number {
		c := t.exp(a).sub(Int(1))
		c.r = math.Expm1(a.r)
		return c
	},
	"log2":        func(t *Trace, a Number) Number { return t.log(a).div(t.log(Int(2))) },
	"log10":       func(t *Trace, a Number) Number { return t.log(a).div(t.log(Int(10))) },
	"sign":        func(t *Trace, a Number) Number { one(t, "sign", a); return Int(int64(compare(a, Int(0)))) },
	"floor":       func(t *Trace, a Number) Number { return one(t, "floor", Exactly(math.Floor(a.r))) },
	"ceil":        func(t *Trace, a Number) Number { return one(t, "ceil", Exactly(math.Ceil(a.r))) },
	"round":       func(t *Trace, a Number) Number { return one(t, "round", Exactly(math.RoundToEven(a.r))) },
	"logical_not": func(_ *Trace, a Number) Number { return truth(a.r == 0) },
}

// compare is the order of two numbers in the sample.
func compare(a, b Number) int {
	switch {
	case a.r == b.r, tie(a.r, b.r) && (a.r != math.Trunc(a.r) || b.r != math.Trunc(b.r)):
		return 0
	case a.r < b.r:
		return -1
	}
	return 1
}

func truth(b bool) Number {
	if b {
		return Int(1)
	}
	return Int(0)
}

func comparison(name string, holds func(int) bool) func(*Trace, Number, Number) Number {
	return func(t *Trace, a, b Number) Number { return one(t, name, truth(holds(compare(a, b)))) }
}

// whole are ops on whole numbers.
func whole(f func(a, b int64) int64) func(*Trace, Number, Number) Number {
	return func(_ *Trace, a, b Number) Number { return Int(f(int64(a.r), int64(b.r))) }
}

// wholeDivision is what ops do between integers.
var wholeDivision = map[string]func(a, b Number) Number{
	"floor_divide": func(a, b Number) Number { return Exactly(math.Trunc(a.r / b.r)) },
	"power": func(a, b Number) Number {
		if b.r < 0 {
			return Int(0)
		}
		return Exactly(math.Pow(a.r, b.r))
	},
}

var binary2 = map[string]func(*Trace, Number, Number) Number{
	"add":      func(_ *Trace, a, b Number) Number { return a.add(b) },
	"subtract": func(_ *Trace, a, b Number) Number { return a.sub(b) },
	"multiply": func(_ *Trace, a, b Number) Number { return a.mul(b) },
	"divide":   func(_ *Trace, a, b Number) Number { return a.div(b) },
	"power":    (*Trace).pow,
	"arctan2":  func(t *Trace, a, b Number) Number { return t.unknown("arctan2", math.Atan2(a.r, b.r), a, b) },
	"maximum": func(t *Trace, a, b Number) Number {
		if one(t, "maximum", a); compare(a, b) > 0 {
			return a
		}
		return b
	},
	"minimum": func(t *Trace, a, b Number) Number {
		if one(t, "minimum", a); compare(a, b) < 0 {
			return a
		}
		return b
	},
	"logaddexp": func(t *Trace, a, b Number) Number {
		c := t.log(t.exp(a).add(t.exp(b)))
		m := max(a.r, b.r)
		c.r = m + math.Log(math.Exp(a.r-m)+math.Exp(b.r-m))
		return c
	},
	"equal":         comparison("equal", func(o int) bool { return o == 0 }),
	"not_equal":     comparison("not_equal", func(o int) bool { return o != 0 }),
	"less":          comparison("less", func(o int) bool { return o < 0 }),
	"less_equal":    comparison("less_equal", func(o int) bool { return o <= 0 }),
	"greater":       comparison("greater", func(o int) bool { return o > 0 }),
	"greater_equal": comparison("greater_equal", func(o int) bool { return o >= 0 }),
	"logical_and":   func(_ *Trace, a, b Number) Number { return truth(a.r != 0 && b.r != 0) },
	"logical_or":    func(_ *Trace, a, b Number) Number { return truth(a.r != 0 || b.r != 0) },
	"floor_divide": func(t *Trace, a, b Number) Number {
		return one(t, "floor_divide", Exactly(math.Floor(a.r/b.r)))
	},
	"remainder": func(t *Trace, a, b Number) Number { // of the divisor's sign
		return one(t, "remainder", a.sub(b.mul(Exactly(math.Floor(a.r/b.r)))))
	},
	"bitwise_and": whole(func(a, b int64) int64 { return a & b }),
	"bitwise_or":  whole(func(a, b int64) int64 { return a | b }),
	"bitwise_xor": whole(func(a, b int64) int64 { return a ^ b }),
	"right_shift": whole(func(a, b int64) int64 { return a >> uint(b) }),
}

// astype changes nothing between floating-point types: there is no rounding here, but of
// constants, which are numbers that somebody has chosen.
func astype(c *call) error {
	for i, x := range c.in[0].V {
		switch {
		case c.out.DType.IsFloat() && x.has&constant != 0:
			x = Exactly(graph.Round(c.out.DType, x.r))
			x.has |= constant
		case c.out.DType.IsFloat() || c.in[0].DType.IsInteger() && c.out.DType.IsInteger():
		case c.out.DType.IsInteger():
			x = one(c.t, "astype", Exactly(math.Trunc(x.r)))
		default:
			x = truth(x.r != 0)
		}
		c.out.V[i] = x
	}
	return nil
}

// leftShift drops the bits that leave an unsigned number, which is what it is used for: to
// cut a field out of a word. Of a signed number that has no meaning (inRange).
func leftShift(c *call) error {
	a, by := moves.Broadcast(c.in[0].Shape, c.out.Shape), moves.Broadcast(c.in[1].Shape, c.out.Shape)
	keep := int64(-1)
	if t := c.out.DType; t.IsUnsigned() && t.Size() < 8 {
		keep = 1<<(8*t.Size()) - 1
	}
	for i := range c.out.V {
		x, n := int64(c.in[0].V[a[i]].r), uint(c.in[1].V[by[i]].r)
		c.out.V[i] = Int(x << n & keep)
	}
	return nil
}

func where(c *call) error {
	cond, x, y := moves.Broadcast(c.in[0].Shape, c.out.Shape), moves.Broadcast(c.in[1].Shape, c.out.Shape), moves.Broadcast(c.in[2].Shape, c.out.Shape)
	for i := range c.out.V {
		if c.in[0].V[cond[i]].r != 0 {
			c.out.V[i] = c.in[1].V[x[i]]
		} else {
			c.out.V[i] = c.in[2].V[y[i]]
		}
	}
	return nil
}

func arange(c *call) error {
	start, step := c.int("start"), c.int("step")
	for i := range c.out.V {
		c.out.V[i] = Int(int64(start + i*step))
	}
	return nil
}
