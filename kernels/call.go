package kernels

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// Trial is a call of a kernel with numbers for all dimensions: what a checker runs,
// and what tells which element types a compiled kernel has to serve.
type Trial struct {
	Spec    *Spec
	Inputs  []graph.Type // DType is NoDType for absent ones
	Attrs   []graph.Attr
	Ints    []int64 // in the order of Spec.Ints
	Floats  []float64
	Results []graph.Type
}

// Choice is what a trial is made of. The zero value takes the first of everything.
type Choice struct {
	Types  map[string]graph.DType // by name of the spec's types
	Absent map[string]bool        // optional inputs that are left out
	Attrs  map[string]graph.Attr
	Dims   map[string]int64 // rows, and dimensions that do not follow from others
	Lead   int64            // the first of two leading dimensions, whose product is rows; 0 for one
}

// ErrDomain says that a choice is not in the kernel's domain.
var ErrDomain = errors.New("outside of the kernel's domain")

// Trial makes a call. The error is ErrDomain if the kernel is not for it.
func (s *Spec) Trial(c Choice) (*Trial, error) {
	t := &Trial{Spec: s, Ints: make([]int64, len(s.ints)), Attrs: make([]graph.Attr, len(s.Attrs))}
	for i, name := range s.ints {
		t.Ints[i] = 1
		if v, ok := c.Dims[name]; ok {
			t.Ints[i] = v
		} else if d := s.checkDim(name); d != nil {
			t.Ints[i] = d.Values[0]
		}
	}
	for i, a := range s.Attrs {
		v := c.Attrs[a.Name]
		if v == nil {
			if list := s.AttrValues(a); len(list) > 0 {
				v = list[0]
			}
		}
		t.Attrs[i] = v
		at := slices.Index(s.ints, a.Name)
		switch x := v.(type) {
		case graph.Dim:
			if n, ok := x.Const(); ok && at >= 0 {
				t.Ints[at] = n
			}
		case graph.Flag:
			t.Ints[at] = 0
			if x {
				t.Ints[at] = 1
			}
		case graph.Str:
			t.Ints[at] = int64(slices.Index(a.Words, string(x)))
		}
	}
	if err := s.Derived(t.Ints); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDomain, err)
	}
	if err := s.ranges(t.Ints); err != nil {
		return nil, err
	}
	dim := func(name string) graph.Dim { return graph.N(t.Ints[slices.Index(s.ints, name)]) }
	for _, x := range s.Inputs {
		if x.Optional && c.Absent[x.Name] {
			t.Inputs = append(t.Inputs, graph.Type{DType: graph.NoDType})
			continue
		}
		typ := graph.Type{DType: x.DTypes[0]}
		if u, ok := c.Types[x.TypeName]; ok && x.TypeName != "" {
			typ.DType = u
		}
		for _, d := range x.Shape {
			switch d.Name {
			case "":
				typ.Shape = append(typ.Shape, graph.N(d.N))
			case "...":
				if rows := t.Ints[0]; c.Lead > 0 && rows%c.Lead == 0 {
					typ.Shape = append(typ.Shape, graph.N(c.Lead), graph.N(rows/c.Lead))
				} else {
					typ.Shape = append(typ.Shape, dim(RowsName))
				}
			default:
				typ.Shape = append(typ.Shape, dim(d.Name))
			}
		}
		t.Inputs = append(t.Inputs, typ)
	}
	env := &guard.Env{Setting: guard.Setting{TPSize: 1}}
	if cond, failure := s.Check(t.Inputs, t.Attrs, env); failure != nil {
		return nil, fmt.Errorf("%w: %s", ErrDomain, failure.Text)
	} else if !cond.IsTrue() {
		return nil, fmt.Errorf("%w: %s", ErrDomain, cond)
	}
	v, err := s.Values(t.Inputs, t.Attrs)
	if err != nil {
		return nil, err
	}
	t.Floats = v.Floats
	if _, t.Results, err = graph.Infer(s.op, t.Inputs, t.Attrs); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDomain, err)
	}
	return t, nil
}

func (s *Spec) checkDim(name string) *CheckDim {
	if s.Trials == nil {
		return nil
	}
	for i := range s.Trials.Dims {
		if s.Trials.Dims[i].Name == name {
			return &s.Trials.Dims[i]
		}
	}
	return nil
}

// AttrValues returns the values of an attribute that are tried: those of its list, or of
// check, or its default.
func (s *Spec) AttrValues(a Attr) []graph.Attr {
	var list []graph.Attr
	for _, n := range a.Ints {
		list = append(list, graph.N(n))
	}
	for _, w := range a.Words {
		list = append(list, graph.Str(w))
	}
	if a.Kind == guard.Bool {
		list = append(list, graph.Flag(false), graph.Flag(true))
	}
	if s.Trials != nil {
		for _, c := range s.Trials.Attrs {
			if c.Name != a.Name {
				continue
			}
			for _, v := range c.Values {
				if a.Kind == guard.Int {
					list = append(list, graph.N(int64(v)))
				} else {
					list = append(list, graph.Float(v))
				}
			}
		}
	}
	if len(list) == 0 && a.Unset != nil {
		list = append(list, a.Unset)
	}
	return list
}

// Choices yields every combination of element types, absent inputs and attributes,
// each with the first of the lengths: a few hundred at most.
func (s *Spec) Choices() iter.Seq[Choice] {
	type axis struct {
		n   int
		set func(c *Choice, i int)
	}
	var axes []axis
	for _, t := range s.types {
		axes = append(axes, axis{len(t.DTypes), func(c *Choice, i int) { c.Types[t.Name] = t.DTypes[i] }})
	}
	for _, x := range s.Inputs {
		if x.Optional {
			axes = append(axes, axis{2, func(c *Choice, i int) { c.Absent[x.Name] = i == 1 }})
		}
	}
	for _, a := range s.Attrs {
		if list := s.AttrValues(a); len(list) > 0 {
			axes = append(axes, axis{len(list), func(c *Choice, i int) { c.Attrs[a.Name] = list[i] }})
		}
	}
	return func(yield func(Choice) bool) {
		at := make([]int, len(axes))
		for {
			c := Choice{Types: map[string]graph.DType{}, Absent: map[string]bool{}, Attrs: map[string]graph.Attr{}}
			for i, a := range axes {
				a.set(&c, at[i])
			}
			if !yield(c) {
				return
			}
			i := len(axes) - 1
			for ; i >= 0; i-- {
				if at[i]++; at[i] < axes[i].n {
					break
				}
				at[i] = 0
			}
			if i < 0 {
				return
			}
		}
	}
}

// Instance is a set of element types that a kernel is compiled for on the host.
type Instance struct {
	Types   map[string]graph.DType // by name of the spec's types
	Results []graph.DType
}

// Instances returns all sets of element types in the kernel's domain: those for which
// some choice of optional inputs and attributes is.
func (s *Spec) Instances() []Instance {
	var list []Instance
	seen := map[string]bool{}
	for c := range s.Choices() {
		key := ""
		for _, t := range s.types {
			key += c.Types[t.Name].String() + " "
		}
		if seen[key] {
			continue
		}
		t, err := s.Trial(c)
		if err != nil {
			continue
		}
		seen[key] = true
		in := Instance{Types: c.Types}
		for _, r := range t.Results {
			in.Results = append(in.Results, r.DType)
		}
		list = append(list, in)
	}
	return list
}
