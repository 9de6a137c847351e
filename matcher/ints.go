package matcher

import "zmlx-rewrite/graph"

// linear is a + b*v, where v is a $variable that is not bound yet (b is 0 and v
// -1 if there is none).
type linear struct {
	a, b graph.Dim
	v    int
}

// reads reports whether an expression has variable v.
func (e *intExpr) reads(v int) bool {
	return e != nil && (e.op == 'v' && e.v == v || e.l.reads(v) || e.r.reads(v))
}

// eval evaluates an integer expression with at most one unbound variable.
func (s *search) eval(e *intExpr) (linear, bool) {
	number := func(d graph.Dim) (linear, bool) { return linear{a: d, v: -1}, true }
	switch e.op {
	case 'n':
		return number(graph.N(e.n))
	case 'v':
		switch x := s.vars[e.v].(type) {
		case nil:
			return linear{b: graph.N(1), v: e.v}, true
		case graph.Dim:
			return number(x)
		}
		return linear{}, false
	case 'd', 'r', 's':
		t, ok := s.refType(e.ref)
		if !ok {
			return linear{}, false
		}
		switch e.op {
		case 'r':
			return number(t.Rows())
		case 's':
			return number(t.Size())
		}
		d, ok := t.Dim(int(e.n))
		if !ok {
			return linear{}, false
		}
		return number(d)
	}
	l, okL := s.eval(e.l)
	r, okR := s.eval(e.r)
	if !okL || !okR || l.v >= 0 && r.v >= 0 && l.v != r.v {
		return linear{}, false
	}
	out := linear{v: max(l.v, r.v)}
	switch e.op {
	case '+':
		out.a, out.b = l.a.Add(r.a), l.b.Add(r.b)
	case '-':
		out.a, out.b = l.a.Sub(r.a), l.b.Sub(r.b)
	case '*':
		if l.v >= 0 && r.v >= 0 {
			return linear{}, false // not linear
		}
		out.a = l.a.Mul(r.a)
		out.b = l.b.Mul(r.a).Add(r.b.Mul(l.a))
	default:
		return linear{}, false
	}
	return out, true
}

// equals makes a + b*v equal to one of the candidates, binding v if it is free. A
// variable is a count: only values solve that are positive whatever the symbols are.
func (s *search) equals(l linear, candidates ...graph.Dim) bool {
	for _, c := range candidates {
		rest := c.Sub(l.a)
		if l.v < 0 {
			if rest.Is(0) {
				return true
			}
			continue
		}
		x, ok := rest.Div(l.b)
		if !ok {
			continue
		}
		if !graph.Compare(x, graph.GT, graph.N(0)).Given(graph.True).IsTrue() {
			continue
		}
		return s.bind(l.v, x)
	}
	return false
}

// intAttr matches integer attributes. Axes are compared from the end; a position
// p along an axis of n is the same as p-n.
func (s *search) intAttr(a *pattr, spec *graph.AttrSpec, n *graph.Node, got graph.Attr) bool {
	lines := s.lines[:0]
	for _, e := range a.ints {
		l, ok := s.eval(e)
		if !ok {
			return false
		}
		lines = append(lines, l)
	}
	s.lines = lines
	var shape []graph.Dim // what axes and positions count along
	if len(n.In) > 0 && n.In[0] != graph.None {
		shape = s.g.Type(n.In[0]).Shape
	}
	switch spec.Kind {
	case graph.KindInt:
		d, ok := got.(graph.Dim)
		return ok && a.kind == attrInt && s.equals(lines[0], d)
	case graph.KindAxis:
		d, ok := got.(graph.Dim)
		return ok && a.kind == attrInt && s.equals(lines[0], d, d.Add(graph.N(int64(len(shape)))))
	case graph.KindPos:
		d, ok := got.(graph.Dim)
		axis, okAxis := n.Attr("axis").(graph.Dim)
		return ok && okAxis && a.kind == attrInt && s.equals(lines[0], d, d.Sub(shape[axis.Int()+len(shape)]))
	case graph.KindInts:
		d, ok := got.(graph.Dims)
		if !ok || len(d) != len(lines) {
			return false
		}
		for i := range d {
			if !s.equals(lines[i], d[i]) {
				return false
			}
		}
		return true
	case graph.KindAxes:
		d, ok := got.(graph.Dims)
		if !ok || len(d) != len(lines) {
			return false
		}
		rank := len(shape)
		if n.Op.Name == "expand_dims" {
			rank += len(d)
		}
		for i := range d {
			if !s.equals(lines[i], d[i], d[i].Add(graph.N(int64(rank)))) {
				return false
			}
		}
		return true
	case graph.KindPosList:
		axes, ok := n.Attr("axis").(graph.Dims)
		if !ok || len(axes) != len(lines) {
			return false
		}
		d, _ := got.(graph.Dims)
		for i, ax := range axes {
			length := shape[ax.Int()+len(shape)]
			pos := graph.N(0) // an absent start is 0, an absent stop the length
			switch {
			case d != nil:
				pos = d[i]
			case spec.Name == "stop":
				pos = length
			}
			candidates := []graph.Dim{pos, pos.Sub(length)}
			if pos == length { // 0 is the start of an axis, not its end
				candidates = candidates[:1]
			}
			if !s.equals(lines[i], candidates...) {
				return false
			}
		}
		return true
	}
	return false
}
