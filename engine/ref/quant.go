package ref

import (
	"math"

	"zmlx-rewrite/graph"
)

// packed is a quantized matrix [..., rows, cols] as MLX stores it: the codes of a
// row lie one behind the other, lowest bits first, and each group of codes has a
// scale (and, in mode affine, a bias). See "MLX quantization" in mlx/ops.cpp.
type packed struct {
	codes        []byte
	scales, bias *array
	mode         string
	bits, group  int
	rows, cols   int
	rowBytes     int
}

func newPacked(c *call, w, scales, biases *array) packed {
	p := packed{codes: w.bytes(), mode: c.Str("mode"), bits: c.Dim("bits").Int(), group: c.Dim("group_size").Int()}
	p.rows = w.shape[len(w.shape)-2]
	p.rowBytes = w.shape[len(w.shape)-1] * 4
	p.cols = p.rowBytes * 8 / p.bits
	p.scales = scales.contiguous()
	if biases != nil {
		p.bias = biases.contiguous()
	}
	return p
}

var fp4 = [16]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6, math.Copysign(0, -1), -0.5, -1, -1.5, -2, -3, -4, -6}

// fp8 is the value of E4M3 bits. MLX gives 480 and -480 for what others read as NaN.
func fp8(b byte) float64 {
	v := graph.Float16Value(uint16(b&127)<<7) * 256
	if b&128 != 0 {
		return -v
	}
	return v
}

// row fills dst with row r. Every step is rounded to t.
func (p *packed) row(r int, dst []float64, t graph.DType) {
	groups := p.cols / p.group
	groupBytes := p.group * p.bits / 8
	var table [64]float64 // of what the codes of a group stand for
	for g := range groups {
		v := p.groupAt(r*groups+g, t)
		codes := p.codes[r*p.rowBytes+g*groupBytes:][:groupBytes]
		out := dst[g*p.group : (g+1)*p.group]
		tabled := 1<<p.bits <= min(p.group, len(table))
		for q := 0; tabled && q < 1<<p.bits; q++ {
			table[q] = v.value(uint32(q))
		}
		if tabled && p.bits == 4 {
			for i, b := range codes {
				out[2*i], out[2*i+1] = table[b&15], table[b>>4]
			}
			continue
		}
		var bits uint32 // that were read, n of them
		var n int
		for i := range out {
			if n < p.bits {
				bits |= uint32(codes[0]) << n
				codes, n = codes[1:], n+8
			}
			q := bits & (1<<p.bits - 1)
			bits, n = bits>>p.bits, n-p.bits
			if tabled {
				out[i] = table[q]
			} else {
				out[i] = v.value(q)
			}
		}
	}
}

// group is what the codes of one group have in common.
type group struct {
	scale, bias float64
	affine      bool
	bits        int
	t           graph.DType
}

func (p *packed) groupAt(i int, t graph.DType) group {
	v := group{scale: p.scales.at(i), affine: p.mode == "affine", bits: p.bits, t: t}
	switch p.mode {
	case "affine":
		v.bias = p.bias.at(i)
	case "nvfp4":
		v.scale = fp8(byte(v.scale))
	default:
		v.scale = math.Ldexp(1, int(v.scale)-127)
	}
	return v
}

// value is what a code stands for.
func (v *group) value(q uint32) float64 {
	switch {
	case v.affine:
		return round(v.t, round(v.t, v.scale*float64(q))+v.bias)
	case v.bits == 4:
		return round(v.t, v.scale*fp4[q])
	}
	return round(v.t, v.scale*fp8(byte(q)))
}

// matrix returns matrix i as columns: of its transpose (x @ w.T) or of itself.
func (p *packed) matrix(i int, transpose bool) columns {
	if transpose {
		return columns{p.rows, p.cols, func(j int, dst []float64) { p.row(i*p.rows+j, dst, graph.Float32) }}
	}
	all := make([]float64, p.rows*p.cols)
	parallel(p.rows, 4*p.cols, func(from, to int) {
		for r := from; r < to; r++ {
			p.row(i*p.rows+r, all[r*p.cols:(r+1)*p.cols], graph.Float32)
		}
	})
	return columns{p.cols, p.rows, func(j int, dst []float64) {
		for r := range dst {
			dst[r] = all[r*p.cols+j]
		}
	}}
}

