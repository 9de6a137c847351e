package kernels

import (
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
)

// Trials say how cases for checking a kernel are made (package kernelcheck): the
// lengths that dimensions take, those that follow from others, and what inputs
// hold where their element type does not say enough.
type Trials struct {
	Dims   []CheckDim
	Derive []CheckDerived
	Inputs []CheckInput
	Attrs  []CheckAttr
}

// CheckDim is a dimension, or rows, with the lengths that are tried.
type CheckDim struct {
	Name   string
	Values []int64
}

// CheckDerived is a dimension that follows from others.
type CheckDerived struct {
	Name string
	Expr syntax.Expr
}

// CheckInput names the generator of an input: "index(e)", "packed", "scales".
type CheckInput struct {
	Name string
	Expr syntax.Expr
}

// CheckAttr is an attribute without a list of allowed values, with those that are tried.
type CheckAttr struct {
	Name   string
	Values []float64
}

// Generators are what `inputs:` of `check:` may name, with the number of arguments.
var Generators = map[string]int{
	"values":  0, // floats in every style: the default of float inputs
	"finite":  0, // the same without NaN and infinity
	"packed":  0, // any bits: the default of unsigned integers
	"scales":  0, // of quantized weights: of the size that real ones have
	"index":   1, // whole numbers in [0, n)
	"below":   1, // positions in [0, n], such as the offset of a rope
	"weights": 0, // of a norm: around 1
	"scores":  0, // of experts: in (0, 1), summing to about 1
}

func (p *specParser) check(n *diag.Node) {
	if n == nil {
		return
	}
	p.issues.Add(n.Known("kernel/unknown-key", "dims", "derive", "inputs", "attrs")...)
	if n.Kind != diag.Map {
		return
	}
	s := p.spec
	c := &Trials{}
	each := func(key string, f func(k, v *diag.Node)) {
		m := n.Get(key)
		if m == nil {
			return
		}
		if m.Kind != diag.Map {
			p.issues.Add(m.Errorf("yaml/type", "%s must be a mapping, found a %s", key, m.Kind))
			return
		}
		for i, k := range m.Keys {
			f(k, m.Vals[i])
		}
	}
	isDim := func(name string) bool {
		return s.isInt(name) && !slices.ContainsFunc(s.Attrs, func(a Attr) bool { return a.Name == name })
	}
	each("dims", func(k, v *diag.Node) {
		d := CheckDim{Name: k.Text}
		if !isDim(k.Text) {
			p.issues.Add(k.Errorf("kernel/check", "%s is not a dimension of the inputs", k.Text))
		}
		if v.Kind != diag.Seq || len(v.Items) == 0 {
			p.issues.Add(v.Errorf("yaml/type", "expected a list of lengths"))
			return
		}
		for _, item := range v.Items {
			x, issue := item.Int()
			if issue == nil && x < 1 {
				issue = item.Errorf("kernel/check", "a length of %d", x)
			}
			p.issues.Add(issue)
			d.Values = append(d.Values, x)
		}
		c.Dims = append(c.Dims, d)
	})
	each("derive", func(k, v *diag.Node) {
		if !isDim(k.Text) {
			p.issues.Add(k.Errorf("kernel/check", "%s is not a dimension of the inputs", k.Text))
		}
		e, issue := ParseExpr(v)
		if issue == nil {
			if err := checkInt(e, s.isInt); err != nil {
				issue = SyntaxIssue(v, err)
			}
		}
		p.issues.Add(issue)
		c.Derive = append(c.Derive, CheckDerived{k.Text, e})
	})
	each("inputs", func(k, v *diag.Node) {
		if !slices.ContainsFunc(s.Inputs, func(x Input) bool { return x.Name == k.Text }) {
			p.issues.Add(k.Errorf("kernel/check", "%s is not an input", k.Text))
		}
		e, issue := ParseExpr(v)
		if issue == nil {
			issue = p.generator(v, e)
		}
		p.issues.Add(issue)
		c.Inputs = append(c.Inputs, CheckInput{k.Text, e})
	})
	each("attrs", func(k, v *diag.Node) {
		a := CheckAttr{Name: k.Text}
		at := slices.IndexFunc(s.Attrs, func(a Attr) bool { return a.Name == k.Text })
		if at < 0 {
			p.issues.Add(k.Errorf("kernel/check", "%s is not an attribute", k.Text))
		} else if kind := s.Attrs[at].Kind; kind != guard.Int && kind != guard.Number {
			p.issues.Add(k.Errorf("kernel/check", "%s is neither an int nor a float: all of its values are tried", k.Text))
		}
		for _, item := range v.Items {
			x, issue := item.Float()
			if issue == nil && (!isFloat32(x) || at >= 0 && s.Attrs[at].Kind == guard.Int && x != math.Trunc(x)) {
				issue = item.Errorf("kernel/check", "%s is no value of %s", item.Text, k.Text)
			}
			p.issues.Add(issue)
			a.Values = append(a.Values, x)
		}
		if len(a.Values) == 0 {
			p.issues.Add(v.Errorf("yaml/type", "expected a list of numbers"))
		}
		c.Attrs = append(c.Attrs, a)
	})
	s.Trials = c
}

