package kernels

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// Failure says why a call is outside a kernel's domain.
type Failure struct {
	Name string // "kernel.swiglu.T", "kernel.swiglu.n", or the name of a condition
	Text string // what was expected and what was found
}

// Check decides whether a call is in the kernel's domain: element types, shapes
// over named dimensions, attribute values, and the spec's own conditions. It
// returns what must hold of symbols when the graph runs, or the failure.
func (s *Spec) Check(in []graph.Type, attrs []graph.Attr, env *guard.Env) (graph.Cond, *Failure) {
	fail := func(what, format string, args ...any) (graph.Cond, *Failure) {
		return graph.False, &Failure{s.op.Name + "." + what, fmt.Sprintf(format, args...)}
	}
	if env.Setting.Training && len(s.Gradient) == 0 {
		return fail("gradient", "the graph is differentiated, and the kernel has no gradient")
	}
	// A kernel has a handful of names: lists are faster than maps.
	type named[T any] struct {
		name  string
		value T
	}
	var dims []named[graph.Dim]
	var chosen []named[graph.DType]
	var lead []graph.Dim
	haveLead := false
	for i, x := range s.Inputs {
		if i >= len(in) || in[i].DType == graph.NoDType {
			if !x.Optional {
				return fail(x.Name, "operand is missing")
			}
			continue
		}
		t := in[i]
		if !slices.Contains(x.DTypes, t.DType) {
			return fail(x.Name, "element type %s is none of %v", t.DType, x.DTypes)
		}
		if x.TypeName != "" {
			k := slices.IndexFunc(chosen, func(n named[graph.DType]) bool { return n.name == x.TypeName })
			if k < 0 {
				chosen = append(chosen, named[graph.DType]{x.TypeName, t.DType})
			} else if prev := chosen[k].value; prev != t.DType {
				return fail(x.TypeName, "%s has element type %s, other operands of type %s have %s", x.Name, t.DType, x.TypeName, prev)
			}
		}
		shape, rest := t.Shape, x.Shape
		if len(rest) > 0 && rest[0].Name == "..." {
			rest = rest[1:]
			n := len(shape) - len(rest)
			if n < 0 {
				return fail(x.Name, "shape of %s has %d dimensions, at least %d are needed", t, len(shape), len(rest))
			}
			if haveLead && !slices.Equal(lead, shape[:n]) {
				return fail(x.Name, "leading dimensions of %s differ from those of other operands", t)
			}
			lead, haveLead, shape = shape[:n], true, shape[n:]
		}
		if len(shape) != len(rest) {
			return fail(x.Name, "%s has %d dimensions, %d are needed", t, len(t.Shape), len(x.Shape))
		}
		for k, d := range rest {
			if d.Name == "" {
				if !shape[k].Is(d.N) {
					return fail(x.Name, "dimension %d of %s is not %d", k, t, d.N)
				}
				continue
			}
			at := slices.IndexFunc(dims, func(n named[graph.Dim]) bool { return n.name == d.Name })
			if at < 0 {
				dims = append(dims, named[graph.Dim]{d.Name, shape[k]})
			} else if prev := dims[at].value; prev != shape[k] {
				return fail(d.Name, "dimension %s is %s in %s, %s before", d.Name, shape[k], x.Name, prev)
			}
		}
	}
	vars := make([]graph.Attr, len(s.Attrs))
	for i, a := range s.Attrs {
		v := a.Unset
		if i < len(attrs) && attrs[i] != nil {
			v = attrs[i]
		}
		vars[i] = v
		switch x := v.(type) {
		case graph.Dim:
			if n, ok := x.Const(); len(a.Ints) > 0 && (!ok || !slices.Contains(a.Ints, n)) {
				return fail(a.Name, "%s = %s is none of %v", a.Name, x, a.Ints)
			}
		case graph.Str:
			if len(a.Words) > 0 && !slices.Contains(a.Words, string(x)) {
				return fail(a.Name, "%s = %s is none of %v", a.Name, x, a.Words)
			}
		case nil:
			return fail(a.Name, "attribute is missing")
		}
	}
	if len(s.Domain) == 0 {
		return graph.True, nil
	}
	local := *env
	local.Type = func(name string) (graph.Type, bool) {
		for i, x := range s.Inputs {
			if x.Name == name && i < len(in) && in[i].DType != graph.NoDType {
				return in[i], true
			}
		}
		return graph.Type{}, false
	}
	local.Var = func(name string) graph.Attr {
		for _, d := range dims {
			if d.name == name {
				return d.value
			}
		}
		for i, a := range s.Attrs {
			if a.Name == name {
				return vars[i]
			}
		}
		return nil
	}
	cond := graph.True
	for _, c := range s.Domain {
		v := c.Guard.Eval(&local)
		if v.Cond.IsFalse() {
			return fail(c.Name, "%s does not hold: %s", c.Guard.Text, c.Guard.Values(&local))
		}
		cond = graph.And(cond, v.Cond)
	}
	return cond, nil
}
