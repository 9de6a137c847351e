package proof

import (
	"fmt"
	"slices"
	"sync"

	"zmlx-rewrite/graph"
)

// Kinds of mutations.
const (
	mutAttr     = "attribute"   // an attribute has another value
	mutConstant = "constant"    // a constant has another value or type, or is none
	mutSwap     = "order"       // two operands of a node are swapped
	mutSplit    = "name"        // one of the places of a repeated name, or of an inner value, reads something else
	mutMerge    = "same value"  // two names stand for one value
	mutInner    = "inner value" // an operand is one of the pattern's own values
	mutOptional = "optional"    // an operand is there, or is not
	mutReader   = "reader"      // an inner value is read outside
	mutOutput   = "output"      // an inner value is a result of the graph
	mutOp       = "op"          // another op of the same signature
	mutType     = "type"        // an operand has another element type
	mutShape    = "shape"       // an operand has another shape
	mutParam    = "parameter"   // a parameter is none
	mutVariable = "$variable"   // a $variable has another value, everywhere
)

// outside is the scope of a node that is added, and the name of a result.
const outside = "outside"

// mutations lists each single change of the graph of an instance.
func (in *Instance) mutations() []*mutation {
	l := newLister(in)
	for id := range graph.NodeID(l.g.NumNodes()) {
		n := l.g.Node(id)
		switch n.Op.Name {
		case "input", "param":
			continue
		case "constant":
			l.constant(id, n)
			continue
		}
		l.attributes(id, n)
		l.operands(id, n)
		l.optional(id, n)
		l.ops(id, n)
		l.inner(id, n)
	}
	l.merges()
	return l.all
}

type lister struct {
	in    *Instance
	g     *graph.Graph
	uses  *graph.Uses
	names []string // of nodes, for people: the op, and a number if the graph has several
	all   []*mutation
}

func newLister(in *Instance) *lister {
	l := &lister{in: in, g: in.Program.Cases[0].Graph}
	l.uses = l.g.Uses()
	count, first := map[*graph.Op]int{}, map[*graph.Op]int{}
	for id := range l.g.NumNodes() {
		op := l.g.Node(graph.NodeID(id)).Op
		if count[op]++; count[op] == 1 {
			first[op] = id
			l.names = append(l.names, op.Name)
			continue
		}
		l.names[first[op]] = op.Name + " #1"
		l.names = append(l.names, fmt.Sprintf("%s #%d", op.Name, count[op]))
	}
	return l
}

func (l *lister) add(x *mutation) {
	x.place = x.kind + " " + x.place
	l.all = append(l.all, x)
}

func (l *lister) called(id graph.NodeID) string { return l.names[id] }

func (l *lister) value(v graph.ValueID) string {
	if v == graph.None {
		return "nothing"
	}
	if name := l.g.InputName(v); name != "" {
		return name
	}
	if c := l.g.Literal(v); c != nil {
		return c.String()
	}
	return l.called(l.g.Value(v).Def)
}

func operandName(op *graph.Op, i int) string {
	if op.Variadic {
		return fmt.Sprint(i)
	}
	return op.Operands[i].Name
}

func attrText(spec *graph.AttrSpec, a graph.Attr) string {
	if a == nil {
		return "nothing"
	}
	return graph.AttrText(spec.Kind, a)
}

func (l *lister) attributes(id graph.NodeID, n *graph.Node) {
	for i := range n.Op.Attrs {
		spec := &n.Op.Attrs[i]
		for _, a := range otherAttrs(l.g, n, i) {
			_, retypes := a.(graph.DType)
			l.add(&mutation{kind: mutAttr, retypes: retypes, at: id, place: fmt.Sprintf("%s %s", l.called(id), spec.Name),
				what: fmt.Sprintf("%s: %s=%s in place of %s", l.called(id), spec.Name, attrText(spec, a), attrText(spec, n.Attrs[i])),
				edit: func(_ *maker, d *draft) error { d.attrs[i] = a; return nil }})
		}
	}
}