// generator checks the name and the arguments of a generator.
func (p *specParser) generator(n *diag.Node, e syntax.Expr) *diag.Issue {
	name, args := "", []syntax.Arg(nil)
	switch x := e.(type) {
	case *syntax.Name:
		name = x.Name
	case *syntax.Call:
		name, args = x.Fun, x.Args
	}
	want, ok := Generators[name]
	if !ok || len(args) != want {
		return n.Errorf("kernel/check", "%s is no generator", e).WithHint("generators: values, finite, packed, scales, weights, scores, index(n), below(n)")
	}
	for _, a := range args {
		if err := checkInt(a.Value, p.spec.isInt); err != nil {
			return SyntaxIssue(n, err)
		}
	}
	return nil
}

// Untried names the dimensions of which check says nothing, if there is a source to check:
// they are tried at length 1 only, where many a mistake in a source is none.
func (s *Spec) Untried() []string {
	if s.Trials == nil || s.Launch == nil {
		return nil
	}
	var list []string
	for i, name := range s.ints[:len(s.ints)-s.intAttrs()] {
		derived := slices.ContainsFunc(s.Trials.Derive, func(d CheckDerived) bool { return d.Name == name })
		leads := slices.ContainsFunc(s.Inputs, func(x Input) bool { return len(x.Shape) > 0 && x.Shape[0].Name == "..." })
		if s.checkDim(name) == nil && !derived && (i > 0 || leads) { // the first is rows
			list = append(list, name)
		}
	}
	return list
}

// Trying returns the spec with lengths for dimensions that check leaves out; 1 is tried, too.
func (s *Spec) Trying(lengths map[string][]int64) *Spec {
	c, t := *s, *s.Trials
	c.Trials, t.Dims = &t, slices.Clone(t.Dims)
	for _, name := range s.Untried() {
		if list := lengths[name]; len(list) > 0 {
			if !slices.Contains(list, 1) {
				list = append(slices.Clone(list), 1)
			}
			t.Dims = append(t.Dims, CheckDim{name, list})
		}
	}
	return &c
}

// Lengths are those of the dimensions of a call that are numbers, by their names.
func (s *Spec) Lengths(in []graph.Type) map[string]int64 {
	all := map[string]int64{}
	for i, x := range s.Inputs {
		if i >= len(in) || in[i].DType == graph.NoDType {
			continue
		}
		shape, rest := in[i].Shape, x.Shape
		if len(rest) > 0 && rest[0].Name == "..." {
			rest = rest[1:]
			shape = shape[len(shape)-len(rest):]
		}
		for k, d := range rest {
			if n, ok := shape[k].Const(); ok && d.Name != "" {
				all[d.Name] = n
			}
		}
	}
	return all
}

// Derived fills in the dimensions that follow from others; ints has those that do not.
func (s *Spec) Derived(ints []int64) error {
	if s.Trials == nil {
		return nil
	}
	for _, d := range s.Trials.Derive {
		v, err := s.EvalInt(d.Expr, ints)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		ints[slices.Index(s.ints, d.Name)] = v
	}
	return nil
}

// EvalInt evaluates an integer expression over the integers of a call.
func (s *Spec) EvalInt(e syntax.Expr, ints []int64) (int64, error) {
	return evalInt(e, func(name string) (int64, bool) {
		i := slices.Index(s.ints, name)
		if i < 0 {
			return 0, false
		}
		return ints[i], true
	})
}

// ranges checks that lengths are lengths and that generators have something to choose from;
// ints are those of a trial.
func (s *Spec) ranges(ints []int64) error {
	for i, name := range s.ints[:len(s.ints)-s.intAttrs()] {
		if ints[i] < 1 {
			return fmt.Errorf("%w: %s is %d", ErrDomain, name, ints[i])
		}
	}
	if s.Trials == nil {
		return nil
	}
	for _, x := range s.Trials.Inputs {
		c, ok := x.Expr.(*syntax.Call)
		if !ok {
			continue
		}
		n, err := s.EvalInt(c.Args[0].Value, ints)
		if err != nil {
			return fmt.Errorf("%w: %s: %v", ErrDomain, x.Expr, err)
		}
		if n < 0 || n < 1 && c.Fun == "index" {
			return fmt.Errorf("%w: %s: there is no number to choose in %s of %d", ErrDomain, x.Name, c.Fun, n)
		}
	}
	return nil
}

// intAttrs is how many of the ints, the last, are attributes.
func (s *Spec) intAttrs() int { return len(s.Attrs) - len(s.floats) }
