package kernels

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// RowsName is what a source calls the product of the leading dimensions "...".
const RowsName = "rows"

// Ints returns the names of all integers that a source sees, in the order in which
// they are handed over: rows, the named dimensions as inputs bring them up, then
// int, bool and word attributes (a word as its place among the allowed ones).
func (s *Spec) Ints() []string { return s.ints }

// Floats returns the names of the float attributes, in order.
func (s *Spec) Floats() []string { return s.floats }

// nameValues fills Ints and Floats in once inputs and attributes are read.
func (s *Spec) nameValues() {
	s.ints = []string{RowsName}
	for _, x := range s.Inputs {
		for _, d := range x.Shape {
			if d.Name != "" && d.Name != "..." && !slices.Contains(s.ints, d.Name) {
				s.ints = append(s.ints, d.Name)
			}
		}
	}
	for _, a := range s.Attrs {
		if a.Kind == guard.Number {
			s.floats = append(s.floats, a.Name)
		} else {
			s.ints = append(s.ints, a.Name)
		}
	}
}

func (s *Spec) isInt(name string) bool { return slices.Contains(s.ints, name) }

// Values are the numbers of one call, in the order of Ints and Floats.
type Values struct {
	Ints   []graph.Dim // symbolic where the graph is
	Floats []float64
	Types  []graph.DType // of inputs, NoDType for absent ones
}

// Values reads dimensions and attributes of a call that is in the kernel's domain.
func (s *Spec) Values(in []graph.Type, attrs []graph.Attr) (*Values, error) {
	v := &Values{Ints: make([]graph.Dim, len(s.ints))}
	known := make([]bool, len(s.ints))
	set := func(name string, d graph.Dim) {
		i := slices.Index(s.ints, name)
		v.Ints[i], known[i] = d, true
	}
	set(RowsName, graph.N(1))
	for i, x := range s.Inputs {
		if i >= len(in) || in[i].DType == graph.NoDType {
			v.Types = append(v.Types, graph.NoDType)
			continue
		}
		v.Types = append(v.Types, in[i].DType)
		shape, dims := in[i].Shape, x.Shape
		if len(dims) > 0 && dims[0].Name == "..." {
			dims = dims[1:]
			if len(shape) < len(dims) {
				return nil, fmt.Errorf("%s: %s has too few dimensions", x.Name, in[i])
			}
			lead := len(shape) - len(dims)
			set(RowsName, graph.Product(shape[:lead]))
			shape = shape[lead:]
		}
		if len(shape) != len(dims) {
			return nil, fmt.Errorf("%s: %s has %d dimensions, %d are needed", x.Name, in[i], len(in[i].Shape), len(x.Shape))
		}
		for k, d := range dims {
			if d.Name != "" {
				set(d.Name, shape[k])
			}
		}
	}
	for i, a := range s.Attrs {
		val := a.Unset
		if i < len(attrs) && attrs[i] != nil {
			val = attrs[i]
		}
		switch x := val.(type) {
		case graph.Dim:
			if a.Kind == guard.Number {
				n, _ := x.Const()
				v.Floats = append(v.Floats, float64(n))
			} else {
				set(a.Name, x)
			}
		case graph.Float:
			v.Floats = append(v.Floats, float64(x))
		case graph.Flag:
			n := int64(0)
			if x {
				n = 1
			}
			set(a.Name, graph.N(n))
		case graph.Str:
			at := slices.Index(a.Words, string(x))
			if at < 0 {
				return nil, fmt.Errorf("%s = %s is none of %v", a.Name, x, a.Words)
			}
			set(a.Name, graph.N(int64(at)))
		default:
			return nil, fmt.Errorf("attribute %s is missing", a.Name)
		}
	}
	for i, name := range s.ints {
		if !known[i] { // a dimension of absent inputs only
			set(name, graph.N(0))
		}
	}
	return v, nil
}

// Numbers evaluates the integers; env gives the symbols.
func (v *Values) Numbers(env map[string]int64) ([]int64, error) {
	out := make([]int64, len(v.Ints))
	for i, d := range v.Ints {
		var err error
		if out[i], err = d.Eval(env); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Geometry returns the threads of a launch for the integers of a call.
func (s *Spec) Geometry(ints []int64) (Geometry, error) {
	if s.Launch == nil {
		return Geometry{}, fmt.Errorf("kernel %s has no launch", s.Name)
	}
	g, err := s.Launch.eval(func(name string) (int64, bool) {
		i := slices.Index(s.ints, name)
		if i < 0 {
			return 0, false
		}
		return ints[i], true
	})
	if err != nil {
		return g, fmt.Errorf("kernel %s: %w", s.Name, err)
	}
	return g, nil
}
