package author

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// opInfo is what a formula may use an op of MLX for.
type opInfo struct {
	operands   int
	truth      bool   // the result is a condition
	takesTruth bool   // the operands are
	symbol     string // the operator, if people write one
	// eval computes one element, but for the rounding of the result. round rounds to the
	// element type, for ops that MLX computes in several rounded steps.
	eval func(round func(float64) float64, x []float64) float64
	// code is the op in the subset of MSL, on floats; if typed is set, on values of the
	// element type, to which it also rounds.
	code  string
	typed bool
	exact bool // values of the element type give one: nothing is to be rounded
}

// written is how people write the op, for messages.
func (o *opInfo) written(op string) string {
	if o.symbol != "" {
		return o.symbol
	}
	return op
}

func one(f func(float64) float64) func(func(float64) float64, []float64) float64 {
	return func(_ func(float64) float64, x []float64) float64 { return f(x[0]) }
}

func two(f func(x, y float64) float64) func(func(float64) float64, []float64) float64 {
	return func(_ func(float64) float64, x []float64) float64 { return f(x[0], x[1]) }
}

func test(f func(x, y float64) bool) func(func(float64) float64, []float64) float64 {
	return two(func(x, y float64) float64 {
		if f(x, y) {
			return 1
		}
		return 0
	})
}

// ops are the ops of MLX that all targets can compute, by their names. What is missing
// here is missing in the subset of MSL (tan, log2, remainder, ...).
//
// A row needs an entry in derivatives as well, or a reason there why it has none.
var ops = map[string]*opInfo{
	"abs":      {operands: 1, exact: true, eval: one(math.Abs), code: "metal::abs(%s)"},
	"ceil":     {operands: 1, exact: true, eval: one(math.Ceil), code: "metal::ceil(%s)"},
	"cos":      {operands: 1, eval: one(math.Cos), code: "metal::precise::cos(%s)"},
	"erf":      {operands: 1, eval: one(math.Erf), code: "mlx_erf(%s)"},
	"exp":      {operands: 1, eval: one(math.Exp), code: "metal::precise::exp(%s)"},
	"expm1":    {operands: 1, eval: one(math.Expm1), code: "mlx_expm1(%s)"},
	"floor":    {operands: 1, exact: true, eval: one(math.Floor), code: "metal::floor(%s)"},
	"log":      {operands: 1, eval: one(math.Log), code: "metal::precise::log(%s)"},
	"log1p":    {operands: 1, eval: one(math.Log1p), code: "mlx_log1p(%s)"},
	"negative": {operands: 1, exact: true, symbol: "-", eval: one(func(x float64) float64 { return -x }), code: "-%s"},
	// MLX's CPU takes the reciprocal of a rounded root, its GPUs do it in one step.
	"rsqrt": {operands: 1, code: "mlx_rsqrt(%s)", typed: true,
		eval: func(round func(float64) float64, x []float64) float64 { return 1 / round(math.Sqrt(x[0])) }},
	"sigmoid": {operands: 1, eval: sigmoid, code: "mlx_sigmoid(%s)", typed: true},
	"sign":    {operands: 1, exact: true, eval: one(sign), code: "%s > 0.0f ? 1.0f : %[1]s < 0.0f ? -1.0f : 0.0f"},
	"sin":     {operands: 1, eval: one(math.Sin), code: "metal::precise::sin(%s)"},
	"sqrt":    {operands: 1, eval: one(math.Sqrt), code: "metal::precise::sqrt(%s)"},
	"square":  {operands: 1, eval: one(func(x float64) float64 { return x * x }), code: "%s * %[1]s"},
	"tanh":    {operands: 1, eval: one(math.Tanh), code: "metal::precise::tanh(%s)"},

	"add":       {operands: 2, symbol: "+", eval: two(func(x, y float64) float64 { return x + y }), code: "%s + %s"},
	"divide":    {operands: 2, symbol: "/", eval: two(func(x, y float64) float64 { return x / y }), code: "%s / %s"},
	"logaddexp": {operands: 2, eval: logaddexp, code: "mlx_logaddexp(%s, %s)", typed: true},
	"maximum":   {operands: 2, exact: true, eval: two(maximum), code: "metal::isnan(%s) || %[1]s > %[2]s ? %[1]s : %[2]s"},
	"minimum":   {operands: 2, exact: true, eval: two(minimum), code: "metal::isnan(%s) || %[1]s < %[2]s ? %[1]s : %[2]s"},
	"multiply":  {operands: 2, symbol: "*", eval: two(func(x, y float64) float64 { return x * y }), code: "%s * %s"},
	"power":     {operands: 2, symbol: "**", eval: two(math.Pow), code: "metal::precise::pow(%s, %s)"},
	"subtract":  {operands: 2, symbol: "-", eval: two(func(x, y float64) float64 { return x - y }), code: "%s - %s"},

	"where": {operands: 3, exact: true, code: "%s ? %s : %s",
		eval: func(_ func(float64) float64, x []float64) float64 {
			if x[0] != 0 {
				return x[1]
			}
			return x[2]
		}},

	"equal":         {operands: 2, truth: true, symbol: "==", eval: test(func(x, y float64) bool { return x == y }), code: "%s == %s"},
	"greater":       {operands: 2, truth: true, symbol: ">", eval: test(func(x, y float64) bool { return x > y }), code: "%s > %s"},
	"greater_equal": {operands: 2, truth: true, symbol: ">=", eval: test(func(x, y float64) bool { return x >= y }), code: "%s >= %s"},
	"less":          {operands: 2, truth: true, symbol: "<", eval: test(func(x, y float64) bool { return x < y }), code: "%s < %s"},
	"less_equal":    {operands: 2, truth: true, symbol: "<=", eval: test(func(x, y float64) bool { return x <= y }), code: "%s <= %s"},
	"not_equal":     {operands: 2, truth: true, symbol: "!=", eval: test(func(x, y float64) bool { return x != y }), code: "%s != %s"},

	"logical_and": {operands: 2, truth: true, takesTruth: true, symbol: "&&", eval: two(func(x, y float64) float64 { return x * y }), code: "%s && %s"},
	"logical_not": {operands: 1, truth: true, takesTruth: true, symbol: "!", eval: one(func(x float64) float64 { return 1 - x }), code: "!%s"},
	"logical_or":  {operands: 2, truth: true, takesTruth: true, symbol: "||", eval: two(math.Max), code: "%s || %s"},
}

