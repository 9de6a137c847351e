package ref

import (
	"math"

	"zmlx-rewrite/graph"
)

// unaryOp is an op on one element. Results of float are rounded to the result's
// type; those of int wrap. A nil function means that MLX has no such op, or only
// in a form that is not worth having here.
type unaryOp struct {
	// float gets the element type, for ops that are several rounded steps.
	float func(t graph.DType, x float64) float64
	int   func(t graph.DType, x int64) int64
	cplx  func(x complex64) complex64
}

func plain(f func(float64) float64) unaryOp {
	return unaryOp{float: func(_ graph.DType, x float64) float64 { return f(x) }}
}

// kept is for ops that leave integers as they are.
func kept(f func(float64) float64) unaryOp {
	u := plain(f)
	u.int = func(_ graph.DType, x int64) int64 { return x }
	return u
}

var unaries = map[string]unaryOp{
	"abs": {
		float: func(_ graph.DType, x float64) float64 { return math.Abs(x) },
		int: func(t graph.DType, x int64) int64 {
			if !t.IsUnsigned() && x < 0 {
				return -x
			}
			return x
		},
	},
	"arccos":  plain(func(x float64) float64 { return 2 * math.Atan2(math.Sqrt(1-x), math.Sqrt(1+x)) }),
	"arccosh": plain(math.Acosh),
	"arcsin":  plain(func(x float64) float64 { return math.Atan2(x, math.Sqrt((1-x)*(1+x))) }),
	"arcsinh": plain(math.Asinh),
	"arctan":  plain(math.Atan),
	"arctanh": plain(math.Atanh),
	"ceil":    kept(math.Ceil),
	"cos":     plain(math.Cos),
	"cosh":    plain(math.Cosh),
	"erf":     plain(math.Erf),
	"erfinv":  plain(math.Erfinv),
	"exp":     plain(math.Exp),
	"expm1":   plain(math.Expm1),
	"floor":   kept(math.Floor),
	"log":     plain(log),
	"log10":   plain(func(x float64) float64 { return log(x) / math.Ln10 }),
	"log1p":   plain(math.Log1p),
	"log2":    plain(math.Log2),
	"negative": {
		float: func(_ graph.DType, x float64) float64 { return -x },
		int:   func(_ graph.DType, x int64) int64 { return -x },
		cplx:  func(x complex64) complex64 { return -x },
	},
	"round": kept(math.RoundToEven),
	"rsqrt": {float: func(t graph.DType, x float64) float64 { return 1 / round(t, math.Sqrt(x)) }},
	// MLX keeps exp in the type and the rest in float32.
	"sigmoid": {float: func(t graph.DType, x float64) float64 {
		acc := graph.Float32
		if t == graph.Float64 {
			acc = t
		}
		e := round(t, math.Exp(math.Abs(x)))
		y := round(acc, 1/round(acc, 1+e))
		if x < 0 {
			return y
		}
		return 1 - y
	}},
	"sign": {
		float: func(_ graph.DType, x float64) float64 {
			switch {
			case x < 0:
				return -1
			case x > 0:
				return 1
			}
			return 0 // of NaN too
		},
		int: func(t graph.DType, x int64) int64 {
			switch {
			case x == 0:
				return 0
			case x < 0 && !t.IsUnsigned():
				return -1
			}
			return 1
		},
	},
	"sin":  plain(math.Sin),
	"sinh": plain(math.Sinh),
	"sqrt": plain(math.Sqrt),
	"square": {
		float: func(_ graph.DType, x float64) float64 { return x * x },
		int:   func(_ graph.DType, x int64) int64 { return x * x },
		cplx:  func(x complex64) complex64 { return mulComplex(x, x) },
	},
	"tan":  plain(math.Tan),
	"tanh": plain(math.Tanh),
}

func (u unaryOp) emit(c *call, in []*array) (*array, error) {
	// Functions with a floating-point result take their operand as one.
	a := in[0]
	if isInt(a.t) && !isInt(c.t) {
		a = convert(a, c.t)
	}
	switch {
	case isInt(a.t) && u.int != nil:
		v := a.ints()
		for i, x := range v {
			v[i] = u.int(a.t, x)
		}
		return fromInts(c.t, c.shape, v), nil
	case a.t == graph.Complex64 && u.cplx != nil:
		v := a.complexes()
		for i, x := range v {
			v[i] = u.cplx(x)
		}
		return fromComplexes(c.shape, v), nil
	case a.t.IsFloat() && u.float != nil:
		v := a.floats()
		for i, x := range v {
			v[i] = u.float(a.t, x)
		}
		return fromFloats(c.t, c.shape, v), nil
	}
	return nil, unsupported(c.Op.Name, a.t)
}

// log is math.Log, which is wrong for subnormal numbers on amd64. (math.Asin and
// math.Acos are not used either: near 1 they are off by many ulps.)
func log(x float64) float64 {
	if x > 0 && x < 0x1p-1022 {
		return math.Log(x*0x1p54) - 54*math.Ln2
	}
	return math.Log(x)
}

