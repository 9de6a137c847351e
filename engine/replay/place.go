package replay

import (
	"slices"

	"zmlx-rewrite/graph"
)

// place is where a value lies: a buffer seen with a shape and strides, in elements.
type place struct {
	buf     *buffer
	offset  int64
	shape   []int64
	strides []int64
	dtype   graph.DType
}

func rowMajor(shape []int64) []int64 {
	out, n := make([]int64, len(shape)), int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		n *= shape[i]
	}
	return out
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

func (p place) bytes() int64 { return product(p.shape) * int64(p.dtype.Size()) }

// rows reports whether the elements lie row by row.
func (p place) rows() bool {
	want := int64(1)
	for i := len(p.shape) - 1; i >= 0; i-- {
		if p.shape[i] != 1 && p.strides[i] != want {
			return false
		}
		want *= p.shape[i]
	}
	return true
}

// whole reports whether the place is all of its buffer, row by row.
func (p place) whole() bool { return p.offset == 0 && p.rows() && p.bytes() == p.buf.size }

// reshape is for places that lie row by row.
func (p place) reshape(shape []int64) place {
	p.shape, p.strides = shape, rowMajor(shape)
	return p
}

func (p place) transpose(axes []int64) place {
	q := p
	q.shape, q.strides = make([]int64, len(axes)), make([]int64, len(axes))
	for i, a := range axes {
		a = axis(a, len(p.shape))
		q.shape[i], q.strides[i] = p.shape[a], p.strides[a]
	}
	return q
}

func axis(a int64, rank int) int64 {
	if a < 0 {
		a += int64(rank)
	}
	return a
}

func (p place) slice(a, start, stop, step int64) place {
	p.shape, p.strides = slices.Clone(p.shape), slices.Clone(p.strides)
	p.offset += start * p.strides[a]
	p.shape[a] = (stop - start + step - 1) / step
	p.strides[a] *= step
	return p
}

// broadcast is MLX's broadcast_to: axes are added in front, those of length 1 are repeated.
func (p place) broadcast(shape []int64) place {
	q := p
	q.shape, q.strides = shape, make([]int64, len(shape))
	lead := len(shape) - len(p.shape)
	for i := range p.shape {
		if p.shape[i] == shape[lead+i] {
			q.strides[lead+i] = p.strides[i]
		}
	}
	return q
}

// move lays the elements of from out in to, which has the same shape; to is moved on in
// steps of atStep bytes. It reports false if they have more than four dimensions that
// cannot be joined.
func move(to, from place, atStep int64) (*Move, bool) {
	size := int64(to.dtype.Size())
	var shape, d, s []int64 // innermost first
	for i := len(to.shape) - 1; i >= 0; i-- {
		n := to.shape[i]
		if n == 1 {
			continue
		}
		if k := len(shape) - 1; k >= 0 && to.strides[i] == d[k]*shape[k] && from.strides[i] == s[k]*shape[k] {
			shape[k] *= n
			continue
		}
		shape, d, s = append(shape, n), append(d, to.strides[i]), append(s, from.strides[i])
	}
	if len(shape) == 0 {
		shape, d, s = []int64{1}, []int64{1}, []int64{1}
	}
	if len(shape) > 4 {
		return nil, false
	}
	m := &Move{MoveShape: MoveShape{size, [4]int64{1, 1, 1, 1}}, AtStep: atStep}
	for i := range shape {
		m.Shape[3-i], m.ToStep[3-i], m.FromStep[3-i] = shape[i], d[i]*size, s[i]*size
	}
	m.widen(to.offset*size, from.offset*size)
	return m, true
}

// widen moves as many bytes at once as the layout allows.
func (m *Move) widen(to, from int64) {
	for _, unit := range []int64{16, 8, 4, 2} {
		if unit <= m.Unit || m.Shape[3]*m.Unit%unit != 0 || m.Shape[3] > 1 && (m.ToStep[3] != m.Unit || m.FromStep[3] != m.Unit) || m.Shape[3] == 1 {
			continue
		}
		even := to%unit == 0 && from%unit == 0 && m.AtStep%unit == 0
		for i := range 3 {
			even = even && (m.Shape[i] == 1 || m.ToStep[i]%unit == 0 && m.FromStep[i]%unit == 0)
		}
		if even {
			m.Shape[3] = m.Shape[3] * m.Unit / unit
			m.Unit, m.ToStep[3], m.FromStep[3] = unit, unit, unit
			return
		}
	}
}
