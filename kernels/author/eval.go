package author

import "math"

// values are what inputs and parameters hold while a formula is evaluated: rows*n numbers
// of a full input, n of a vector.
type values struct {
	rows, n int
	of      map[string][]float64
	// round rounds to the element type; results of all ops are rounded.
	round func(float64) float64
}

// at is where row r, column k of a value is found.
func (v *values) at(s shape, r, k int) int {
	switch s {
	case vector:
		return k
	case perRow:
		return r
	case full:
		return r*v.n + k
	}
	return 0
}

func (v *values) size(s shape) int {
	size := 1
	if s&vector != 0 {
		size *= v.n
	}
	if s&perRow != 0 {
		size *= v.rows
	}
	return size
}

// eval computes a node over all rows, in float64 between the roundings. It is this
// package's own, so that there is something to compare the reference and the gradient with.
func (v *values) eval(result *node) []float64 {
	got := map[*node][]float64{}
	for _, x := range reachable(result) {
		got[x] = v.node(x, got)
	}
	return got[result]
}

func (v *values) node(x *node, got map[*node][]float64) []float64 {
	switch x.op {
	case inputOp, cotangentOp:
		return v.of[x.name]
	case paramOp:
		return []float64{v.round(v.of[x.name][0])}
	case numberOp:
		if x.truth {
			return []float64{x.value}
		}
		return []float64{v.round(x.value)}
	case countOp:
		return []float64{v.round(float64(v.n))}
	}
	out := make([]float64, v.size(x.shape))
	if x.op == columnOp {
		for r := range v.rows {
			for k := range v.n {
				out[k] += got[x.in[0]][v.at(x.in[0].shape, r, k)]
			}
		}
		for k := range out {
			out[k] = v.round(out[k])
		}
		return out
	}
	if isReduction(x.op) {
		for r := range v.rows {
			row := make([]float64, v.n)
			for k := range row {
				row[k] = got[x.in[0]][v.at(x.in[0].shape, r, k)]
			}
			out[r] = v.round(v.reduce(x.op, row))
		}
		return out
	}
	o := ops[x.op]
	args := make([]float64, len(x.in))
	for r := range v.rows {
		for k := range v.n {
			for i, y := range x.in {
				args[i] = got[y][v.at(y.shape, r, k)]
			}
			y := o.eval(v.round, args)
			if !o.truth {
				y = v.round(y)
			}
			out[v.at(x.shape, r, k)] = y
		}
	}
	return out
}

func (v *values) reduce(op string, row []float64) float64 {
	switch op {
	case "sum":
		sum := 0.0
		for _, x := range row {
			sum += x
		}
		return sum
	case "min":
		lo := math.Inf(1)
		for _, x := range row {
			lo = minimum(x, lo)
		}
		return lo
	}
	hi := math.Inf(-1)
	for _, x := range row {
		hi = maximum(x, hi)
	}
	if op == "max" || math.IsInf(hi, 0) {
		return hi
	}
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(x - hi)
	}
	return math.Log(sum) + hi
}
