package exact

import (
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/moves"
)

// dot is a sum of products. What log has made has no part in it: the exponentials of
// products are not known.
func dot(x, y []Number) Number {
	var p, q, pHigh, qHigh uint64 // sums of the low and the high halves of products
	var r float64
	has := uint8(hasQ)
	y = y[:len(x)]
	for i := range x {
		a, b := &x[i], &y[i]
		u, v := uint64(a.p)*uint64(b.p), uint64(a.q)*uint64(b.q)
		p, pHigh = p+u&(1<<32-1), pHigh+u>>32
		q, qHigh = q+v&(1<<32-1), qHigh+v>>32
		has &= a.has & b.has
		r += a.r * b.r
	}
	if has == 0 {
		q, qHigh = 0, 0
	}
	return Number{r, uint32((pHigh%P<<32 + p) % P), uint32((qHigh%Q<<32 + q) % Q), 0, has}
}

// matrix is a view of the last two axes.
type matrix struct {
	v          []Number
	rows, cols int
}

// matrices splits an array into its matrices.
func matrices(a *Array) []matrix {
	m, n := a.Shape[len(a.Shape)-2], a.Shape[len(a.Shape)-1]
	all := make([]matrix, moves.Size(a.Shape[:len(a.Shape)-2]))
	for i := range all {
		all[i] = matrix{a.V[i*m*n : (i+1)*m*n], m, n}
	}
	return all
}

func (m matrix) transposed() matrix {
	t := matrix{make([]Number, len(m.v)), m.cols, m.rows}
	for i := range m.rows {
		for j := range m.cols {
			t.v[j*m.rows+i] = m.v[i*m.cols+j]
		}
	}
	return t
}

// product writes a @ b.T.
func product(a, b matrix, out []Number) {
	for i := range a.rows {
		for j := range b.rows {
			out[i*b.rows+j] = dot(a.v[i*a.cols:(i+1)*a.cols], b.v[j*b.cols:(j+1)*b.cols])
		}
	}
}

// asMatrix gives a vector the axis that matmul thinks of: in front of it, or behind.
func asMatrix(a *Array, behind bool) *Array {
	if len(a.Shape) > 1 {
		return a
	}
	shape := []int{1, a.Shape[0]}
	if behind {
		shape = []int{a.Shape[0], 1}
	}
	return &Array{a.DType, shape, a.V}
}

// multiply writes a @ b, with leading axes broadcast.
func multiply(a, b *Array, out []Number) {
	a, b = asMatrix(a, false), asMatrix(b, true)
	lead := leading(a.Shape[:len(a.Shape)-2], b.Shape[:len(b.Shape)-2])
	as, bs := matrices(a), matrices(b)
	atA, atB := moves.Broadcast(a.Shape[:len(a.Shape)-2], lead), moves.Broadcast(b.Shape[:len(b.Shape)-2], lead)
	for i := range bs {
		bs[i] = bs[i].transposed()
	}
	n := a.Shape[len(a.Shape)-2] * b.Shape[len(b.Shape)-1]
	for i := range atA {
		product(as[atA[i]], bs[atB[i]], out[i*n:(i+1)*n])
	}
}

func leading(a, b []int) []int {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, d := range b {
		if k := len(a) - len(b) + i; out[k] == 1 {
			out[k] = d
		}
	}
	return out
}

func matmul(c *call) error {
	multiply(c.in[0], c.in[1], c.out.V)
	return nil
}

func addmm(c *call) error {
	multiply(c.in[1], c.in[2], c.out.V)
	alpha, beta, at := Exactly(c.float("alpha")), Exactly(c.float("beta")), moves.Broadcast(c.in[0].Shape, c.out.Shape)
	for i, x := range c.out.V {
		c.out.V[i] = alpha.mul(x).add(beta.mul(c.in[0].V[at[i]]))
	}
	return nil
}

// gathered multiplies pairs of matrices that indices name. An index that is not there
// counts all matrices, which broadcast against the other.
func (c *call) gathered(as, bs []matrix, leadA, leadB []int, lhs, rhs *Array) error {
	index := func(a *Array, lead []int) *Array {
		if a != nil {
			return a
		}
		a = &Array{Shape: lead, V: make([]Number, moves.Size(lead))}
		for i := range a.V {
			a.V[i] = Int(int64(i))
		}
		return a
	}
	lhs, rhs = index(lhs, leadA), index(rhs, leadB)
	lead := leading(lhs.Shape, rhs.Shape)
	atL, atR := moves.Broadcast(lhs.Shape, lead), moves.Broadcast(rhs.Shape, lead)
	for i := range atL {
		l, r := int(lhs.V[atL[i]].r), int(rhs.V[atR[i]].r)
		if l < 0 || l >= len(as) || r < 0 || r >= len(bs) {
			return fmt.Errorf("matrix %d and %d of %d and %d", l, r, len(as), len(bs))
		}
		n := as[l].rows * bs[r].rows
		product(as[l], bs[r], c.out.V[i*n:(i+1)*n])
	}
	return nil
}

