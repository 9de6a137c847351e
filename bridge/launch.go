package bridge

import (
	"fmt"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Sources launches kernels through mlx.core.fast, from their Metal or CUDA text.
type Sources struct {
	Target  kernels.Target // Metal or CUDA
	Catalog *kernels.Catalog
}

// Launch implements Launcher. The graph has no symbols, so that all numbers are in the text.
func (s Sources) Launch(n *graph.Node, in, out []graph.Type) (*Kernel, [3]int64, [3]int64, []bool, error) {
	fail := func(err error) (*Kernel, [3]int64, [3]int64, []bool, error) {
		return nil, [3]int64{}, [3]int64{}, nil, err
	}
	spec := s.Catalog.SpecOf(n.Op)
	if spec == nil {
		return fail(fmt.Errorf("%s is not in the catalogue", n.Op.Name))
	}
	values, err := spec.Values(in, n.Attrs)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", n.Op.Name, err))
	}
	numbers, err := values.Numbers(nil)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", n.Op.Name, err))
	}
	geometry, err := spec.Geometry(numbers)
	if err != nil {
		return fail(err)
	}
	types := make([]graph.DType, len(out))
	for i, t := range out {
		types[i] = t.DType
	}
	text, err := spec.Assemble(s.Target, values, types)
	if err != nil {
		return fail(err)
	}
	if len(text.Dynamic) > 0 {
		return fail(fmt.Errorf("%s has numbers that are not known", n.Op.Name))
	}
	text.Minify(s.Target)
	scalars := make([]bool, len(in))
	for i, t := range in {
		scalars[i] = t.DType != graph.NoDType && t.Rank() == 0
	}
	return &Kernel{Name: text.Name, Kernel: spec.Name, Inputs: text.Inputs, Results: text.Results, Header: text.Header, Source: text.Body},
		geometry.Grid, geometry.Group, scalars, nil
}
