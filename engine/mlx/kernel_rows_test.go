//go:build mlx

package mlx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"zmlx-rewrite/graph"
)

// packed is a quantized matrix, as kernels are given it and as float64.
type packed struct {
	n, k, group, bits     int
	mxfp4                 bool
	scaleType             graph.DType
	codes, scales, biases []byte
	value, size           []float64 // of n rows: the value, and |scale * code| + |bias|, which errors are measured by
}

// e2m1 are the values of 4-bit codes of the OCP MX specification.
var e2m1 = [16]float64{0, .5, 1, 1.5, 2, 3, 4, 6, math.Copysign(0, -1), -.5, -1, -1.5, -2, -3, -4, -6}

func randomPacked(r *rand.Rand, n, k, group, bits int, mxfp4 bool, scaleType graph.DType) *packed {
	p := &packed{n: n, k: k, group: group, bits: bits, mxfp4: mxfp4, scaleType: scaleType}
	p.codes = make([]byte, n*k*bits/8)
	for i := range p.codes {
		p.codes[i] = byte(r.Uint32())
	}
	var scale, bias []float64
	for range n * k / group {
		if mxfp4 {
			b := byte(120 + r.IntN(12))
			p.scales = append(p.scales, b)
			scale, bias = append(scale, math.Ldexp(1, int(b)-127)), append(bias, 0)
			continue
		}
		bytes, values := encode(scaleType, r.NormFloat64()/math.Ldexp(1, bits), r.NormFloat64())
		half := len(bytes) / 2
		p.scales, p.biases = append(p.scales, bytes[:half]...), append(p.biases, bytes[half:]...)
		scale, bias = append(scale, values[0]), append(bias, values[1])
	}
	for i := range n * k {
		code := float64(p.codes[i*bits/8])
		if bits == 4 {
			c := p.codes[i/2] >> (i % 2 * 4) & 15
			if code = float64(c); mxfp4 {
				code = e2m1[c]
			}
		}
		s, b := scale[i/group], bias[i/group]
		p.value = append(p.value, s*code+b)
		p.size = append(p.size, math.Abs(s*code)+math.Abs(b))
	}
	return p
}

// encode gives numbers as elements of a type, and what they are then.
func encode(t graph.DType, v ...float64) (data []byte, values []float64) {
	for _, x := range v {
		switch t {
		case graph.Float16:
			b := graph.Float16Bits(x)
			data, values = binary.LittleEndian.AppendUint16(data, b), append(values, graph.Float16Value(b))
		case graph.BFloat16:
			b := graph.BFloat16Bits(x)
			data, values = binary.LittleEndian.AppendUint16(data, b), append(values, float64(math.Float32frombits(uint32(b)<<16)))
		default:
			data, values = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(x))), append(values, float64(float32(x)))
		}
	}
	return data, values
}

func (p *packed) arrays(s *scope) []array {
	a := []array{s.fromBytes(p.codes, []int{p.n, p.k * p.bits / 32}, graph.Uint32), s.fromBytes(p.scales, []int{p.n, p.k / p.group}, p.scaleType), {}}
	if !p.mxfp4 {
		a[2] = s.fromBytes(p.biases, []int{p.n, p.k / p.group}, p.scaleType)
	}
	return a
}

// times multiplies rows of x with the matrix, in float64, and says what error the sums in
// float32 may have. (Products of 640 at most follow each other in a sum. That their errors
// have all the same sign does not happen; a product that is missing or wrong is some
// hundred times this.)
func (p *packed) times(x []float64, rows int) (y, bound []float64) {
	y, bound = make([]float64, rows*p.n), make([]float64, rows*p.n)
	for i := range y {
		row, size, of := p.value[i%p.n*p.k:][:p.k], p.size[i%p.n*p.k:][:p.k], x[i/p.n*p.k:][:p.k]
		for j, v := range of {
			y[i] += v * row[j]
			bound[i] += math.Abs(v) * size[j]
		}
		bound[i] *= 32 * 0x1p-24
	}
	return y, bound
}

// product is the type of quantized_matmul's result.
func (p *packed) product(x graph.DType) graph.DType {
	if p.mxfp4 || x == p.scaleType {
		return x
	}
	return graph.Float32
}

func unit(t graph.DType) float64 {
	switch t {
	case graph.Float16:
		return 0x1p-11
	case graph.BFloat16:
		return 0x1p-8
	}
	return 0x1p-24
}

