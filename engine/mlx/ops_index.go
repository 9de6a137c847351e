//go:build mlx

package mlx

// #include "bridge.h"
import "C"

// Indexing. Positions are arrays of integers; MLX clamps or wraps nothing on the
// device, so that a position outside of the array reads undefined memory: whoever
// takes indices from outside checks them first.

// take picks from the flattened array, takeAxis along one axis.
func (s *scope) take(a, indices array) array {
	return s.own("take", C.zr_take(a.c, indices.c, s.stream))
}

func (s *scope) takeAxis(a, indices array, axis int) array {
	return s.own("take", C.zr_take_axis(a.c, indices.c, s.int(axis), s.stream))
}

func (s *scope) takeAlongAxis(a, indices array, axis int) array {
	return s.own("take_along_axis", C.zr_take_along_axis(a.c, indices.c, s.int(axis), s.stream))
}

func (s *scope) putAlongAxis(a, indices, values array, axis int) array {
	return s.own("put_along_axis", C.zr_put_along_axis(a.c, indices.c, values.c, s.int(axis), s.stream))
}

func (s *scope) scatterAddAxis(a, indices, values array, axis int) array {
	return s.own("scatter_add_axis", C.zr_scatter_add_axis(a.c, indices.c, values.c, s.int(axis), s.stream))
}

// gather is MLX's own: slices of the given sizes, one for each position in indices,
// which hold one array for each of axes.
func (s *scope) gather(a array, indices []array, axes, sizes []int) array {
	if len(indices) != len(axes) {
		return s.refuse("gather", "%d index arrays but %d axes", len(indices), len(axes))
	}
	h, nh := handles(indices)
	p, n := s.ints(axes)
	q, m := s.ints(sizes)
	return s.own("gather", C.zr_gather(a.c, h, nh, p, n, q, m, s.stream))
}

// slice takes start up to stop by step, one of each for every axis of a; step nil
// means 1.
func (s *scope) slice(a array, start, stop, step []int) array {
	if step = steps(step, len(start)); !sameLen(start, stop, step) {
		return s.refuse("slice", "start %v, stop %v and step %v differ in length", start, stop, step)
	}
	b, n := s.ints(start)
	e, _ := s.ints(stop)
	d, _ := s.ints(step)
	return s.own("slice", C.zr_slice(a.c, b, e, d, n, s.stream))
}

// sliceUpdate returns a with the slice replaced by update, which broadcasts. It
// happens in place if nobody else holds a when it is evaluated.
func (s *scope) sliceUpdate(a, update array, start, stop, step []int) array {
	if step = steps(step, len(start)); !sameLen(start, stop, step) {
		return s.refuse("slice_update", "start %v, stop %v and step %v differ in length", start, stop, step)
	}
	b, n := s.ints(start)
	e, _ := s.ints(stop)
	d, _ := s.ints(step)
	return s.own("slice_update", C.zr_slice_update(a.c, update.c, b, e, d, n, s.stream))
}

// sliceDynamic is slice with the start of axes in an array; sizes has one entry for
// every axis of a.
func (s *scope) sliceDynamic(a, start array, axes, sizes []int) array {
	p, n := s.ints(axes)
	q, m := s.ints(sizes)
	return s.own("slice", C.zr_slice_dynamic(a.c, start.c, p, n, q, m, s.stream))
}

func (s *scope) sliceUpdateDynamic(a, update, start array, axes []int) array {
	p, n := s.ints(axes)
	return s.own("slice_update", C.zr_slice_update_dynamic(a.c, update.c, start.c, p, n, s.stream))
}

func steps(step []int, n int) []int {
	if step == nil {
		step = make([]int, n)
		for i := range step {
			step[i] = 1
		}
	}
	return step
}

func sameLen(a, b, c []int) bool { return len(a) == len(b) && len(b) == len(c) }
