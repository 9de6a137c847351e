package ref

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"zmlx-rewrite/graph"
)

// array is a value: elements of type t at data, element i0,i1,... at index
// off + i0*strides[0] + i1*strides[1] + ... counted in elements. Arrays share
// data (views), so nobody writes to data that it did not just make; kv_append
// into a cache that was handed over is the one exception.
type array struct {
	t       graph.DType
	shape   []int
	strides []int
	off     int
	data    []byte
}

// newArray makes a row-major array of zeros.
func newArray(t graph.DType, shape []int) *array {
	return fromBytes(t, shape, make([]byte, size(shape)*t.Size()))
}

// fromBytes makes a row-major array of data, without a copy.
func fromBytes(t graph.DType, shape []int, data []byte) *array {
	return &array{t: t, shape: shape, strides: rowMajor(shape), data: data}
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func rowMajor(shape []int) []int {
	strides := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}

func (a *array) size() int { return size(a.shape) }

// dense reports whether the elements lie one behind the other in row-major order.
func (a *array) dense() bool {
	n := 1
	for i := len(a.shape) - 1; i >= 0; i-- {
		if a.shape[i] != 1 && a.strides[i] != n {
			return false
		}
		n *= a.shape[i]
	}
	return true
}

// base returns what names a's data: all views of it keep its first byte. It is
// nil for an array without elements.
func (a *array) base() *byte {
	if len(a.data) == 0 {
		return nil
	}
	return &a.data[0]
}

// bytes returns the elements in row-major order. They may be shared with a.
func (a *array) bytes() []byte {
	es := a.t.Size()
	if a.dense() {
		return a.data[a.off*es : (a.off+a.size())*es]
	}
	out := make([]byte, 0, a.size()*es)
	a.lines(func(at, step, n int) {
		if step == 1 {
			out = append(out, a.data[at*es:(at+n)*es]...)
			return
		}
		for range n {
			out = append(out, a.data[at*es:(at+1)*es]...)
			at += step
		}
	})
	return out
}

// contiguous returns a in row-major order, itself if it is already.
func (a *array) contiguous() *array {
	if a.dense() {
		return a
	}
	return fromBytes(a.t, a.shape, a.bytes())
}

// each calls f with the index into data of every element, in row-major order.
func (a *array) each(f func(i int)) {
	a.lines(func(at, step, n int) {
		for k := range n {
			f(at + k*step)
		}
	})
}

// lines calls f for the elements in row-major order, as many at a time as are equally far
// apart: n of them, the first at index at into data.
func (a *array) lines(f func(at, step, n int)) {
	if a.size() == 0 {
		return
	}
	rank, n, step := len(a.shape), 1, 1
	for rank > 0 {
		if d, s := a.shape[rank-1], a.strides[rank-1]; n == 1 {
			n, step = d, s
		} else if d == 1 || s == n*step {
			n *= d
		} else {
			break
		}
		rank--
	}
	at := make([]int, rank)
	for i := a.off; ; {
		f(i, step, n)
		d := rank - 1
		for ; d >= 0; d-- {
			i += a.strides[d]
			if at[d]++; at[d] < a.shape[d] {
				break
			}
			i -= at[d] * a.strides[d]
			at[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// broadcast returns a view of a in a shape that it broadcasts to.
func (a *array) broadcast(shape []int) *array {
	strides := make([]int, len(shape))
	lead := len(shape) - len(a.shape)
	for i, d := range a.shape {
		if d == shape[lead+i] {
			strides[lead+i] = a.strides[i]
		}
	}
	return &array{a.t, shape, strides, a.off, a.data}
}

// sub returns the view of a at index i of its first axis.
func (a *array) sub(i int) *array {
	return &array{a.t, a.shape[1:], a.strides[1:], a.off + i*a.strides[0], a.data}
}

// moved returns the view of a whose axis ax comes last.
func (a *array) moved(ax int) *array {
	var perm []int
	for i := range a.shape {
		if i != ax {
			perm = append(perm, i)
		}
	}
	return a.permuted(append(perm, ax))
}

func (a *array) permuted(perm []int) *array {
	v := &array{a.t, make([]int, len(perm)), make([]int, len(perm)), a.off, a.data}
	for i, p := range perm {
		v.shape[i], v.strides[i] = a.shape[p], a.strides[p]
	}
	return v
}

// half16 holds the values of all float16 bits.
var half16 = sync.OnceValue(func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		t[i] = float32(graph.Float16Value(uint16(i)))
	}
	return t
})

// line decodes to dst the elements at the indices at, at+step, at+2*step and so on into data.
// 64-bit integers beyond 2^53 lose bits: use ints for them.
func (a *array) line(at, step int, dst []float64) {
	le, data := binary.LittleEndian, a.data
	switch a.t {
	case graph.Float32:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(le.Uint32(data[4*at:])))
			at += step
		}
	case graph.BFloat16:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(uint32(le.Uint16(data[2*at:])) << 16))
			at += step
		}
	case graph.Float16:
		table := half16()
		for i := range dst {
			dst[i] = float64(table[le.Uint16(data[2*at:])])
			at += step
		}
	default:
		es := a.t.Size()
		for i := range dst {
			dst[i] = graph.DecodeElem(a.t, data[at*es:])
			at += step
		}
	}
}

// at returns element i of a dense array.
func (a *array) at(i int) float64 {
	var v [1]float64
	a.line(a.off+i, 0, v[:])
	return v[0]
}