func gatherMM(c *call) error {
	a, b := c.in[0], c.in[1]
	if c.in[2] == nil && c.in[3] == nil {
		return matmul(c)
	}
	bs := matrices(b)
	for i := range bs {
		bs[i] = bs[i].transposed()
	}
	return c.gathered(matrices(a), bs, a.Shape[:len(a.Shape)-2], b.Shape[:len(b.Shape)-2], c.in[2], c.in[3])
}

func gatherQMM(c *call) error {
	x := c.in[0]
	w, err := c.unpack(c.in[1], c.in[2], c.in[3])
	if err != nil {
		return err
	}
	if c.in[4] == nil && c.in[5] == nil {
		return c.quantized(x, w)
	}
	bs := matrices(w)
	if !c.flag("transpose") {
		for i := range bs {
			bs[i] = bs[i].transposed()
		}
	}
	return c.gathered(matrices(x), bs, x.Shape[:len(x.Shape)-2], w.Shape[:len(w.Shape)-2], c.in[4], c.in[5])
}

func quantizedMatmul(c *call) error {
	w, err := c.unpack(c.in[1], c.in[2], c.in[3])
	if err != nil {
		return err
	}
	return c.quantized(c.in[0], w)
}

// quantized multiplies by a matrix that has been unpacked.
func (c *call) quantized(x, w *Array) error {
	if !c.flag("transpose") {
		multiply(x, w, c.out.V)
		return nil
	}
	t := &Array{w.DType, slices.Clone(w.Shape), make([]Number, 0, len(w.V))}
	n := len(t.Shape)
	t.Shape[n-1], t.Shape[n-2] = t.Shape[n-2], t.Shape[n-1]
	for _, m := range matrices(w) {
		t.V = append(t.V, m.transposed().v...)
	}
	multiply(x, t, c.out.V)
	return nil
}

func dequantize(c *call) error {
	w, err := c.unpack(c.in[0], c.in[1], c.in[2])
	if err == nil {
		copy(c.out.V, w.V)
	}
	return err
}

// fp4 is E2M1.
var fp4 = [8]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6}

// fp8 is E4M3. MLX gives 480 and -480 for what others read as NaN.
func fp8(b uint32) float64 {
	v := graph.Float16Value(uint16(b&127)<<7) * 256
	if b&128 != 0 {
		return -v
	}
	return v
}

// unpack makes the matrix of its codes, scales and biases: see "MLX quantization" in
// mlx/ops.cpp.
func (c *call) unpack(w, scales, biases *Array) (*Array, error) {
	bits, group, mode := c.int("bits"), c.int("group_size"), c.word("mode")
	shape := slices.Clone(w.Shape)
	shape[len(shape)-1] = shape[len(shape)-1] * 32 / bits
	out := &Array{DType: scales.DType, Shape: shape, V: make([]Number, 0, moves.Size(shape))}
	words, cols := w.Shape[len(w.Shape)-1], shape[len(shape)-1]
	codes := make([]Number, 1<<bits)
	for i := range codes {
		switch {
		case mode == "affine":
			codes[i] = Int(int64(i))
		case bits == 4:
			codes[i] = Exactly(fp4[i&7])
			if i > 7 {
				codes[i] = codes[i].neg()
			}
		default:
			codes[i] = Exactly(fp8(uint32(i)))
		}
	}
	for r := range moves.Size(shape[:len(shape)-1]) {
		row := w.V[r*words : (r+1)*words]
		for k := range cols {
			var code uint32 // that may reach over into the next word
			for b := range bits {
				at := k*bits + b
				code |= uint32(row[at/32].r) >> (at % 32) & 1 << b
			}
			at := (r*cols + k) / group
			x := codes[code]
			switch mode {
			case "affine":
				x = x.mul(scales.V[at]).add(biases.V[at])
			case "nvfp4":
				x = x.mul(Exactly(fp8(uint32(scales.V[at].r))))
			case "mxfp4", "mxfp8":
				x = x.mul(Exactly(math.Ldexp(1, int(scales.V[at].r)-127)))
			default:
				return nil, fmt.Errorf("mode %s", mode)
			}
			out.V = append(out.V, x)
		}
	}
	return out, nil
}

func conv1d(c *call) error {
	x, w := c.in[0], c.in[1]
	stride, padding, dilation := c.int("stride"), c.int("padding"), c.int("dilation")
	length, channels := x.Shape[1], x.Shape[2]
	filters, taps, width := w.Shape[0], w.Shape[1], w.Shape[2]
	perGroup, windows := filters/c.int("groups"), c.out.Shape[1]
	for i := range c.out.V {
		batch, window, filter := i/filters/windows, i/filters%windows, i%filters
		s := Int(0)
		for tap := range taps {
			row := window*stride - padding + tap*dilation
			if row < 0 || row >= length {
				continue
			}
			from := (batch*length+row)*channels + filter/perGroup*width
			s = s.add(dot(x.V[from:from+width], w.V[(filter*taps+tap)*width:(filter*taps+tap+1)*width]))
		}
		c.out.V[i] = s
	}
	return nil
}
