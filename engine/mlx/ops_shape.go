//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import "zmlx-rewrite/graph"

// Making arrays.

func (s *scope) arange(start, stop, step float64, t graph.DType) array {
	return s.own("arange", C.zr_arange(C.double(start), C.double(stop), C.double(step), C.mlx_dtype(t), s.stream))
}

func (s *scope) zeros(shape []int, t graph.DType) array {
	p, n := s.ints(shape)
	return s.own("zeros", C.zr_zeros(p, n, C.mlx_dtype(t), s.stream))
}

// full repeats value, which broadcasts, over shape.
func (s *scope) full(shape []int, value array, t graph.DType) array {
	p, n := s.ints(shape)
	return s.own("full", C.zr_full(p, n, value.c, C.mlx_dtype(t), s.stream))
}

// tri has ones at and below the k-th diagonal; tril and triu keep a's elements
// there, or above.
func (s *scope) tri(n, m, k int, t graph.DType) array {
	return s.own("tri", C.zr_tri(s.int(n), s.int(m), s.int(k), C.mlx_dtype(t), s.stream))
}

func (s *scope) tril(a array, k int) array {
	return s.own("tril", C.zr_tril(a.c, s.int(k), s.stream))
}

func (s *scope) triu(a array, k int) array {
	return s.own("triu", C.zr_triu(a.c, s.int(k), s.stream))
}

func (s *scope) eye(n, m, k int, t graph.DType) array {
	return s.own("eye", C.zr_eye(s.int(n), s.int(m), s.int(k), C.mlx_dtype(t), s.stream))
}

// Shapes.

// reshape may have one dim -1, which takes what is left.
func (s *scope) reshape(a array, shape []int) array {
	p, n := s.ints(shape)
	return s.own("reshape", C.zr_reshape(a.c, p, n, s.stream))
}

func (s *scope) broadcastTo(a array, shape []int) array {
	p, n := s.ints(shape)
	return s.own("broadcast_to", C.zr_broadcast_to(a.c, p, n, s.stream))
}

// transpose permutes the axes; nil reverses them.
func (s *scope) transpose(a array, axes []int) array {
	if axes == nil {
		return s.own("transpose", C.zr_transpose(a.c, s.stream))
	}
	p, n := s.ints(axes)
	return s.own("transpose", C.zr_transpose_axes(a.c, p, n, s.stream))
}

func (s *scope) swapaxes(a array, i, j int) array {
	return s.own("swapaxes", C.zr_swapaxes(a.c, s.int(i), s.int(j), s.stream))
}

func (s *scope) moveaxis(a array, from, to int) array {
	return s.own("moveaxis", C.zr_moveaxis(a.c, s.int(from), s.int(to), s.stream))
}

func (s *scope) expandDims(a array, axes []int) array {
	p, n := s.ints(axes)
	return s.own("expand_dims", C.zr_expand_dims(a.c, p, n, s.stream))
}

// squeeze drops the given axes, nil all, of size 1.
func (s *scope) squeeze(a array, axes []int) array {
	p, n := s.ints(axes)
	return s.own("squeeze", C.zr_squeeze(a.c, p, n, axes == nil, s.stream))
}

// flatten joins the axes from start to end, both included.
func (s *scope) flatten(a array, start, end int) array {
	return s.own("flatten", C.zr_flatten(a.c, s.int(start), s.int(end), s.stream))
}

func (s *scope) unflatten(a array, axis int, shape []int) array {
	p, n := s.ints(shape)
	return s.own("unflatten", C.zr_unflatten(a.c, s.int(axis), p, n, s.stream))
}

