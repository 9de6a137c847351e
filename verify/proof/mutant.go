package proof

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// mutation is one change of an instance's graph. Everything else of the graph stays as it
// is, and types are inferred anew.
type mutation struct {
	kind string // "attribute", "operands", …
	what string // for people: "softmax: axis=-2 in place of -1"
	// place is what was changed, without what it became: two mutations of one place differ
	// in the new value only.
	place string
	// retypes says that an element type which an attribute names has become another one.
	retypes bool

	at    graph.NodeID                   // the node that edit changes, or -1
	edit  func(m *maker, d *draft) error // of node at
	alias map[graph.ValueID]graph.ValueID
	end   func(m *maker) error // when all nodes are there
}

// draft is a node that is about to be added to a mutant.
type draft struct {
	op    *graph.Op
	in    []graph.ValueID // of the mutant
	attrs []graph.Attr
	value graph.ValueID // what its result is instead, if it is not None
}

// maker makes a mutant of a graph.
type maker struct {
	from, to *graph.Graph
	now      []graph.ValueID // what values of from are in to
	params   map[string]*graph.Param
	fresh    int
}

// mutant returns the program of an instance with one change, or an error if that is no
// program.
func (in *Instance) mutant(x *mutation) (*graph.Program, error) {
	from := in.Program.Cases[0].Graph
	m := &maker{from: from, to: graph.New(), now: make([]graph.ValueID, from.NumValues()), params: map[string]*graph.Param{}}
	for _, q := range in.Program.Params {
		m.params[q.Name] = q
	}
	for _, v := range from.Inputs() {
		m.now[v] = m.to.Input(from.InputName(v), from.Type(v))
	}
	for id := range graph.NodeID(from.NumNodes()) {
		if err := m.node(id, x); err != nil {
			return nil, err
		}
	}
	for _, o := range from.Outputs() {
		m.to.Output(o.Name, m.now[o.Value])
	}
	if x.end != nil {
		if err := x.end(m); err != nil {
			return nil, err
		}
	}
	if err := m.to.Compact(); err != nil {
		return nil, err
	}
	return program(m.to, in.When, m.params), nil
}

func (m *maker) node(id graph.NodeID, x *mutation) error {
	n := m.from.Node(id)
	d := &draft{op: n.Op, attrs: append([]graph.Attr(nil), n.Attrs...), value: graph.None}
	for _, v := range n.In {
		if v != graph.None {
			if other, ok := x.alias[v]; ok {
				v = other
			}
			v = m.now[v]
		}
		d.in = append(d.in, v)
	}
	if x.at == id && x.edit != nil {
		if err := x.edit(m, d); err != nil {
			return err
		}
	}
	switch {
	case n.Op.Name == "input":
		return nil // made before
	case d.value != graph.None:
		m.now[n.Out[0]] = d.value
		return nil
	case n.Op.Name == "param":
		m.now[n.Out[0]] = m.to.Param(m.from.InputName(n.Out[0]), m.from.Type(n.Out[0]))
		return nil
	case n.Op.Name == "constant":
		m.now[n.Out[0]] = m.to.Constant(d.attrs[0].(*graph.Literal))
		return nil
	}
	out, err := m.to.Add(d.op, n.Scope, d.in, d.attrs...)
	if err != nil {
		return err
	}
	for i, v := range n.Out {
		if i < len(out) {
			m.now[v] = out[i]
		}
	}
	return nil
}

// another makes a value of the type of v that nothing else reads: a parameter if v is one,
// else an input.
func (m *maker) another(v graph.ValueID) graph.ValueID {
	name := m.name()
	if m.to.Def(v).Op.Name != "param" {
		return m.to.Input(name, m.to.Type(v))
	}
	q := *m.params[m.to.InputName(v)]
	q.Name = name
	if q.Quant != nil {
		quant := *q.Quant
		q.Quant = &quant
	}
	m.params[name] = &q
	return m.to.Param(name, q.Type)
}

func (m *maker) name() string {
	m.fresh++
	return fmt.Sprintf("another_%d", m.fresh)
}

// program makes a program of one graph. Parameters that it does not read are left out.
func program(g *graph.Graph, when graph.Cond, params map[string]*graph.Param) *graph.Program {
	p := &graph.Program{Name: "pattern", Cases: []graph.Case{{Name: "pattern", When: when, Graph: g}}}
	read := g.Params()
	for _, name := range sortedKeys(read) {
		p.Params = append(p.Params, params[name])
	}
	return p
}
