package weights

import (
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Source produces the bytes of one tensor, row-major and little-endian.
type Source interface {
	// Bytes returns all bytes if they exist in memory as they are, else nil.
	Bytes() []byte
	// ReadAt fills dst with the bytes from off on; the caller keeps off+len(dst)
	// within the tensor. It must be safe for concurrent use and must not allocate
	// in proportion to the tensor.
	ReadAt(dst []byte, off int)
}

// Raw is the Source of bytes that are in memory.
type Raw []byte

// Bytes returns r.
func (r Raw) Bytes() []byte { return r }

// ReadAt copies.
func (r Raw) ReadAt(dst []byte, off int) { copy(dst, r[off:]) }

// Tensor is a named array whose bytes can be asked for. It never changes after it
// was made; Renamed and the functions that derive tensors return new ones.
type Tensor struct {
	Name  string
	DType graph.DType
	Shape []int // no dimension below 0; empty for a scalar

	src   Source
	files []*File // that src reads from, each once
	made  origin  // how it was derived from others, if it was
}

// New makes a tensor of what src produces out of files. The product of the
// dimensions and the size in bytes must fit an int.
func New(name string, dtype graph.DType, shape []int, src Source, files ...*File) (*Tensor, error) {
	n, ok := NumBytes(dtype, shape)
	if !ok {
		return nil, diag.Errorf("weights/shape", diag.Pos{}, "tensor %q: %v of shape %v is no array", name, dtype, shape)
	}
	if b := src.Bytes(); b != nil && len(b) != n {
		return nil, diag.Errorf("weights/shape", diag.Pos{}, "tensor %q: %v of shape %v has %d bytes, its source %d", name, dtype, shape, n, len(b))
	}
	return &Tensor{Name: name, DType: dtype, Shape: slices.Clone(shape), src: src, files: files}, nil
}

// NumBytes returns the size of an array in bytes, and false for an unknown
// dtype, a negative dimension or a size that overflows an int.
func NumBytes(dtype graph.DType, shape []int) (int, bool) {
	if !dtype.Valid() {
		return 0, false
	}
	// A zero dimension makes the product zero whatever the others are, and yet the
	// others must not overflow on their own: strides are computed from them.
	n, zero := uint64(dtype.Size()), false
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt {
			return 0, false
		}
		n = lo
	}
	if zero {
		return 0, true
	}
	return int(n), true
}

// Size returns the number of elements.
func (t *Tensor) Size() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// NumBytes returns the size in bytes.
func (t *Tensor) NumBytes() int { return t.Size() * t.DType.Size() }

// Bytes returns the tensor's bytes without a copy, and true, if they are in
// memory in the right order and aligned to the element size. The memory belongs
// to the tensor's file: it is read-only, and gone after Close. If the file can
// be truncated by others while in use, prefer ReadInto, which survives that.
func (t *Tensor) Bytes() ([]byte, bool) {
	n := t.NumBytes()
	if n == 0 {
		return []byte{}, true
	}
	for _, f := range t.files {
		f.mu.RLock()
		closed := f.closed
		f.mu.RUnlock()
		if closed {
			return nil, false
		}
	}
	b := t.src.Bytes()
	if len(b) != n || uintptr(unsafe.Pointer(&b[0]))%uintptr(t.DType.Size()) != 0 {
		return nil, false
	}
	return b[:n:n], true
}

// ReadInto writes the tensor's bytes to dst, whose length must be NumBytes. It
// needs no other memory of that order. It is safe for concurrent use.
func (t *Tensor) ReadInto(dst []byte) error {
	if n := t.NumBytes(); len(dst) != n {
		return diag.Errorf("weights/size", diag.Pos{}, "tensor %q has %d bytes, the destination %d", t.Name, n, len(dst))
	}
	return t.readAt(dst, 0)
}

// ReadAt fills p with the tensor's bytes from offset off on, for writers that
// stream. The range must lie within the tensor.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) {
	if n := t.NumBytes(); off < 0 || off > int64(n) || len(p) > n-int(off) {
		return 0, diag.Errorf("weights/size", diag.Pos{}, "tensor %q has %d bytes, not %d from %d on", t.Name, n, len(p), off)
	}
	if err := t.readAt(p, int(off)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *Tensor) readAt(dst []byte, off int) error {
	if len(dst) == 0 {
		return nil
	}
	return Guard(func() error { t.src.ReadAt(dst, off); return nil }, t.files...)
}

// Renamed returns the same tensor under another name.
func (t *Tensor) Renamed(name string) *Tensor {
	return &Tensor{Name: name, DType: t.DType, Shape: t.Shape, src: t.src, files: t.files, made: origin{kind: reshaped, parts: []*Tensor{t}}}
}
