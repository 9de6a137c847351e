package ref

import (
	"cmp"
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// reduction returns a with the axes of attribute "axis" last, and their size: row
// i of n elements makes element i of the result.
func reduction(c *call, a *array) (*array, int) {
	axes := c.Dims("axis")
	if axes == nil {
		axes = graph.Dims{c.Dim("axis")}
	}
	var keep, gone []int
	n := 1
	for i := range a.shape {
		if slices.Contains(axes, graph.N(int64(i-len(a.shape)))) {
			gone = append(gone, i)
			n *= a.shape[i]
		} else {
			keep = append(keep, i)
		}
	}
	return a.permuted(append(keep, gone...)), n
}

// fold reduces rows of values.
func fold[T any](v []T, n int, rows int, f func(row []T) T) []T {
	out := make([]T, rows)
	for i := range out {
		out[i] = f(v[i*n : (i+1)*n])
	}
	return out
}

func accumulate[T any](start T, step func(acc, x T) T) func([]T) T {
	return func(row []T) T {
		acc := start
		for _, x := range row {
			acc = step(acc, x)
		}
		return acc
	}
}

func reduceSum(c *call, in []*array) (*array, error) {
	a, n := reduction(c, in[0])
	switch rows := size(c.shape); {
	case isInt(a.t):
		return fromInts(c.t, c.shape, fold(a.ints(), n, rows, accumulate(0, func(s, x int64) int64 { return s + x }))), nil
	case a.t == graph.Complex64:
		return fromComplexes(c.shape, fold(a.complexes(), n, rows, accumulate(0, func(s, x complex64) complex64 { return s + x }))), nil
	default:
		return fromFloats(c.t, c.shape, fold(a.floats(), n, rows, accumulate(0, func(s, x float64) float64 { return s + x }))), nil
	}
}

func reduceProd(c *call, in []*array) (*array, error) {
	a, n := reduction(c, in[0])
	switch rows := size(c.shape); {
	case isInt(a.t):
		return fromInts(c.t, c.shape, fold(a.ints(), n, rows, accumulate(1, func(p, x int64) int64 { return p * x }))), nil
	case a.t == graph.Complex64:
		return fromComplexes(c.shape, fold(a.complexes(), n, rows, accumulate(1, mulComplex))), nil
	default:
		return fromFloats(c.t, c.shape, fold(a.floats(), n, rows, accumulate(1, func(p, x float64) float64 { return p * x }))), nil
	}
}

// extreme keeps the first of equal elements; NaN wins.
func extreme(c *call, in []*array, better func(order int) bool) (*array, error) {
	a, n := reduction(c, in[0])
	if n == 0 {
		return nil, unsupported(c.Op.Name+" of nothing", a.t)
	}
	rows := size(c.shape)
	switch {
	case isInt(a.t):
		return fromInts(c.t, c.shape, fold(a.ints(), n, rows, func(row []int64) int64 {
			best := row[0]
			for _, x := range row[1:] {
				if better(compareInts(a.t, x, best)) {
					best = x
				}
			}
			return best
		})), nil
	case a.t == graph.Complex64:
		return nil, unsupported(c.Op.Name, a.t)
	}
	return fromFloats(c.t, c.shape, fold(a.floats(), n, rows, func(row []float64) float64 {
		best := row[0]
		for _, x := range row[1:] {
			switch {
			case math.IsNaN(best):
			case math.IsNaN(x), x < best && better(-1), x > best && better(1):
				best = x
			}
		}
		return best
	})), nil
}

func compareInts(t graph.DType, x, y int64) int {
	if t == graph.Uint64 {
		return cmp.Compare(uint64(x), uint64(y))
	}
	return cmp.Compare(x, y)
}

func reduceMax(c *call, in []*array) (*array, error) {
	return extreme(c, in, func(order int) bool { return order > 0 })
}

func reduceMin(c *call, in []*array) (*array, error) {
	return extreme(c, in, func(order int) bool { return order < 0 })
}

// truth is "not 0" of each element; of a complex number, of either part, unlike
// the conversion to bool, which looks at the real part.
func truth(a *array) *array {
	if a.t != graph.Complex64 {
		return convert(a, graph.Bool)
	}
	out := newArray(graph.Bool, a.shape)
	for i, x := range a.complexes() {
		if x != 0 {
			out.data[i] = 1
		}
	}
	return out
}

func reduceAll(c *call, in []*array) (*array, error) {
	a, n := reduction(c, truth(in[0]))
	return fromInts(graph.Bool, c.shape, fold(a.ints(), n, size(c.shape), accumulate(1, func(p, x int64) int64 { return p & x }))), nil
}

func reduceAny(c *call, in []*array) (*array, error) {
	a, n := reduction(c, truth(in[0]))
	return fromInts(graph.Bool, c.shape, fold(a.ints(), n, size(c.shape), accumulate(0, func(p, x int64) int64 { return p | x }))), nil
}

// argReduce returns the lowest index of the best element. As in MLX, NaN is never
// better than anything, nor is anything better than NaN at index 0.
func argReduce(better func(order int) bool) emitter {
	return func(c *call, in []*array) (*array, error) {
		a, n := reduction(c, in[0])
		if n == 0 {
			return nil, unsupported(c.Op.Name+" of nothing", a.t)
		}
		out := make([]int64, size(c.shape))
		switch {
		case isInt(a.t):
			v := a.ints()
			for i := range out {
				for k, x := range v[i*n : (i+1)*n] {
					if better(compareInts(a.t, x, v[i*n+int(out[i])])) {
						out[i] = int64(k)
					}
				}
			}
		case a.t == graph.Complex64:
			return nil, unsupported(c.Op.Name, a.t)
		default:
			v := a.floats()
			for i := range out {
				for k, x := range v[i*n : (i+1)*n] {
					if best := v[i*n+int(out[i])]; x < best && better(-1) || x > best && better(1) {
						out[i] = int64(k)
					}
				}
			}
		}
		return fromInts(c.t, c.shape, out), nil
	}
}

// accOf is the type that MLX's softmax and logsumexp work in.
func accOf(t graph.DType, precise bool) graph.DType {
	if precise && t != graph.Float64 {
		return graph.Float32
	}
	return t
}

// exponentials replaces a row by exp(x - max), rounded to acc at each step, and
// returns the largest element and the sum.
func exponentials(row []float64, acc graph.DType) (hi, sum float64) {
	hi = math.Inf(-1)
	for _, x := range row {
		hi = maximum(x, hi)
	}
	for i, x := range row {
		row[i] = round(acc, math.Exp(round(acc, x-hi)))
		sum += row[i]
	}
	return hi, round(acc, sum)
}

// softmaxRow works in place; results are not yet rounded to the type.
func softmaxRow(row []float64, acc graph.DType) {
	_, sum := exponentials(row, acc)
	norm := round(acc, 1/sum)
	for i := range row {
		row[i] = round(acc, row[i]*norm)
	}
}

func softmax(c *call, in []*array) (*array, error) {
	if c.t == graph.Complex64 {
		return nil, unsupported(c.Op.Name, c.t)
	}
	ax := c.Dim("axis").Int() + len(c.shape)
	a := convert(in[0], c.t).moved(ax)
	v, n := a.floats(), c.shape[ax]
	for i := 0; i < len(v); i += n {
		softmaxRow(v[i:i+n], accOf(c.t, c.Flag("precise")))
	}
	return unmoved(fromFloats(c.t, a.shape, v), ax), nil
}

// unmoved puts the last axis back in its place.
func unmoved(a *array, ax int) *array {
	var perm []int
	last := len(a.shape) - 1
	for i := range last {
		if i == ax {
			perm = append(perm, last)
		}
		perm = append(perm, i)
	}
	if ax == last {
		perm = append(perm, last)
	}
	return a.permuted(perm)
}

func logSumExp(c *call, in []*array) (*array, error) {
	if c.t == graph.Complex64 {
		return nil, unsupported(c.Op.Name, c.t)
	}
	a, n := reduction(c, convert(in[0], c.t))
	acc := accOf(c.t, true)
	return fromFloats(c.t, c.shape, fold(a.floats(), n, size(c.shape), func(row []float64) float64 {
		hi, sum := exponentials(row, acc)
		if math.IsInf(hi, 0) {
			return hi
		}
		return round(acc, math.Log(sum)) + hi
	})), nil
}

func cumsum(c *call, in []*array) (*array, error) {
	ax := c.Dim("axis").Int() + len(c.shape)
	a := convert(in[0], c.t).moved(ax)
	n, reverse, inclusive := c.shape[ax], c.Flag("reverse"), c.Flag("inclusive")
	switch {
	case isInt(c.t):
		v := a.ints()
		scan(v, n, reverse, inclusive)
		return unmoved(fromInts(c.t, a.shape, v), ax), nil
	case c.t == graph.Complex64:
		v := a.complexes()
		scan(v, n, reverse, inclusive)
		return unmoved(fromComplexes(a.shape, v), ax), nil
	}
	v := a.floats()
	scan(v, n, reverse, inclusive)
	return unmoved(fromFloats(c.t, a.shape, v), ax), nil
}

// scan replaces rows of n by their running sums.
func scan[T int64 | float64 | complex64](v []T, n int, reverse, inclusive bool) {
	for i := 0; i < len(v); i += n {
		var sum T
		for k := range n {
			at := i + k
			if reverse {
				at = i + n - 1 - k
			}
			before := sum
			sum += v[at]
			v[at] = sum
			if !inclusive {
				v[at] = before
			}
		}
	}
}
