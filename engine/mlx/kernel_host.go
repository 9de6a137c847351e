//go:build mlx

package mlx

import (
	"runtime"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
)

// onHost calls the kernel's function in the library of CPU kernels. What a call says
// besides its operands is made again only when one of its numbers changes.
func (l *launch) onHost(k hostKernel) emitMany {
	var last []int
	var call hostCall
	return func(f *frame, in []array) []array {
		numbers := l.numbers(f)
		for _, d := range l.shapes { // 2 by 3 rows and 3 by 2 are the same numbers
			numbers = append(numbers, d.in(f)...)
		}
		if last == nil || !slices.Equal(last, numbers) {
			var err error
			if call, err = l.hostCall(f, numbers[:len(l.ints)]); err != nil {
				f.refuse("kernel."+l.spec.Name, "%v", err)
				return nil
			}
			last = append(last[:0], numbers...)
		}
		return f.callHost(k, in, &call)
	}
}

func (l *launch) hostCall(f *frame, numbers []int) (hostCall, error) {
	c := hostCall{floats: l.values.Floats, types: l.types, workers: runtime.GOMAXPROCS(0)}
	for _, n := range numbers {
		c.ints = append(c.ints, int64(n))
	}
	for _, d := range l.shapes {
		c.shapes = append(c.shapes, slices.Clone(d.in(f)))
	}
	if l.spec.Launch != nil { // a native body needs no geometry
		g, err := l.spec.Geometry(c.ints)
		if err != nil {
			return c, err
		}
		c.grid, c.group = g.Grid, g.Group
	}
	return c, nil
}

// hostRuns reports why a kernel does not run on the CPU, or nil.
func hostRuns(s *kernels.Spec) error {
	if s.Code == nil && !s.RunsOn("cpu") {
		return diag.Errorf("engine/kernel", diag.Pos{}, "kernel %s has no source", s.Name)
	}
	_, err := hostKernelOf(s)
	return err
}
