package weights

import "zmlx-rewrite/graph"

// Map returns t with each element made anew by f, which is given whole elements of t
// in src and writes as many of the type dtype to dst. What elements mean is f's
// business; it must be safe for concurrent use, and give the same every time.
func Map(t *Tensor, dtype graph.DType, f func(dst, src []byte)) (*Tensor, error) {
	return New(t.Name, dtype, t.Shape, &mapSource{src: t.src, from: t.DType.Size(), to: dtype.Size(), f: f}, t.files...)
}

type mapSource struct {
	src      Source
	from, to int // sizes of elements
	f        func(dst, src []byte)
}

func (s *mapSource) Bytes() []byte { return nil }

func (s *mapSource) ReadAt(dst []byte, off int) {
	const block = 512 // elements at a time
	var in, out [block * 16]byte
	for len(dst) > 0 {
		first, skip := off/s.to, off%s.to
		n := min(block, (skip+len(dst)+s.to-1)/s.to)
		from := in[:n*s.from]
		s.src.ReadAt(from, first*s.from)
		s.f(out[:n*s.to], from)
		done := copy(dst, out[skip:n*s.to])
		dst, off = dst[done:], off+done
	}
}