func (l *lister) constant(id graph.NodeID, n *graph.Node) {
	was := n.Attrs[0].(*graph.Literal)
	for _, a := range otherValues(was) {
		c := a.(*graph.Literal)
		l.add(&mutation{kind: mutConstant, at: id, place: l.called(id),
			what: fmt.Sprintf("constant %s of %s in place of %s of %s", c, c.DType, was, was.DType),
			edit: func(_ *maker, d *draft) error { d.attrs[0] = c; return nil }})
	}
	l.add(&mutation{kind: mutConstant, at: id, place: l.called(id), what: fmt.Sprintf("an operand in place of the constant %s", was),
		edit: func(m *maker, d *draft) error { d.value = m.to.Input(m.name(), was.Type()); return nil }})
}

// readers counts the places that read a value, outputs included.
func (l *lister) readers(v graph.ValueID) int {
	n := 0
	for _, id := range slices.Compact(slices.Clone(l.uses.Of(v))) {
		for _, x := range l.g.Node(id).In {
			if x == v {
				n++
			}
		}
	}
	if l.uses.IsOutput(v) {
		n++
	}
	return n
}

func (l *lister) isLeaf(v graph.ValueID) bool {
	op := l.g.Def(v).Op.Name
	return op == "input" || op == "param"
}

func (l *lister) operands(id graph.NodeID, n *graph.Node) {
	for i, v := range n.In {
		if v == graph.None {
			continue
		}
		for j := range i {
			w := n.In[j]
			if w == graph.None || w == v || n.Op.Commutative && i < 2 {
				continue
			}
			l.add(&mutation{kind: mutSwap, at: id, place: l.called(id),
				what: fmt.Sprintf("%s: operands %s and %s swapped", l.called(id), operandName(n.Op, j), operandName(n.Op, i)),
				edit: func(_ *maker, d *draft) error { d.in[i], d.in[j] = d.in[j], d.in[i]; return nil }})
		}
		place := fmt.Sprintf("%s %s", l.called(id), operandName(n.Op, i))
		if !l.isLeaf(v) || l.readers(v) > 1 {
			l.add(&mutation{kind: mutSplit, at: id, place: place,
				what: fmt.Sprintf("%s: operand %s is not %s but something else of its type", l.called(id), operandName(n.Op, i), l.value(v)),
				edit: func(m *maker, d *draft) error { d.in[i] = m.another(d.in[i]); return nil }})
		}
		for before := range id {
			for _, w := range l.g.Node(before).Out {
				if w == v || l.isLeaf(w) || l.g.Literal(w) != nil || !l.g.Type(w).Equal(l.g.Type(v)) {
					continue
				}
				l.add(&mutation{kind: mutInner, at: id, place: place,
					what: fmt.Sprintf("%s: operand %s is %s in place of %s", l.called(id), operandName(n.Op, i), l.value(w), l.value(v)),
					edit: func(m *maker, d *draft) error { d.in[i] = m.now[w]; return nil }})
			}
		}
	}
}

// optional takes operands away and adds those that are absent.
func (l *lister) optional(id graph.NodeID, n *graph.Node) {
	if n.Op.Variadic {
		if len(n.In) > 1 {
			l.add(&mutation{kind: mutOptional, at: id, place: l.called(id), what: l.called(id) + ": the last operand is left out",
				edit: func(_ *maker, d *draft) error { d.in = d.in[:len(d.in)-1]; return nil }})
		}
		l.add(&mutation{kind: mutOptional, at: id, place: l.called(id), what: l.called(id) + ": one operand more",
			edit: func(m *maker, d *draft) error {
				d.in = append(d.in, m.another(d.in[len(d.in)-1]))
				return nil
			}})
		return
	}
	for i, operand := range n.Op.Operands {
		if !operand.Optional {
			continue
		}
		place := fmt.Sprintf("%s %s", l.called(id), operand.Name)
		if i < len(n.In) && n.In[i] != graph.None {
			l.add(&mutation{kind: mutOptional, at: id, place: place, what: fmt.Sprintf("%s: without %s", l.called(id), operand.Name),
				edit: func(_ *maker, d *draft) error { d.in[i] = graph.None; return nil }})
			continue
		}
		t, ok := l.couldBe(n, i)
		if !ok {
			continue
		}
		l.add(&mutation{kind: mutOptional, at: id, place: place, what: fmt.Sprintf("%s: with %s", l.called(id), operand.Name),
			edit: func(m *maker, d *draft) error {
				for len(d.in) <= i {
					d.in = append(d.in, graph.None)
				}
				d.in[i] = m.to.Input(m.name(), t)
				return nil
			}})
	}
}