// pow is math.Pow, which takes that logarithm.
func pow(x, y float64) float64 {
	if x > 0 && x < 0x1p-1022 && !math.IsInf(y, 0) {
		return math.Pow(x*0x1p54, y) * math.Pow(2, -54*y)
	}
	return math.Pow(x, y)
}

// binaryOp is an op on two elements of the same type.
type binaryOp struct {
	float func(t graph.DType, x, y float64) float64
	int   func(t graph.DType, x, y int64) int64
	cplx  func(x, y complex64) complex64
}

var binaries = map[string]binaryOp{
	"add": {
		float: func(_ graph.DType, x, y float64) float64 { return x + y },
		int:   func(_ graph.DType, x, y int64) int64 { return x + y },
		cplx:  func(x, y complex64) complex64 { return x + y },
	},
	"arctan2":     {float: func(_ graph.DType, x, y float64) float64 { return math.Atan2(x, y) }},
	"bitwise_and": {int: func(_ graph.DType, x, y int64) int64 { return x & y }},
	"bitwise_or":  {int: func(_ graph.DType, x, y int64) int64 { return x | y }},
	"bitwise_xor": {int: func(_ graph.DType, x, y int64) int64 { return x ^ y }},
	"divide": {
		float: func(_ graph.DType, x, y float64) float64 { return x / y },
		cplx:  func(x, y complex64) complex64 { return complex64(complex128(x) / complex128(y)) },
	},
	// The quotient is rounded to the type before it is floored. Integers are cut
	// off towards 0, as C++ does, in spite of the name.
	"floor_divide": {
		float: func(t graph.DType, x, y float64) float64 { return math.Floor(round(t, x/y)) },
		int: func(t graph.DType, x, y int64) int64 {
			switch {
			case y == 0:
				return 0
			case t == graph.Uint64:
				return int64(uint64(x) / uint64(y))
			}
			return x / y
		},
	},
	"left_shift": {int: func(t graph.DType, x, y int64) int64 { return x << (uint64(y) & 63) }},
	"logaddexp": {float: func(t graph.DType, x, y float64) float64 {
		hi, lo := maximum(x, y), minimum(x, y)
		if math.IsInf(lo, -1) || math.IsInf(hi, 1) {
			return hi
		}
		return hi + round(t, math.Log1p(round(t, math.Exp(round(t, lo-hi)))))
	}},
	"maximum": {
		float: func(_ graph.DType, x, y float64) float64 { return maximum(x, y) },
		int: func(t graph.DType, x, y int64) int64 {
			if less(t, y, x) {
				return x
			}
			return y
		},
	},
	"minimum": {
		float: func(_ graph.DType, x, y float64) float64 { return minimum(x, y) },
		int: func(t graph.DType, x, y int64) int64 {
			if less(t, x, y) {
				return x
			}
			return y
		},
	},
	"multiply": {
		float: func(_ graph.DType, x, y float64) float64 { return x * y },
		int:   func(_ graph.DType, x, y int64) int64 { return x * y },
		cplx:  mulComplex,
	},
	"power": {
		float: func(_ graph.DType, x, y float64) float64 { return pow(x, y) },
		int: func(t graph.DType, x, y int64) int64 {
			if y < 0 && !t.IsUnsigned() {
				return 0
			}
			r := int64(1)
			for e := uint64(y); e != 0; e >>= 1 {
				if e&1 != 0 {
					r *= x
				}
				x *= x
			}
			return r
		},
	},
	// The sign is that of the divisor, as in Python.
	"remainder": {
		float: func(_ graph.DType, x, y float64) float64 {
			r := math.Remainder(x, y)
			if r != 0 && (r < 0) != (y < 0) {
				r += y
			}
			return r
		},
		int: func(t graph.DType, x, y int64) int64 {
			switch {
			case y == 0:
				return 0
			case t == graph.Uint64:
				return int64(uint64(x) % uint64(y))
			}
			r := x % y
			if r != 0 && (r < 0) != (y < 0) {
				r += y
			}
			return r
		},
	},
	"right_shift": {int: func(t graph.DType, x, y int64) int64 {
		if t == graph.Uint64 {
			return int64(uint64(x) >> (uint64(y) & 63))
		}
		return x >> (uint64(y) & 63)
	}},
	"subtract": {
		float: func(_ graph.DType, x, y float64) float64 { return x - y },
		int:   func(_ graph.DType, x, y int64) int64 { return x - y },
		cplx:  func(x, y complex64) complex64 { return x - y },
	},
}

// maximum and minimum return the second of equal operands, and NaN if either is.
func maximum(x, y float64) float64 {
	if math.IsNaN(x) || x > y {
		return x
	}
	return y
}

func minimum(x, y float64) float64 {
	if math.IsNaN(x) || x < y {
		return x
	}
	return y
}

func less(t graph.DType, x, y int64) bool {
	if t == graph.Uint64 {
		return uint64(x) < uint64(y)
	}
	return x < y
}

