package weights

import (
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// origin is how a tensor was made of others. Own follows it back to find which
// tensors are views of a derived one.
type origin struct {
	kind  originKind
	parts []*Tensor
	axis  int   // joined
	axes  []int // permuted: axis i of the result is axis axes[i] of the part
}

type originKind uint8

const (
	given     originKind = iota // from a file or from memory
	joined                      // concatenation of parts along axis
	permuted                    // axes reordered
	reshaped                    // same bytes, other shape or name
	scattered                   // the parts are not inside the result, or not as strided views
)

func invalid(what, format string, args ...any) *diag.Issue {
	return diag.Errorf("weights/"+what, diag.Pos{}, what+": "+format, args...)
}

// axisOf resolves an axis that may count from the end.
func axisOf(what string, axis, rank int) (int, error) {
	a := axis
	if a < 0 {
		a += rank
	}
	if a < 0 || a >= rank {
		return 0, invalid(what, "axis %d of %d dimensions", axis, rank)
	}
	return a, nil
}

// Concat joins tensors of one dtype, equal in all dimensions but axis, which may
// count from the end.
func Concat(name string, axis int, parts ...*Tensor) (*Tensor, error) {
	if len(parts) == 0 {
		return nil, invalid("concat", "no parts for %q", name)
	}
	first := parts[0]
	axis, err := axisOf("concat", axis, len(first.Shape))
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(first.Shape)
	shape[axis] = 0
	for _, p := range parts {
		same := p.DType == first.DType && len(p.Shape) == len(shape)
		for i := range min(len(shape), len(p.Shape)) {
			same = same && (i == axis || p.Shape[i] == shape[i])
		}
		if !same {
			return nil, invalid("concat", "%q is %v%v, %q is %v%v; along axis %d the dtype and all other dimensions must agree",
				first.Name, first.DType, first.Shape, p.Name, p.DType, p.Shape, axis)
		}
		shape[axis] += p.Shape[axis]
	}
	inner := first.DType.Size()
	for _, d := range shape[axis+1:] {
		inner *= d
	}
	src := &joinSource{}
	for _, p := range parts {
		src.parts = append(src.parts, p.src)
		src.chunk = append(src.chunk, p.Shape[axis]*inner)
		src.total += p.Shape[axis] * inner
	}
	return derived(name, shape, src, origin{kind: joined, parts: parts, axis: axis})
}

// Stack joins tensors of one dtype and shape along a new axis, which may count
// from the end of the result.
func Stack(name string, axis int, parts ...*Tensor) (*Tensor, error) {
	if len(parts) == 0 {
		return nil, invalid("stack", "no parts for %q", name)
	}
	axis, err := axisOf("stack", axis, len(parts[0].Shape)+1)
	if err != nil {
		return nil, err
	}
	rows := make([]*Tensor, len(parts))
	for i, p := range parts {
		if rows[i], err = Reshape(p.Name, p, slices.Insert(slices.Clone(p.Shape), axis, 1)...); err != nil {
			return nil, err
		}
	}
	return Concat(name, axis, rows...)
}

// Slice returns the part of t with start <= index < stop along axis, which may
// count from the end.
func Slice(name string, t *Tensor, axis, start, stop int) (*Tensor, error) {
	axis, err := axisOf("slice", axis, len(t.Shape))
	if err != nil {
		return nil, err
	}
	if start < 0 || stop < start || stop > t.Shape[axis] {
		return nil, invalid("slice", "%d:%d of axis %d of %q, which has %d", start, stop, axis, t.Name, t.Shape[axis])
	}
	st := rowMajor(t.Shape)
	shape := slices.Clone(t.Shape)
	shape[axis] = stop - start
	return derived(name, shape, newStrided(t, start*st[axis], shape, st), origin{kind: scattered, parts: []*Tensor{t}})
}

// Every returns the part of t with index start, start+step, ... along axis, which may
// count from the end.
func Every(name string, t *Tensor, axis, start, step int) (*Tensor, error) {
	axis, err := axisOf("every", axis, len(t.Shape))
	if err != nil {
		return nil, err
	}
	if start < 0 || step < 1 {
		return nil, invalid("every", "%d::%d of axis %d of %q", start, step, axis, t.Name)
	}
	st := rowMajor(t.Shape)
	shape := slices.Clone(t.Shape)
	shape[axis] = max(0, (t.Shape[axis]-start+step-1)/step)
	at := start * st[axis]
	st[axis] *= step
	return derived(name, shape, newStrided(t, at, shape, st), origin{kind: scattered, parts: []*Tensor{t}})
}

// Split cuts t along axis into parts of the given sizes, which must add up to
// the whole dimension. The parts carry t's name.
func Split(t *Tensor, axis int, sizes ...int) ([]*Tensor, error) {
	axis, err := axisOf("split", axis, len(t.Shape))
	if err != nil {
		return nil, err
	}
	var parts []*Tensor
	at := 0
	for _, n := range sizes {
		if n < 0 || n > t.Shape[axis]-at {
			return nil, invalid("split", "sizes %v of axis %d of %q, which has %d", sizes, axis, t.Name, t.Shape[axis])
		}
		p, err := Slice(t.Name, t, axis, at, at+n)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
		at += n
	}
	if at != t.Shape[axis] {
		return nil, invalid("split", "sizes %v of axis %d of %q, which has %d", sizes, axis, t.Name, t.Shape[axis])
	}
	return parts, nil
}

// Permute reorders axes: axis i of the result is axis axes[i] of t.
func Permute(name string, t *Tensor, axes ...int) (*Tensor, error) {
	rank := len(t.Shape)
	bad := func() error { return invalid("permute", "axes %v of %q, which has %d dimensions", axes, t.Name, rank) }
	if len(axes) != rank {
		return nil, bad()
	}
	st := rowMajor(t.Shape)
	shape, strides, seen := make([]int, rank), make([]int, rank), make([]bool, rank)
	resolved := make([]int, rank)
	for i, a := range axes {
		a, err := axisOf("permute", a, rank)
		if err != nil || seen[a] {
			return nil, bad()
		}
		seen[a], resolved[i] = true, a
		shape[i], strides[i] = t.Shape[a], st[a]
	}
	return derived(name, shape, newStrided(t, 0, shape, strides), origin{kind: permuted, parts: []*Tensor{t}, axes: resolved})
}

// Transpose swaps two axes, which may count from the end.
func Transpose(name string, t *Tensor, a, b int) (*Tensor, error) {
	axes := make([]int, len(t.Shape))
	for i := range axes {
		axes[i] = i
	}
	a, err := axisOf("transpose", a, len(axes))
	if err != nil {
		return nil, err
	}
	if b, err = axisOf("transpose", b, len(axes)); err != nil {
		return nil, err
	}
	axes[a], axes[b] = axes[b], axes[a]
	return Permute(name, t, axes...)
}

// Reshape gives t another shape with as many elements. One dimension may be -1:
// it is computed.
func Reshape(name string, t *Tensor, shape ...int) (*Tensor, error) {
	shape = slices.Clone(shape)
	bad := func() error { return invalid("reshape", "%q of shape %v to %v", t.Name, t.Shape, shape) }
	if i := slices.Index(shape, -1); i >= 0 {
		shape[i] = 1
		rest, ok := NumBytes(t.DType, shape)
		if !ok || rest == 0 || t.NumBytes()%rest != 0 {
			return nil, bad()
		}
		shape[i] = t.NumBytes() / rest
	}
	if n, ok := NumBytes(t.DType, shape); !ok || n != t.NumBytes() {
		return nil, bad()
	}
	return derived(name, shape, t.src, origin{kind: reshaped, parts: []*Tensor{t}})
}

// ViewAs gives t another element type with the same bytes: its last axis becomes longer or
// shorter, as mx.array.view does it.
func ViewAs(name string, t *Tensor, dtype graph.DType) (*Tensor, error) {
	bad := func() error { return invalid("view", "%q of %v%v as %v", t.Name, t.DType, t.Shape, dtype) }
	if len(t.Shape) == 0 || !dtype.Valid() {
		return nil, bad()
	}
	shape := slices.Clone(t.Shape)
	last := &shape[len(shape)-1]
	n := *last * t.DType.Size()
	if n%dtype.Size() != 0 {
		return nil, bad()
	}
	*last = n / dtype.Size()
	v, err := derived(name, shape, t.src, origin{kind: scattered, parts: []*Tensor{t}})
	if err != nil {
		return nil, err
	}
	v.DType = dtype
	return v, nil
}

// derived makes the tensor that the functions above have checked. It inherits
// dtype and files from its parts.
func derived(name string, shape []int, src Source, made origin) (*Tensor, error) {
	dtype := made.parts[0].DType
	if _, ok := NumBytes(dtype, shape); !ok {
		return nil, invalid("shape", "%q: %v of shape %v is no array", name, dtype, shape)
	}
	t := &Tensor{Name: name, DType: dtype, Shape: shape, src: src, made: made}
	for _, p := range made.parts {
		for _, f := range p.files {
			if !slices.Contains(t.files, f) {
				t.files = append(t.files, f)
			}
		}
	}
	return t, nil
}

// rowMajor returns the strides, in elements, of a row-major array.
func rowMajor(shape []int) []int {
	st := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		st[i] = n
		n *= max(1, shape[i])
	}
	return st
}