// operators are the ops by the operators that people write.
var operators = func() map[string]string {
	m := map[string]string{}
	for name, o := range ops {
		if o.symbol != "" && o.operands == 2 {
			m[o.symbol] = name
		}
	}
	return m
}()

// reductions are the functions that make one value of each row. Mean and var are sums.
var reductions = []string{"logsumexp", "max", "mean", "min", "sum", "var"}

// aliases are other names of ops that people know.
var aliases = map[string]string{"pow": "power", "neg": "negative"}

// functionNames are all names that a formula may call.
func functionNames(withReductions bool) []string {
	names := slices.Collect(maps.Keys(ops))
	names = append(names, slices.Collect(maps.Keys(aliases))...)
	if withReductions {
		names = append(names, reductions...)
	}
	slices.Sort(names)
	return names
}

// express writes the op on operands, which are names or numbers.
func (o *opInfo) express(operands ...string) string {
	args := make([]any, len(operands))
	for i, x := range operands {
		args[i] = x
	}
	return fmt.Sprintf(o.code, args...)
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0 // of NaN too
}

// maximum and minimum are MLX's: the second of equals, and NaN if either is.
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

func sigmoid(round func(float64) float64, x []float64) float64 {
	y := 1 / (1 + round(math.Exp(math.Abs(x[0]))))
	if x[0] < 0 {
		return y
	}
	return 1 - y
}

func logaddexp(round func(float64) float64, x []float64) float64 {
	hi, lo := maximum(x[0], x[1]), minimum(x[0], x[1])
	if math.IsInf(lo, -1) || math.IsInf(hi, 1) {
		return hi
	}
	return hi + round(math.Log1p(round(math.Exp(round(lo-hi)))))
}
