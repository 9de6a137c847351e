package kernels

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// PullBack adds to g what gives the gradients of a call's inputs: the lines of the
// reference, with the results as the kernel computed them, and the lines of the gradient.
// in, out and cotangents are beside the spec's inputs and results. It returns a value of
// the input's type for each input, None for one that is absent or has no gradient.
func (s *Spec) PullBack(g *graph.Graph, scope string, in []graph.ValueID, attrs []graph.Attr, out, cotangents []graph.ValueID) ([]graph.ValueID, error) {
	b := s.bind(scope, in, attrs)
	if err := g.BuildAll(s.reference, b); err != nil {
		return nil, fmt.Errorf("%s: reference: %w", s.op.Name, err)
	}
	for i, r := range s.Results {
		b.Values[r], b.Values["d_"+r] = out[i], cotangents[i]
	}
	if err := g.BuildAll(s.Gradient, b); err != nil {
		return nil, fmt.Errorf("%s: gradient: %w", s.op.Name, err)
	}
	grads := make([]graph.ValueID, len(s.Inputs))
	for i, x := range s.Inputs {
		v, ok := b.Values["d_"+x.Name]
		if grads[i] = graph.None; !ok || b.Values[x.Name] == graph.None {
			continue
		}
		want, got := g.Type(b.Values[x.Name]), g.Type(v)
		if got.DType != want.DType { // lines that promote, as a float32 operand makes them
			made, err := g.Add(graph.LookupOp("astype"), scope, []graph.ValueID{v}, want.DType)
			if err != nil {
				return nil, err
			}
			v = made[0]
		}
		if grads[i] = v; !g.Type(v).Equal(want) {
			return nil, fmt.Errorf("%s: gradient: d_%s is %s, %s is %s", s.op.Name, x.Name, got, x.Name, want)
		}
	}
	return grads, nil
}

// bind names the operands and attributes of a call.
func (s *Spec) bind(scope string, in []graph.ValueID, attrs []graph.Attr) *graph.Bindings {
	b := &graph.Bindings{Values: map[string]graph.ValueID{}, Vars: map[string]graph.Attr{}, Scope: scope}
	for i, x := range s.Inputs {
		b.Values[x.Name] = graph.None
		if i < len(in) {
			b.Values[x.Name] = in[i]
		}
	}
	for i, a := range s.Attrs {
		if i < len(attrs) && attrs[i] != nil {
			b.Vars[a.Name] = attrs[i]
		}
	}
	return b
}
