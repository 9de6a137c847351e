package kernelcheck

import (
	"context"
	"fmt"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
)

// Tried is what a kernel made of given numbers in one place.
type Tried struct {
	Where   string // "reference", "source", "source (generated)", or an engine's device
	Results [][]float64
	Err     error
}

// NewCase makes a case of given inputs; types and data are beside the spec's inputs, with
// NoDType for those that are left out.
func NewCase(s *kernels.Spec, types []graph.Type, data [][]byte, attrs []graph.Attr) (*Case, error) {
	t := &kernels.Trial{Spec: s, Inputs: types, Attrs: attrs}
	cond, failure := s.Check(types, attrs, &guard.Env{Setting: guard.Setting{TPSize: 1}})
	switch {
	case failure != nil:
		return nil, fmt.Errorf("outside of the domain of kernel %s: %s: %s", s.Name, failure.Name, failure.Text)
	case !cond.IsTrue():
		return nil, fmt.Errorf("outside of the domain of kernel %s: %s", s.Name, cond)
	}
	v, err := s.Values(types, attrs)
	if err != nil {
		return nil, err
	}
	if t.Ints, err = v.Numbers(nil); err != nil {
		return nil, err
	}
	t.Floats = v.Floats
	if _, t.Results, err = graph.Infer(s.Op(), types, attrs); err != nil {
		return nil, err
	}
	c := &Case{Trial: t, Data: data, Alias: make([]int, len(types))}
	for i := range c.Alias {
		c.Alias[i] = -1
	}
	return c, nil
}

// Try runs a case everywhere: the reference graph, the source with emulated threads, and
// the engines that launch kernels.
func (c *Case) Try(ctx context.Context, dir string, engines ...engine.Engine) []Tried {
	add := func(list []Tried, where string, data [][]byte, err error) []Tried {
		t := Tried{Where: where, Err: err}
		for i, d := range data {
			t.Results = append(t.Results, floats(c.Results[i].DType, d))
		}
		return append(list, t)
	}
	data, err := c.reference(c.Inputs, c.Data)
	list := add(nil, "reference", data, err)
	data, err = c.emulate(ctx, dir)
	where := "source"
	if c.Spec.Generated {
		where = "source (generated)"
	}
	list = add(list, where, data, err)
	for _, e := range engines {
		k, ok := e.(engine.KernelRunner)
		if !ok {
			continue
		}
		if err = k.RunsKernel(c.Spec); err == nil {
			data, err = c.launch(ctx, e, Dense, false)
		}
		list = add(list, e.Device(), data, err)
	}
	return list
}

// emulate compiles the source for the case's element types and runs it once.
func (c *Case) emulate(ctx context.Context, dir string) ([][]byte, error) {
	if c.Spec.Code == nil {
		return nil, fmt.Errorf("kernel %s has no source", c.Spec.Name)
	}
	var fit []kernels.Instance
	for _, in := range c.Spec.Instances() {
		if serves(in, c.Trial) {
			fit = append(fit, in)
		}
	}
	program, err := build(ctx, c.Spec, fit, dir)
	if err != nil {
		return nil, err
	}
	p := &process{ctx: ctx, path: program}
	defer p.stop()
	return p.run(c, schedules[0])
}