// floats returns all elements in row-major order.
func (a *array) floats() []float64 {
	out := make([]float64, a.size())
	rest := out
	a.lines(func(at, step, n int) {
		a.line(at, step, rest[:n])
		rest = rest[n:]
	})
	return out
}

// ints returns all elements of an integer or bool array in row-major order.
// Those of uint64 keep their bits.
func (a *array) ints() []int64 {
	le, data := binary.LittleEndian, a.data
	out := make([]int64, 0, a.size())
	var read func(i int) int64
	switch a.t {
	case graph.Bool, graph.Uint8:
		read = func(i int) int64 { return int64(data[i]) }
	case graph.Int8:
		read = func(i int) int64 { return int64(int8(data[i])) }
	case graph.Uint16:
		read = func(i int) int64 { return int64(le.Uint16(data[2*i:])) }
	case graph.Int16:
		read = func(i int) int64 { return int64(int16(le.Uint16(data[2*i:]))) }
	case graph.Uint32:
		read = func(i int) int64 { return int64(le.Uint32(data[4*i:])) }
	case graph.Int32:
		read = func(i int) int64 { return int64(int32(le.Uint32(data[4*i:]))) }
	case graph.Uint64, graph.Int64:
		read = func(i int) int64 { return int64(le.Uint64(data[8*i:])) }
	default:
		panic("ref: ints of " + a.t.String())
	}
	a.each(func(i int) { out = append(out, read(i)) })
	return out
}

// complexes returns all elements of a complex64 array in row-major order.
func (a *array) complexes() []complex64 {
	out := make([]complex64, 0, a.size())
	le := binary.LittleEndian
	a.each(func(i int) {
		out = append(out, complex(math.Float32frombits(le.Uint32(a.data[8*i:])), math.Float32frombits(le.Uint32(a.data[8*i+4:]))))
	})
	return out
}

// round returns v as element type t holds it. Half types are rounded by way of
// float32, as everywhere in MLX.
func round(t graph.DType, v float64) float64 {
	if t == graph.Float32 { // the most frequent one, in a function that is small enough to inline
		return float64(float32(v))
	}
	return roundTo(t, v)
}

func roundTo(t graph.DType, v float64) float64 {
	switch t {
	case graph.Float64:
		return v
	case graph.BFloat16:
		return float64(math.Float32frombits(uint32(graph.BFloat16Bits(v)) << 16))
	case graph.Float16:
		return float64(half16()[graph.Float16Bits(v)])
	}
	return graph.Round(t, v)
}

// put writes v, rounded, as element i of row-major data.
func put(t graph.DType, data []byte, i int, v float64) {
	le := binary.LittleEndian
	switch t {
	case graph.Float32:
		le.PutUint32(data[4*i:], math.Float32bits(float32(v)))
	case graph.BFloat16:
		le.PutUint16(data[2*i:], graph.BFloat16Bits(v))
	case graph.Float16:
		le.PutUint16(data[2*i:], graph.Float16Bits(v))
	default:
		es := t.Size()
		graph.AppendElem(data[i*es:i*es:(i+1)*es], t, v)
	}
}

// fromFloats makes an array of rounded values.
func fromFloats(t graph.DType, shape []int, v []float64) *array {
	a := newArray(t, shape)
	for i, x := range v {
		put(t, a.data, i, x)
	}
	return a
}

// fromInts makes an integer or bool array; integers wrap, bool is "not 0".
func fromInts(t graph.DType, shape []int, v []int64) *array {
	a := newArray(t, shape)
	le := binary.LittleEndian
	for i, x := range v {
		switch t {
		case graph.Bool:
			if x != 0 {
				a.data[i] = 1
			}
		case graph.Uint8, graph.Int8:
			a.data[i] = byte(x)
		case graph.Uint16, graph.Int16:
			le.PutUint16(a.data[2*i:], uint16(x))
		case graph.Uint32, graph.Int32:
			le.PutUint32(a.data[4*i:], uint32(x))
		case graph.Uint64, graph.Int64:
			le.PutUint64(a.data[8*i:], uint64(x))
		default:
			panic("ref: fromInts to " + t.String())
		}
	}
	return a
}

func fromComplexes(shape []int, v []complex64) *array {
	a := newArray(graph.Complex64, shape)
	le := binary.LittleEndian
	for i, x := range v {
		le.PutUint32(a.data[8*i:], math.Float32bits(real(x)))
		le.PutUint32(a.data[8*i+4:], math.Float32bits(imag(x)))
	}
	return a
}

func isInt(t graph.DType) bool { return t.IsInteger() || t == graph.Bool }

// convert is astype: a C++ static_cast of every element.
func convert(a *array, t graph.DType) *array {
	switch {
	case a.t == t:
		return a
	case isInt(a.t) && isInt(t):
		return fromInts(t, a.shape, a.ints())
	case isInt(a.t):
		// Straight to float32 or float64: 64-bit integers are to be rounded once.
		out := newArray(t, a.shape)
		for i, x := range a.ints() {
			switch {
			case t == graph.Float64 && a.t == graph.Uint64:
				put(t, out.data, i, float64(uint64(x)))
			case t == graph.Float64:
				put(t, out.data, i, float64(x))
			case a.t == graph.Uint64:
				put(t, out.data, i, float64(float32(uint64(x))))
			default:
				put(t, out.data, i, float64(float32(x)))
			}
		}
		return out
	}
	return fromFloats(t, a.shape, a.floats()) // of a complex number, its real part
}

// unsupported says that this engine lacks an op for an element type.
func unsupported(op string, t graph.DType) error {
	return fmt.Errorf("%s of %s is not supported by the reference engine", op, t)
}
