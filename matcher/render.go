package matcher

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// Sample is one way of filling in a pattern: what its names stand for, apart from any
// graph. A match has one (Match.Sample), and Render makes a graph of another.
type Sample struct {
	Types    map[string]graph.Type     // of the value variables; those that are absent are left out
	Params   map[string]bool           // value variables that are parameters of the program
	Literals map[string]*graph.Literal // value variables that are constants
	Vars     map[string]graph.Attr     // $variables
	// Open has the attributes that the pattern does not look at, by node and place.
	Open map[[2]int]graph.Attr
}

// Sample returns what the names of a match stand for.
func (m *Match) Sample(g *graph.Graph) *Sample {
	p := m.Pattern
	s := &Sample{Types: map[string]graph.Type{}, Params: map[string]bool{}, Literals: map[string]*graph.Literal{}, Vars: map[string]graph.Attr{}, Open: map[[2]int]graph.Attr{}}
	for i, name := range p.values {
		v := m.Values[i]
		if v < 0 {
			continue
		}
		s.Types[name] = g.Type(v)
		if g.Def(v).Op.Name == "param" {
			s.Params[name] = true
		}
		if l := g.Literal(v); l != nil {
			s.Literals[name] = l
		}
	}
	for i, name := range p.vars {
		if m.Vars[i] != nil {
			s.Vars[name] = m.Vars[i]
		}
	}
	for q := range p.nodes {
		for i, a := range p.nodes[q].attrs {
			if a.kind == attrAny && m.Nodes[q] >= 0 {
				s.Open[[2]int{q, i}] = g.Node(m.Nodes[q]).Attrs[i]
			}
		}
	}
	return s
}

// Line returns the line of the rule that node i of the pattern belongs to, as Miss.Line does.
func (p *Pattern) Line(i int) string { return p.nodes[i].line }

// Render makes a graph that is the pattern and nothing else: value variables are its
// inputs, parameters or constants, in the order in which the pattern names them, and the
// rule's results its outputs. The graph is the smallest in which the pattern matches. The
// error says what of the sample is missing, or does not fit together.
func (p *Pattern) Render(s *Sample) (*graph.Graph, error) {
	r := &renderer{p: p, s: s, g: graph.New(), nodes: make([][]graph.ValueID, len(p.nodes)), values: make([]graph.ValueID, len(p.values))}
	for i, name := range p.values {
		r.values[i] = graph.None
		t, ok := s.Types[name]
		switch {
		case !ok:
		case s.Literals[name] != nil:
			r.values[i] = r.g.Constant(s.Literals[name])
		case s.Params[name]:
			r.values[i] = r.g.Param(name, t)
		default:
			r.values[i] = r.g.Input(name, t)
		}
	}
	for q := range p.nodes {
		if err := r.node(q); err != nil {
			return nil, fmt.Errorf("%s: %w", p.nodes[q].line, err)
		}
	}
	for _, result := range p.results {
		v, err := r.operand(result.ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", result.name, err)
		}
		r.g.Output(result.name, v)
	}
	return r.g, nil
}

type renderer struct {
	p      *Pattern
	s      *Sample
	g      *graph.Graph
	nodes  [][]graph.ValueID
	values []graph.ValueID
}

func (r *renderer) operand(x ref) (graph.ValueID, error) {
	switch x.kind {
	case refNode:
		return r.nodes[x.i][x.res], nil
	case refValue:
		if v := r.values[x.i]; v != graph.None || x.optional {
			return v, nil
		}
		return graph.None, fmt.Errorf("%s has no type", r.p.values[x.i])
	case refScalar:
		if l, ok := r.variable(x.i).(*graph.Literal); ok {
			return r.g.Constant(l), nil
		}
		return graph.None, fmt.Errorf("$%s is no constant", r.p.vars[x.i])
	}
	return graph.None, nil
}

func (r *renderer) variable(i int) graph.Attr {
	for _, x := range r.p.preset {
		if x.v == i {
			return x.attr
		}
	}
	return r.s.Vars[r.p.vars[i]]
}

func (r *renderer) node(q int) error {
	n := &r.p.nodes[q]
	in := make([]graph.ValueID, len(n.in))
	beside := graph.NoDType
	for i, x := range n.in {
		v, err := r.operand(x)
		if err != nil && x.kind != refScalar {
			return err
		}
		if in[i] = v; v != graph.None {
			if t := r.g.Type(v).DType; beside == graph.NoDType {
				beside = t
			} else {
				beside = graph.Promote(beside, t)
			}
		}
	}
	for i, x := range n.in { // a number takes the type of what is beside it
		if x.kind == refScalar && in[i] == graph.None {
			num, ok := number(r.variable(x.i))
			if !ok {
				return fmt.Errorf("$%s is not known", r.p.vars[x.i])
			}
			x = num
		}
		if x.kind == refLiteral {
			in[i] = r.g.Scalar(graph.NumberType(beside, x.whole), x.num)
		}
	}
	attrs := make([]graph.Attr, len(n.attrs))
	for i := range n.attrs {
		var err error
		if attrs[i], err = r.attr(q, i); err != nil {
			return fmt.Errorf("%s of %s: %w", n.op.Attrs[i].Name, n.op.Name, err)
		}
	}
	out, err := r.g.Add(n.op, r.p.Rule.Name, in, attrs...)
	r.nodes[q] = out
	return err
}

func (r *renderer) attr(q, i int) (graph.Attr, error) {
	a, spec := &r.p.nodes[q].attrs[i], &r.p.nodes[q].op.Attrs[i]
	switch a.kind {
	case attrAny:
		if x := r.s.Open[[2]int{q, i}]; x != nil {
			return x, nil
		}
		return spec.Default, nil
	case attrConst:
		return a.value, nil
	case attrVar:
		if x := r.variable(a.v); x != nil {
			return x, nil
		}
		return nil, fmt.Errorf("$%s is not known", r.p.vars[a.v])
	case attrInt, attrList:
		var list graph.Dims
		for _, e := range a.ints {
			d, err := r.integer(e)
			if err != nil {
				return nil, err
			}
			list = append(list, d)
		}
		switch spec.Kind {
		case graph.KindInts, graph.KindAxes, graph.KindPosList:
			return list, nil
		}
		return list[0], nil
	}
	return nil, nil
}

func (r *renderer) integer(e *intExpr) (graph.Dim, error) {
	switch e.op {
	case 'n':
		return graph.N(e.n), nil
	case 'v':
		if d, ok := r.variable(e.v).(graph.Dim); ok {
			return d, nil
		}
		return graph.Dim{}, fmt.Errorf("$%s is not known", r.p.vars[e.v])
	case 'd', 'r', 's':
		v, err := r.operand(e.ref)
		if err != nil || v == graph.None {
			return graph.Dim{}, fmt.Errorf("%s is not known", r.p.integer(e))
		}
		t := r.g.Type(v)
		switch e.op {
		case 'r':
			return t.Rows(), nil
		case 's':
			return t.Size(), nil
		}
		d, ok := t.Dim(int(e.n))
		if !ok {
			return d, fmt.Errorf("%s is not known", r.p.integer(e))
		}
		return d, nil
	}
	x, err := r.integer(e.l)
	if err != nil {
		return x, err
	}
	y, err := r.integer(e.r)
	if err != nil {
		return y, err
	}
	switch e.op {
	case '+':
		return x.Add(y), nil
	case '-':
		return x.Sub(y), nil
	}
	return x.Mul(y), nil
}