// quantize rounds where MLX's CPU does: the edge of a group that is furthest from 0 is
// a whole number of steps away from it, so that zero has a code.
func quantize(c *call, in []*array) ([]*array, error) {
	w, bits, group := in[0].contiguous(), c.Dim("bits").Int(), c.Dim("group_size").Int()
	x, t := w.floats(), w.t
	k := w.shape[len(w.shape)-1]
	lead := w.shape[:len(w.shape)-1]
	shape := func(n int) []int { return append(append([]int(nil), lead...), n) }
	codes := newArray(graph.Uint32, shape(k*bits/32))
	scales, biases := newArray(t, shape(k/group)), newArray(t, shape(k/group))
	most := float32(int(1)<<bits - 1)
	// As float32 has it; the arguments of divisions are written so that nothing is fused.
	for i := range len(x) / group {
		low, high := float32(math.Inf(1)), float32(math.Inf(-1))
		for _, v := range x[i*group : (i+1)*group] {
			low, high = min(low, float32(v)), max(high, float32(v))
		}
		scale, edge := max(float32(high-low)/most, 1e-7), low
		if !(math.Abs(float64(low)) > math.Abs(float64(high))) {
			scale, edge = -scale, high
		}
		bias := float32(0)
		if steps := float32(math.RoundToEven(float64(edge / scale))); steps != 0 {
			scale, bias = edge/steps, edge
		}
		at := i * group * bits // in bits from the first
		for _, v := range x[i*group : (i+1)*group] {
			q := float32(math.RoundToEven(float64(float32(float32(v)-bias) / scale)))
			if q != q { // of a group with NaN or infinity
				q = 0
			}
			code := uint64(min(max(q, 0), most)) << (at % 8)
			for b := at / 8; code != 0; b, code = b+1, code>>8 {
				codes.data[b] |= byte(code)
			}
			at += bits
		}
		put(t, scales.data, i, float64(scale))
		put(t, biases.data, i, float64(bias))
	}
	return []*array{codes, scales, biases}, nil
}

func dequantize(c *call, in []*array) (*array, error) {
	p := newPacked(c, in[0], in[1], optional(in, 2))
	out := newArray(c.t, c.shape)
	parallel(out.size()/max(1, p.cols), 4*p.cols, func(from, to int) {
		row := make([]float64, p.cols)
		for r := from; r < to; r++ {
			p.row(r, row, c.t)
			for i, v := range row {
				put(c.t, out.data, r*p.cols+i, v)
			}
		}
	})
	return out, nil
}

func quantizedMatmul(c *call, in []*array) (*array, error) {
	x := convert(in[0], c.t)
	p := newPacked(c, in[1], convertScales(c, in[2]), convertScales(c, optional(in, 3)))
	k, n := x.shape[len(x.shape)-1], c.shape[len(c.shape)-1]
	out := make([]float64, size(c.shape))
	w := in[1].shape
	if len(w) == 2 || len(x.shape) <= 2 {
		if n > 0 {
			product(x.floats(), len(out)/n, p.matrix(0, c.Flag("transpose")), out)
		}
		return fromFloats(c.t, c.shape, out), nil
	}
	m := x.shape[len(x.shape)-2]
	lead := c.shape[:len(c.shape)-2]
	which := make([]int64, size(w[:len(w)-2]))
	for i := range which {
		which[i] = int64(i)
	}
	pick := fromInts(graph.Int64, w[:len(w)-2], which).broadcast(lead).ints()
	v := x.broadcast(append(append([]int(nil), lead...), m, k)).floats()
	for i, r := range pick {
		product(v[i*m*k:(i+1)*m*k], m, p.matrix(int(r), c.Flag("transpose")), out[i*m*n:(i+1)*m*n])
	}
	return fromFloats(c.t, c.shape, out), nil
}

// convertScales rounds scales and biases to the type of the product, as MLX does.
func convertScales(c *call, a *array) *array {
	if a == nil || c.Str("mode") != "affine" {
		return a
	}
	return convert(a, c.t)
}

func gatherQMM(c *call, in []*array) (*array, error) {
	if optional(in, 4) == nil && optional(in, 5) == nil {
		return quantizedMatmul(c, in)
	}
	x := convert(in[0], c.t)
	p := newPacked(c, in[1], convertScales(c, in[2]), convertScales(c, in[3]))
	m, k, n := c.shape[len(c.shape)-2], x.shape[len(x.shape)-1], c.shape[len(c.shape)-1]
	v := x.floats()
	out := make([]float64, size(c.shape))
	err := gathered(c, in, 4, x.shape, in[1].shape, func(i, l, r int) error {
		product(v[l*m*k:(l+1)*m*k], m, p.matrix(r, c.Flag("transpose")), out[i*m*n:(i+1)*m*n])
		return nil
	})
	return fromFloats(c.t, c.shape, out), err
}