// joinSource is a concatenation: for each index of the leading axes, one chunk
// of bytes of every part after the other.
type joinSource struct {
	parts []Source
	chunk []int // bytes of each part per leading index
	total int   // their sum
}

func (s *joinSource) Bytes() []byte {
	if len(s.parts) == 1 {
		return s.parts[0].Bytes()
	}
	return nil
}

func (s *joinSource) ReadAt(dst []byte, off int) {
	if s.total == 0 {
		return
	}
	outer, at := off/s.total, off%s.total
	for len(dst) > 0 {
		for i, p := range s.parts {
			if at >= s.chunk[i] {
				at -= s.chunk[i]
				continue
			}
			n := min(len(dst), s.chunk[i]-at)
			p.ReadAt(dst[:n], outer*s.chunk[i]+at)
			if dst, at = dst[n:], 0; len(dst) == 0 {
				return
			}
		}
		outer, at = outer+1, 0
	}
}

// stridedSource is a slice or a permutation of another source, read run by run,
// a run being the bytes that are contiguous in both.
type stridedSource struct {
	src    Source
	size   int   // of the result, in bytes
	offset int   // of the first element in src, in bytes
	shape  []int // of the axes outside a run
	stride []int // in bytes, of the same axes
	run    int   // bytes
}

func newStrided(t *Tensor, offset int, shape, strides []int) *stridedSource {
	es := t.DType.Size()
	s := &stridedSource{src: t.src, offset: offset * es, run: es, size: es}
	for _, d := range shape {
		s.size *= d
	}
	n := len(shape)
	for n > 0 && (shape[n-1] == 1 || strides[n-1]*es == s.run) {
		n--
		s.run *= shape[n]
	}
	for i := range n {
		s.shape = append(s.shape, shape[i])
		s.stride = append(s.stride, strides[i]*es)
	}
	return s
}

func (s *stridedSource) Bytes() []byte {
	b := s.src.Bytes()
	if b == nil || s.run != s.size {
		return nil
	}
	return b[s.offset : s.offset+s.size]
}

func (s *stridedSource) ReadAt(dst []byte, off int) {
	if s.size == 0 {
		return
	}
	// Position of the first run: the index of each outer axis, and the offset in src.
	var few [8]int
	index := append(few[:0], s.shape...)
	rest, at := off/s.run, s.offset
	for i := len(index) - 1; i >= 0; i-- {
		index[i] = rest % s.shape[i]
		rest /= s.shape[i]
		at += index[i] * s.stride[i]
	}
	whole := s.src.Bytes()
	within := off % s.run
	for {
		n := min(len(dst), s.run-within)
		if whole != nil {
			copy(dst[:n], whole[at+within:])
		} else {
			s.src.ReadAt(dst[:n], at+within)
		}
		if dst, within = dst[n:], 0; len(dst) == 0 {
			return
		}
		for i := len(index) - 1; i >= 0; i-- {
			at += s.stride[i]
			if index[i]++; index[i] < s.shape[i] {
				break
			}
			at -= s.shape[i] * s.stride[i]
			index[i] = 0
		}
	}
}
