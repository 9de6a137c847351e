//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import (
	"math"
	"math/bits"
	"runtime/cgo"
	"unsafe"

	"zmlx-rewrite/graph"
)

// array is a handle of an MLX array. The zero value is no array, and stands for an
// operand that is left out. A copy of the struct is the same handle, not a second
// one: whoever owns it (a scope, or the caller of keep) releases it once.
type array struct{ c C.mlx_array }

func (a array) ok() bool { return a.c.ctx != nil }

// keep makes a handle of a that the scope does not own: release ends it.
func (s *scope) keep(a array) array {
	r := s.own("keep", C.zr_share(a.c))
	if r.ok() {
		s.owned = s.owned[:len(s.owned)-1]
	}
	return r
}

// release ends a kept handle. Zero arrays may be released.
func (a array) release() { C.zr_release(&a.c, 1) }

// release ends many kept handles at the price of one call.
func release(list []array) {
	if p, n := handles(list); n > 0 {
		C.zr_release(p, n)
	}
}

// liveArrays counts the handles that were made and not released.
func liveArrays() int { return int(C.zr_live()) }

func (a array) dtype() graph.DType {
	if !a.ok() {
		return graph.NoDType
	}
	return graph.DType(C.mlx_array_dtype(a.c))
}

// shape returns the dims; nil for a scalar and for no array.
func (a array) shape() []int {
	if !a.ok() {
		return nil
	}
	n := C.mlx_array_ndim(a.c)
	if n == 0 {
		return nil
	}
	shape := make([]int, n)
	for i, d := range unsafe.Slice(C.mlx_array_shape(a.c), n) {
		shape[i] = int(d)
	}
	return shape
}

// strides returns the steps in elements. They are final only after eval.
func (a array) strides() []int {
	if !a.ok() {
		return nil
	}
	n := C.mlx_array_ndim(a.c)
	if n == 0 {
		return nil
	}
	strides := make([]int, n)
	for i, d := range unsafe.Slice(C.mlx_array_strides(a.c), n) {
		strides[i] = int(d) // size_t in mlx-c, but signed underneath
	}
	return strides
}

func (a array) size() int {
	if !a.ok() {
		return 0
	}
	return int(C.mlx_array_size(a.c))
}

func (a array) nbytes() int { return a.size() * a.itemsize() }

func (a array) itemsize() int {
	if t := a.dtype(); t.Valid() {
		return t.Size()
	}
	return 0
}

// eval computes the arrays and waits; asyncEval only starts it. Zero arrays are
// an error.
func eval(list ...array) error      { return evaluate("eval", list, true) }
func asyncEval(list ...array) error { return evaluate("async_eval", list, false) }

func evaluate(op string, list []array, wait bool) error {
	p, n := handles(list)
	if n == 0 {
		return nil
	}
	if C.zr_eval(p, n, C.bool(wait)) != 0 {
		return lastError(op)
	}
	return nil
}

// fromBytes copies data, row by row, into a new array. The bytes are little-endian
// elements of type t, as many as shape asks for.
func (s *scope) fromBytes(data []byte, shape []int, t graph.DType) array {
	if !s.fits("array", len(data), shape, t) {
		return array{}
	}
	if len(data) == 0 { // MLX reads through the pointer even for nothing
		return s.zeros(shape, t)
	}
	p, n := s.ints(shape)
	return s.own("array", C.zr_array(unsafe.Pointer(&data[0]), p, C.int(n), C.mlx_dtype(t)))
}

// adopt makes an array of memory outside of Go's heap, such as a mapped file,
// without a copy if the device allows (Metal: page-aligned memory); MLX's CPU and
// CUDA backends copy it. free is called once, as soon as MLX is done with the
// memory, on any thread, and must not call MLX; it is also called if adopt fails.
func (s *scope) adopt(data unsafe.Pointer, length int, shape []int, t graph.DType, free func()) array {
	if !s.fits("array", length, shape, t) || length == 0 {
		free()
		if length == 0 && s.err == nil {
			return s.zeros(shape, t)
		}
		return array{}
	}
	if !C.zr_on_thread() {
		free()
		s.failed("array")
		return array{}
	}
	p, n := s.ints(shape)
	return s.own("array", C.zr_adopt(data, p, C.int(n), C.mlx_dtype(t), C.uintptr_t(cgo.NewHandle(free))))
}

//export zrAdoptedFree
func zrAdoptedFree(handle C.uintptr_t) {
	h := cgo.Handle(handle)
	h.Value().(func())()
	h.Delete()
}

// fits checks that length bytes are what shape and t need, and refuses otherwise.
func (s *scope) fits(op string, length int, shape []int, t graph.DType) bool {
	if !t.Valid() {
		s.refuse(op, "unknown element type %v", t)
		return false
	}
	want := uint64(t.Size())
	for _, d := range shape {
		if d < 0 || d > math.MaxInt32 {
			s.refuse(op, "shape %v has a dim that MLX cannot hold", shape)
			return false
		}
		hi, lo := bits.Mul64(want, uint64(d))
		if hi != 0 {
			s.refuse(op, "shape %v is too large", shape)
			return false
		}
		want = lo
	}
	if want != uint64(length) {
		s.refuse(op, "%s%v takes %d bytes, not %d", t, shape, want, length)
		return false
	}
	return true
}

// bytes evaluates a and copies it out: little-endian elements, row by row. What was
// dispatched after a goes on meanwhile: an operation on a would come behind it, in
// the stream's order, so there is one only if a is not laid out row by row.
func (s *scope) bytes(a array) []byte {
	if s.err != nil {
		return nil
	}
	var rows C.bool
	if C.zr_ready(a.c, &rows) != 0 {
		s.failed("bytes")
		return nil
	}
	if !rows {
		if a = s.contiguous(a); s.err != nil {
			return nil
		}
		if err := eval(a); err != nil {
			s.err = err
			return nil
		}
	}
	out := make([]byte, a.nbytes())
	if len(out) == 0 {
		return out
	}
	p := C.mlx_array_data_uint8(a.c) // the pointer is the same for every type
	if p == nil {
		s.failed("bytes")
		return nil
	}
	copy(out, unsafe.Slice((*byte)(unsafe.Pointer(p)), len(out)))
	return out
}

// itemInt evaluates a, which holds one integer, and returns it.
func (s *scope) itemInt(a array) int {
	if t := a.dtype(); a.ok() && (a.size() != 1 || !t.IsInteger()) {
		s.refuse("item", "want one integer, have %s%v", t, a.shape())
		return 0
	}
	b := s.bytes(s.astype(a, graph.Int64))
	if len(b) != 8 {
		return 0
	}
	return int(*(*int64)(unsafe.Pointer(&b[0])))
}

// itemFloat evaluates a, which holds one number, and returns it.
func (s *scope) itemFloat(a array) float64 {
	if a.ok() && a.size() != 1 {
		s.refuse("item", "want one number, have %s%v", a.dtype(), a.shape())
		return 0
	}
	b := s.bytes(s.astype(a, graph.Float32))
	if len(b) != 4 {
		return 0
	}
	return float64(*(*float32)(unsafe.Pointer(&b[0])))
}
