//go:build mlx

package mlx

// #include "bridge.h"
import "C"

// Reductions, scans and sorts. In a list of axes nil means all of them, and an empty
// list none. Negative axes count from the end.

func (s *scope) all(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("all", C.zr_all(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) any(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("any", C.zr_any(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) logsumexp(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("logsumexp", C.zr_logsumexp(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) max(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("max", C.zr_max(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) mean(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("mean", C.zr_mean(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) min(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("min", C.zr_min(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) prod(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("prod", C.zr_prod(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

func (s *scope) sum(a array, axes []int, keepdims bool) array {
	p, n := s.ints(axes)
	return s.own("sum", C.zr_sum(a.c, p, n, axes == nil, C.bool(keepdims), s.stream))
}

// variance divides by the count less ddof.
func (s *scope) variance(a array, axes []int, keepdims bool, ddof int) array {
	p, n := s.ints(axes)
	return s.own("var", C.zr_var(a.c, p, n, axes == nil, C.bool(keepdims), s.int(ddof), s.stream))
}

// softmax with precise set computes in float32 whatever the type of a.
func (s *scope) softmax(a array, axes []int, precise bool) array {
	p, n := s.ints(axes)
	return s.own("softmax", C.zr_softmax(a.c, p, n, axes == nil, C.bool(precise), s.stream))
}

// argmax returns uint32 positions along one axis.
func (s *scope) argmax(a array, axis int, keepdims bool) array {
	return s.own("argmax", C.zr_argmax(a.c, s.int(axis), false, C.bool(keepdims), s.stream))
}

// argmaxAll returns the position in the flattened array.
func (s *scope) argmaxAll(a array, keepdims bool) array {
	return s.own("argmax", C.zr_argmax(a.c, 0, true, C.bool(keepdims), s.stream))
}

// argmin returns uint32 positions along one axis.
func (s *scope) argmin(a array, axis int, keepdims bool) array {
	return s.own("argmin", C.zr_argmin(a.c, s.int(axis), false, C.bool(keepdims), s.stream))
}

// argminAll returns the position in the flattened array.
func (s *scope) argminAll(a array, keepdims bool) array {
	return s.own("argmin", C.zr_argmin(a.c, 0, true, C.bool(keepdims), s.stream))
}

func (s *scope) cumsum(a array, axis int, reverse, inclusive bool) array {
	return s.own("cumsum", C.zr_cumsum(a.c, s.int(axis), C.bool(reverse), C.bool(inclusive), s.stream))
}

func (s *scope) cumprod(a array, axis int, reverse, inclusive bool) array {
	return s.own("cumprod", C.zr_cumprod(a.c, s.int(axis), C.bool(reverse), C.bool(inclusive), s.stream))
}

func (s *scope) cummax(a array, axis int, reverse, inclusive bool) array {
	return s.own("cummax", C.zr_cummax(a.c, s.int(axis), C.bool(reverse), C.bool(inclusive), s.stream))
}

func (s *scope) cummin(a array, axis int, reverse, inclusive bool) array {
	return s.own("cummin", C.zr_cummin(a.c, s.int(axis), C.bool(reverse), C.bool(inclusive), s.stream))
}

func (s *scope) logcumsumexp(a array, axis int, reverse, inclusive bool) array {
	return s.own("logcumsumexp", C.zr_logcumsumexp(a.c, s.int(axis), C.bool(reverse), C.bool(inclusive), s.stream))
}

func (s *scope) sort(a array, axis int) array {
	return s.own("sort", C.zr_sort(a.c, s.int(axis), s.stream))
}

func (s *scope) argsort(a array, axis int) array {
	return s.own("argsort", C.zr_argsort(a.c, s.int(axis), s.stream))
}

func (s *scope) partition(a array, kth, axis int) array {
	return s.own("partition", C.zr_partition(a.c, s.int(kth), s.int(axis), s.stream))
}

func (s *scope) argpartition(a array, kth, axis int) array {
	return s.own("argpartition", C.zr_argpartition(a.c, s.int(kth), s.int(axis), s.stream))
}

// topk returns the k largest values, in no order.
func (s *scope) topk(a array, k, axis int) array {
	return s.own("topk", C.zr_topk(a.c, s.int(k), s.int(axis), s.stream))
}