// asStrided looks at the row-major elements of a with other strides, in elements.
// MLX does not check that they stay inside of a, so it is done here.
func (s *scope) asStrided(a array, shape, strides []int, offset int) array {
	if len(shape) != len(strides) {
		return s.refuse("as_strided", "%d dims but %d strides", len(shape), len(strides))
	}
	low, high, empty := offset, offset, false
	for i, d := range shape {
		step, ok := mulInt(d-1, strides[i])
		switch {
		case d < 0 || !ok:
			return s.refuse("as_strided", "shape %v with strides %v is out of range", shape, strides)
		case d == 0:
			empty = true
		case step < 0:
			low += step
		default:
			high += step
		}
		if low > high { // wrapped around
			return s.refuse("as_strided", "shape %v with strides %v is out of range", shape, strides)
		}
	}
	if a.ok() && !empty && (low < 0 || high >= a.size()) {
		return s.refuse("as_strided", "elements %d to %d of an array that has %d", low, high, a.size())
	}
	p, n := s.ints(shape)
	steps := make([]C.int64_t, len(strides)+1) // not empty, so that it has an address
	for i, v := range strides {
		steps[i] = C.int64_t(v)
	}
	return s.own("as_strided", C.zr_as_strided(a.c, p, n, &steps[0], C.size_t(len(strides)), C.size_t(offset), s.stream))
}

func mulInt(a, b int) (int, bool) {
	c := a * b
	return c, a == 0 || (c/a == b && !(a == -1 && b == c && b < 0))
}

// contiguous lays a out row by row; it costs nothing if it already is.
func (s *scope) contiguous(a array) array {
	return s.own("contiguous", C.zr_contiguous(a.c, s.stream))
}

// repeat repeats each element along axis; tile repeats the whole.
func (s *scope) repeat(a array, times, axis int) array {
	return s.own("repeat", C.zr_repeat(a.c, s.int(times), s.int(axis), s.stream))
}

func (s *scope) tile(a array, reps []int) array {
	p, n := s.ints(reps)
	return s.own("tile", C.zr_tile(a.c, p, n, s.stream))
}

func (s *scope) roll(a array, shift, axes []int) array {
	if len(shift) != len(axes) {
		return s.refuse("roll", "%d shifts but %d axes", len(shift), len(axes))
	}
	p, n := s.ints(shift)
	q, m := s.ints(axes)
	return s.own("roll", C.zr_roll(a.c, p, n, q, m, s.stream))
}

// pad adds low[i] elements before and high[i] after axes[i]; mode is constant,
// which takes value, or edge.
func (s *scope) pad(a array, axes, low, high []int, value array, mode string) array {
	if len(low) != len(axes) || len(high) != len(axes) {
		return s.refuse("pad", "%d axes but %d and %d widths", len(axes), len(low), len(high))
	}
	p, n := s.ints(axes)
	l, _ := s.ints(low)
	h, _ := s.ints(high)
	return s.own("pad", C.zr_pad(a.c, p, n, l, h, value.c, s.word("pad", mode), s.stream))
}

func (s *scope) concatenate(list []array, axis int) array {
	p, n := handles(list)
	return s.own("concatenate", C.zr_concatenate(p, n, s.int(axis), s.stream))
}

func (s *scope) stack(list []array, axis int) array {
	p, n := handles(list)
	return s.own("stack", C.zr_stack(p, n, s.int(axis), s.stream))
}

// split cuts a into n equal parts along axis; splitAt cuts before each position.
func (s *scope) split(a array, n, axis int) []array {
	if n < 1 || n > 1<<16 {
		s.refuse("split", "%d parts", n)
		return nil
	}
	out := make([]C.mlx_array, n)
	return s.ownAll("split", C.zr_split(&out[0], C.size_t(n), a.c, nil, s.int(axis), s.stream), out)
}

func (s *scope) splitAt(a array, at []int, axis int) []array {
	if len(at) == 0 {
		return []array{a}
	}
	out := make([]C.mlx_array, len(at)+1)
	p, n := s.ints(at)
	return s.ownAll("split", C.zr_split(&out[0], n+1, a.c, p, s.int(axis), s.stream), out)
}
