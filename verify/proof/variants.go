package proof

import (
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
)

// variant is another sample of an instance's pattern: what the pattern's names stand for
// is changed, and the pattern is rendered again, so that it is still whole.
type variant struct {
	kind, what, place string
	sample            *matcher.Sample
}

// variants lists each single change of what the names of an instance stand for: element
// types, ranks and lengths of operands, and $variables.
func (in *Instance) variants() []*variant {
	var all []*variant
	add := func(kind, place, what string, s *matcher.Sample) {
		all = append(all, &variant{kind, what, kind + " " + place, s})
	}
	s := in.Sample
	for _, t := range otherTypes {
		if t.IsFloat() {
			add(mutType, "all", fmt.Sprintf("all numbers %s", t), withFloats(s, t))
		}
	}
	lengths := map[int64]bool{}
	for _, name := range sortedKeys(s.Types) {
		if s.Literals[name] != nil {
			continue
		}
		t := s.Types[name]
		for _, d := range otherTypes {
			if d != t.DType {
				add(mutType, name, fmt.Sprintf("%s is %s in place of %s", name, d, t.DType), withType(s, name, graph.Type{DType: d, Shape: t.Shape}))
			}
		}
		shape := func(format string, d []graph.Dim) {
			add(mutShape, name, fmt.Sprintf(format, name, graph.Dims(d), graph.Dims(t.Shape)), withType(s, name, graph.Type{DType: t.DType, Shape: d}))
		}
		for k, d := range t.Shape {
			if n, ok := d.Const(); ok && n > 1 {
				lengths[n] = true
			}
			for _, other := range append(otherDims(d), graph.N(1)) {
				if n, ok := other.Const(); other != d && (!ok || n > 0) {
					shape("%s has shape %s in place of %s", with(t.Shape, k, other))
				}
			}
		}
		for k := range t.Shape {
			shape("%s has shape %s in place of %s", t.Shape[k+1:])
		}
		shape("%s has shape %s in place of %s", append([]graph.Dim{graph.N(1)}, t.Shape...))
		if s.Params[name] {
			c := *s
			c.Params = maps.Clone(s.Params)
			delete(c.Params, name)
			add(mutParam, name, name+" is made when the model runs", &c)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(lengths)) {
		for _, other := range []int64{2 * n, n / 2, n + 1} {
			if other != n && other > 0 {
				add(mutShape, fmt.Sprintf("all %d", n), fmt.Sprintf("all lengths %d are %d", n, other), in.withLength(n, other))
			}
		}
	}
	for _, one := range sortedKeys(s.Vars) { // as many in all, such as fewer groups that are larger
		for _, other := range sortedKeys(s.Vars) {
			half, isInt := s.Vars[one].(graph.Dim)
			double, isInt2 := s.Vars[other].(graph.Dim)
			if !isInt || !isInt2 || one == other {
				continue
			}
			if half, isInt = half.Div(graph.N(2)); isInt {
				c := *s
				c.Vars = maps.Clone(s.Vars)
				c.Vars[one], c.Vars[other] = half, double.Mul(graph.N(2))
				add(mutVariable, one+" and "+other, fmt.Sprintf("$%s is %s and $%s %s", one, half, other, c.Vars[other]), &c)
			}
		}
	}
	for _, name := range sortedKeys(s.Vars) {
		values := otherValues(s.Vars[name])
		if _, ok := s.Vars[name].(graph.Str); ok {
			values = in.words(s.Vars[name])
		}
		for _, other := range sortedKeys(s.Vars) { // what others are, and more: their order may count
			values = append(values, beyondOf(s.Vars[name], s.Vars[other])...)
		}
		for _, a := range values {
			c := *s
			c.Vars = maps.Clone(s.Vars)
			c.Vars[name] = a
			add(mutVariable, name, fmt.Sprintf("$%s is %s in place of %s", name, a, s.Vars[name]), &c)
		}
	}
	return all
}

// beyondOf returns the number that b is, and twice that, as what a is.
func beyondOf(a, b graph.Attr) []graph.Attr {
	x, ok := numberOf(b)
	if _, number := numberOf(a); !ok || !number {
		return nil
	}
	var all []graph.Attr
	for _, y := range []float64{x, 2 * x} {
		switch l := a.(type) {
		case graph.Float:
			all = append(all, graph.Float(y))
		case *graph.Literal:
			all = append(all, graph.ScalarLiteral(l.DType, y))
		}
	}
	return different(all, a)
}

func numberOf(a graph.Attr) (float64, bool) {
	switch x := a.(type) {
	case graph.Float:
		return float64(x), true
	case *graph.Literal:
		return x.Scalar()
	}
	return 0, false
}

func withType(s *matcher.Sample, name string, t graph.Type) *matcher.Sample {
	c := *s
	c.Types = maps.Clone(s.Types)
	c.Types[name] = t
	return &c
}

// withLength changes a length wherever it is one: in all operands, in packed matrices of
// such rows, and in what the pattern leaves open.
func (in *Instance) withLength(was, now int64) *matcher.Sample {
	c := *in.Sample
	c.Types, c.Open = map[string]graph.Type{}, map[[2]int]graph.Attr{}
	change := func(d graph.Dim) graph.Dim {
		if d.Is(was) {
			return graph.N(now)
		}
		return d
	}
	for name, t := range in.Sample.Types {
		t.Shape = slices.Clone(t.Shape)
		for k, d := range t.Shape {
			t.Shape[k] = change(d)
		}
		if q := in.Program.Param(name); q != nil && q.Quant != nil {
			// The last axis counts words of packed elements, or groups of them.
			per := int64(q.Quant.GroupSize)
			if q.Part == "weight" {
				per = 32 / int64(q.Quant.Bits)
			}
			last := len(t.Shape) - 1
			if n, ok := q.Type.Shape[last].Const(); ok && n*per == was && now%int64(q.Quant.GroupSize) == 0 {
				t.Shape[last] = graph.N(now / per)
			} else {
				t.Shape[last] = q.Type.Shape[last]
			}
		}
		c.Types[name] = t
	}
	for at, a := range in.Sample.Open {
		if list, ok := a.(graph.Dims); ok {
			list = slices.Clone(list)
			for k, d := range list {
				list[k] = change(d)
			}
			a = list
		}
		c.Open[at] = a
	}
	return &c
}

// words are the other words that an attribute of the graph with that value could have.
func (in *Instance) words(was graph.Attr) []graph.Attr {
	var all []graph.Attr
	g := in.Program.Cases[0].Graph
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		for i, a := range n.Attrs {
			if a != nil && a.Equal(was) {
				for _, w := range n.Op.Attrs[i].Words {
					all = append(all, graph.Str(w))
				}
			}
		}
	}
	return different(all, was)
}

// as returns the instance with another sample, or an error if that is no program.
func (in *Instance) as(x *variant) (*Instance, error) {
	params := in.Program.Params
	if x.kind == mutParam {
		params = slices.DeleteFunc(slices.Clone(params), func(q *graph.Param) bool { return !x.sample.Params[q.Name] })
	}
	c, err := newInstance(in.Pattern, x.sample, in.When, in.Where+"; "+x.what, retype(params, x.sample))
	if err != nil {
		return nil, err
	}
	c.Rule = in.Rule
	return c, nil
}
