package kernelcheck

import (
	"fmt"
	"math"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// drift gathers how an exact kernel with transcendental ops differs from its reference, for
// each element type. Each element may be off by what libraries differ in (Case.element);
// that many are, or all to one side, is the kernel's own rounding.
type drift map[graph.DType]*offs

type offs struct {
	n, differ int
	sum       float64 // of (|got| - |want|), in units in the last place
}

func (d drift) add(c *Case, t *Truth, got [][]byte) {
	if c.Spec.Numerics != kernels.Exact || !transcendental(c.Spec) || turns(c.Spec) {
		return
	}
	for i, r := range c.Results {
		if !r.DType.IsFloat() {
			continue
		}
		o := d[r.DType]
		if o == nil {
			o = &offs{}
			d[r.DType] = o
		}
		g, w := floats(r.DType, got[i]), floats(r.DType, t.Want[i])
		for k := range g {
			if w[k] == 0 || !finite(w[k]) || !finite(g[k]) {
				continue
			}
			o.n++
			if g[k] != w[k] {
				o.differ++
				o.sum += (math.Abs(g[k]) - math.Abs(w[k])) / ulp(r.DType, w[k])
			}
		}
	}
}

// systematic is the error of a kernel that is off too often or to one side.
func (d drift) systematic(s *kernels.Spec) error {
	const enough = 300 // elements; fewer say nothing
	for _, dtype := range []graph.DType{graph.Float16, graph.BFloat16, graph.Float32} {
		o := d[dtype]
		if o == nil || o.n < enough {
			continue
		}
		share, mean := float64(o.differ)/float64(o.n), o.sum/float64(o.n)
		most, side := 0.03, 0.02 // libraries are seldom seen in 16 bits
		if dtype == graph.Float32 {
			most, side = 1, 0.5
		}
		if share > most || math.Abs(mean) > side {
			return fmt.Errorf("kernel %s promises every bit but for the last place of exp and its like: in %s, %.1f%% of %d elements differ, by %+.2g units in the last place on average, which is its own rounding",
				s.Name, dtype, 100*share, o.n, mean)
		}
	}
	return nil
}