// couldBe returns a type that an absent operand could have: one that occurs in the graph,
// or has dimensions that do.
func (l *lister) couldBe(n *graph.Node, i int) (graph.Type, bool) {
	var try []graph.Type
	for v := range graph.ValueID(l.g.NumValues()) {
		t := l.g.Type(v)
		try = append(try, t)
		for k := range t.Rank() { // without leading axes, and one axis alone
			try = append(try, graph.Type{DType: t.DType, Shape: t.Shape[k:]}, graph.Type{DType: t.DType, Shape: t.Shape[k : k+1]})
		}
	}
	c := &graph.Call{Op: n.Op, Attrs: n.Attrs}
	for k := range n.Op.Operands {
		t := graph.Type{DType: graph.NoDType}
		if k < len(n.In) && n.In[k] != graph.None {
			t = l.g.Type(n.In[k])
		}
		c.In = append(c.In, t)
	}
	for _, t := range try {
		c.In[i] = t
		if out, err := n.Op.Infer(c); err == nil && len(out) > 0 && out[0].Equal(l.g.Type(n.Out[0])) {
			return t, true
		}
	}
	return graph.Type{}, false
}

// signature groups ops that can stand for each other.
type signature struct {
	operands, results int
	variadic          bool
}

func signatureOf(op *graph.Op) signature {
	return signature{len(op.Operands), op.Results, op.Variadic}
}

var opsBySignature = sync.OnceValue(func() map[signature][]*graph.Op {
	m := map[signature][]*graph.Op{}
	for _, op := range graph.Ops() {
		if len(op.Operands) > 0 {
			m[signatureOf(op)] = append(m[signatureOf(op)], op)
		}
	}
	return m
})

// ops replaces an op by each other of its signature; attributes keep their values by name.
func (l *lister) ops(id graph.NodeID, n *graph.Node) {
	for _, op := range opsBySignature()[signatureOf(n.Op)] {
		if op == n.Op {
			continue
		}
		attrs := make([]graph.Attr, len(op.Attrs))
		for i, spec := range op.Attrs {
			if k := n.Op.AttrIndex(spec.Name); k >= 0 && n.Op.Attrs[k].Kind == spec.Kind {
				attrs[i] = n.Attrs[k]
			}
		}
		l.add(&mutation{kind: mutOp, at: id, place: l.called(id), what: fmt.Sprintf("%s in place of %s", op.Name, l.called(id)),
			edit: func(_ *maker, d *draft) error { d.op, d.attrs = op, attrs; return nil }})
	}
}

// inner gives an inner value a reader, and makes it a result of the graph.
func (l *lister) inner(id graph.NodeID, n *graph.Node) {
	if len(n.In) == 0 {
		return // constants and ranges are made again by whoever needs them
	}
	for _, v := range n.Out {
		if l.uses.IsOutput(v) {
			continue
		}
		l.add(&mutation{kind: mutReader, at: -1, place: l.called(id), what: fmt.Sprintf("%s is read by another node, too", l.called(id)),
			end: func(m *maker) error {
				out, err := m.to.Add(graph.LookupOp("reshape"), outside, []graph.ValueID{m.now[v]}, graph.Dims{l.g.Type(v).Size()})
				if err == nil {
					m.to.Output(outside, out[0])
				}
				return err
			}})
		l.add(&mutation{kind: mutOutput, at: -1, place: l.called(id), what: fmt.Sprintf("%s is a result of the graph", l.called(id)),
			end: func(m *maker) error { m.to.Output(outside, m.now[v]); return nil }})
	}
}

// merges lets two names stand for one value.
func (l *lister) merges() {
	var leaves []graph.ValueID
	for v := range graph.ValueID(l.g.NumValues()) {
		if l.isLeaf(v) && len(l.uses.Of(v)) > 0 {
			leaves = append(leaves, v)
		}
	}
	for i, v := range leaves {
		for _, w := range leaves[:i] {
			if !l.g.Type(v).Equal(l.g.Type(w)) || l.g.Def(v).Op != l.g.Def(w).Op {
				continue
			}
			l.add(&mutation{kind: mutMerge, at: -1, place: l.value(v) + " " + l.value(w),
				what: fmt.Sprintf("%s and %s are one value", l.value(w), l.value(v)), alias: map[graph.ValueID]graph.ValueID{v: w}})
		}
	}
}