// Products of all numbers of rows, so of every way to cut them up, for matrices of few and
// odd numbers of rows, of one group and of so many that sums have several parts. Some rows
// of x have no number in them, and must be the only ones of the result that do not.
func TestQuantizedRows(t *testing.T) {
	qmv, add, swiglu := libraryKernel(t, "qmv"), libraryKernel(t, "qmv_add"), libraryKernel(t, "qmv_swiglu")
	rows := []int{127, 128, 129, 161, 300}
	for i := range 40 {
		rows = append(rows, i+1)
	}
	repeat := 2
	switch {
	case os.Getenv("ZMLX_SOAK") != "":
		repeat = 30
	case testing.Short(): // the sums beside it are Go, which the race detector slows down
		rows, repeat = []int{1, 3, 33, 129}, 1
	}
	floats := []graph.DType{graph.Float32, graph.Float16, graph.BFloat16}
	formats := []struct {
		name  string
		bits  int
		mxfp4 bool
	}{{"affine4", 4, false}, {"affine8", 8, false}, {"mxfp4", 4, true}}
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(40, uint64(len(f.name)+f.bits)))
			pick := func(v ...int) int { return v[r.IntN(len(v))] }
			for _, rows := range rows {
				for range repeat {
					group, scale := pick(32, 64, 128), floats[r.IntN(3)]
					if f.mxfp4 {
						group, scale = 32, graph.Uint8
					}
					k, n := group*pick(1, 2, 3, 5, 7, 11, 21), pick(1, 2, 3, 5, 7, 11, 12, 13, 25, 47, 48, 49, 61, 97, 131)
					if rows > 40 {
						k, n = group*pick(1, 11), pick(13, 49, 97)
					}
					x, workers := floats[r.IntN(3)], pick(1, 2, 3)
					name := fmt.Sprintf("%d rows of %v by %d rows of %d, groups of %d, scales of %v, %d threads", rows, x, n, k, group, scale, workers)
					w, other := randomPacked(r, n, k, group, f.bits, f.mxfp4, scale), randomPacked(r, n, k, group, f.bits, f.mxfp4, scale)
					var numbers []float64
					for range rows * k {
						numbers = append(numbers, r.NormFloat64())
					}
					lost := -1 // a row without a number
					if rows > 1 && r.IntN(3) == 0 {
						lost = r.IntN(rows)
						numbers[lost*k+r.IntN(k)] = []float64{math.NaN(), math.Inf(1)}[r.IntN(2)]
					}
					data, values := encode(x, numbers...)
					mode := int64(0)
					if f.mxfp4 {
						mode = 1
					}
					ints := []int64{int64(rows), int64(k), int64(n), int64(k * f.bits / 32), int64(k / group), int64(f.bits), int64(group), mode}
					want, bound := w.times(values, rows)
					product := w.product(x)
					check := func(kernel string, got []float32, want, bound []float64) error {
						for i, g := range got {
							if i/n == lost {
								if !math.IsNaN(float64(g)) && !math.IsInf(float64(g), 0) {
									return fmt.Errorf("%s, %s: element %d of row %d, which has none, is a number: %v", kernel, name, i%n, lost, g)
								}
								continue
							}
							if !(math.Abs(float64(g)-want[i]) <= bound[i]) {
								return fmt.Errorf("%s, %s: element %d of row %d is %v, not %v (± %.2g)", kernel, name, i%n, i/n, g, want[i], bound[i])
							}
						}
						return nil
					}
					onCPU(t, func(s *scope) error {
						m := w.arrays(s)
						in := append([]array{s.fromBytes(data, []int{rows, k}, x)}, m...)
						call := func(k hostKernel, result graph.DType, in ...array) []float32 {
							c := &hostCall{ints: ints, workers: workers, types: []graph.DType{result}, shapes: [][]int{{rows, n}}}
							return s.float32s(s.callHost(k, in, c)[0])
						}
						rounded := make([]float64, len(want))
						for i := range want {
							rounded[i] = bound[i] + unit(product)*math.Abs(want[i])
						}
						if err := check("qmv", call(qmv, product, in...), want, rounded); err != nil {
							return err
						}

						if f.mxfp4 || x == scale || x == graph.Float32 { // the residual's type is the product's
							var residual []float64
							for range want {
								residual = append(residual, r.NormFloat64())
							}
							data, residual := encode(product, residual...)
							sum, err := make([]float64, len(want)), make([]float64, len(want))
							for i := range want {
								sum[i] = want[i] + residual[i]
								err[i] = rounded[i] + unit(product)*(math.Abs(sum[i])+rounded[i])
							}
							y := call(add, product, append(in, s.fromBytes(data, []int{rows, n}, product))...)
							if err := check("qmv_add", y, sum, err); err != nil {
								return err
							}
						}
						if product == graph.Float32 {
							up, upBound := other.times(values, rows)
							both, err := make([]float64, len(want)), make([]float64, len(want))
							for i := range want {
								sigmoid := 1 / (1 + math.Exp(-want[i]))
								both[i] = want[i] * sigmoid * up[i]
								// The derivative of silu is 1.1 at most.
								err[i] = 1.1*bound[i]*math.Abs(up[i]) + upBound[i]*math.Abs(want[i]*sigmoid) + bound[i]*upBound[i] + 0x1p-20*math.Abs(both[i]) + 1e-30
							}
							y := call(swiglu, product, append(in, other.arrays(s)...)...)
							if err := check("qmv_swiglu", y, both, err); err != nil {
								return err
							}
						}
						return s.err
					})
				}
			}
		})
	}
}