// mulComplex rounds each of the products and sums, as C++ does.
func mulComplex(x, y complex64) complex64 {
	a, b, c, d := real(x), imag(x), real(y), imag(y)
	return complex(float32(a*c)-float32(b*d), float32(a*d)+float32(b*c))
}

func (b binaryOp) emit(c *call, in []*array) (*array, error) {
	// MLX converts both operands to the result's type first.
	x, y := convert(in[0], c.t).broadcast(c.shape), convert(in[1], c.t).broadcast(c.shape)
	switch {
	case isInt(c.t) && b.int != nil:
		v, w := x.ints(), y.ints()
		for i := range v {
			v[i] = b.int(c.t, v[i], w[i])
		}
		return fromInts(c.t, c.shape, v), nil
	case c.t == graph.Complex64 && b.cplx != nil:
		v, w := x.complexes(), y.complexes()
		for i := range v {
			v[i] = b.cplx(v[i], w[i])
		}
		return fromComplexes(c.shape, v), nil
	case c.t.IsFloat() && b.float != nil:
		v, w := x.floats(), y.floats()
		for i := range v {
			v[i] = b.float(c.t, v[i], w[i])
		}
		return fromFloats(c.t, c.shape, v), nil
	}
	return nil, unsupported(c.Op.Name, c.t)
}

// comparison says which of the outcomes "less", "equal", "greater" hold; none of
// them is the outcome where NaN takes part.
type comparison struct{ less, equal, greater, unordered bool }

var comparisons = map[string]comparison{
	"equal":         {equal: true},
	"not_equal":     {less: true, greater: true, unordered: true},
	"less":          {less: true},
	"less_equal":    {less: true, equal: true},
	"greater":       {greater: true},
	"greater_equal": {greater: true, equal: true},
}

func (k comparison) emit(c *call, in []*array) (*array, error) {
	t := graph.Promote(in[0].t, in[1].t)
	x, y := convert(in[0], t).broadcast(c.shape), convert(in[1], t).broadcast(c.shape)
	out := newArray(graph.Bool, c.shape)
	set := func(i int, lt, eq, gt bool) {
		if lt && k.less || eq && k.equal || gt && k.greater || !lt && !eq && !gt && k.unordered {
			out.data[i] = 1
		}
	}
	switch {
	case isInt(t):
		v, w := x.ints(), y.ints()
		for i := range v {
			set(i, less(t, v[i], w[i]), v[i] == w[i], less(t, w[i], v[i]))
		}
	case t == graph.Complex64:
		if k.less != k.greater { // an order of complex numbers
			return nil, unsupported(c.Op.Name, t)
		}
		v, w := x.complexes(), y.complexes()
		for i := range v {
			set(i, false, v[i] == w[i], false)
		}
	default:
		v, w := x.floats(), y.floats()
		for i := range v {
			set(i, v[i] < w[i], v[i] == w[i], v[i] > w[i])
		}
	}
	return out, nil
}

func logicalNot(c *call, in []*array) (*array, error) {
	v := convert(in[0], graph.Bool).ints()
	for i := range v {
		v[i] ^= 1
	}
	return fromInts(graph.Bool, c.shape, v), nil
}

func logical(f func(x, y int64) int64) emitter {
	return func(c *call, in []*array) (*array, error) {
		v, w := convert(in[0], graph.Bool).broadcast(c.shape).ints(), convert(in[1], graph.Bool).broadcast(c.shape).ints()
		for i := range v {
			v[i] = f(v[i], w[i])
		}
		return fromInts(graph.Bool, c.shape, v), nil
	}
}

func astype(c *call, in []*array) (*array, error) { return convert(in[0], c.t), nil }

func where(c *call, in []*array) (*array, error) {
	cond := convert(in[0], graph.Bool).broadcast(c.shape).bytes()
	x, y := convert(in[1], c.t).broadcast(c.shape).bytes(), convert(in[2], c.t).broadcast(c.shape).bytes()
	out, es := newArray(c.t, c.shape), c.t.Size()
	for i := range cond {
		from := y
		if cond[i] != 0 {
			from = x
		}
		copy(out.data[i*es:(i+1)*es], from[i*es:])
	}
	return out, nil
}

// arange counts up in the type itself: each element is the one before plus step.
func arange(c *call, _ []*array) (*array, error) {
	start, step := float64(c.Dim("start").Int()), float64(c.Dim("step").Int())
	out := newArray(c.t, c.shape)
	if isInt(c.t) {
		v := make([]int64, out.size())
		for i := range v {
			v[i] = int64(c.Dim("start").Int() + i*c.Dim("step").Int())
		}
		return fromInts(c.t, c.shape, v), nil
	}
	step = round(c.t, round(c.t, start+step)-round(c.t, start))
	for i, x := 0, round(c.t, start); i < out.size(); i, x = i+1, round(c.t, x+step) {
		put(c.t, out.data, i, x)
	}
	return out, nil
}
