package normal

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"

	"zmlx-rewrite/graph"
)

// builder adds nodes to a graph so that equal nodes are one node (value numbering).
// With passes it also brings each node to normal form as it is added: a graph is in
// normal form if putting all its nodes through a builder changes none.
//
// Its first failure sticks: later calls return None, and the caller looks at err
// once, at the end.
type builder struct {
	g        *graph.Graph
	passes   map[*graph.Op][]*Pass // nil: nodes are added as they are
	counts   Counts                // nil: not counted
	uses     *graph.Uses           // of the graph as it was when the walk began; may be nil
	origin   []graph.ValueID       // the value of that graph that a value stands for, or None
	table    map[string][]graph.ValueID
	literals map[*graph.Literal]string
	scope    string // of nodes that are added
	target   Target // lower what it does not have; "" for nothing

	// find makes the builder look for nodes only. The first one that is not in the
	// graph is missing, and ends the search. Constants and views are added all the
	// same: a pass may fold them, and what nothing reads vanishes.
	find    bool
	missing string
	// seen collects the nodes that a search found.
	seen []graph.NodeID

	err error
}

func newBuilder(g *graph.Graph) *builder {
	return &builder{g: g, table: make(map[string][]graph.ValueID, g.NumNodes()), literals: map[*graph.Literal]string{}}
}

// call is a node that is about to be added, its attributes in normal spelling.
type call struct {
	*graph.Call
	in   []graph.ValueID
	out  graph.Type // of the first result
	self graph.NodeID
}

// node is the operation that made v.
func (b *builder) node(v graph.ValueID) *graph.Node { return b.g.Def(v) }

// is returns the node that made v if it is of the named op, else nil.
func (b *builder) is(v graph.ValueID, op string) *graph.Node {
	if v == graph.None {
		return nil
	}
	if n := b.g.Def(v); n.Op.Name == op {
		return n
	}
	return nil
}

func (b *builder) shape(v graph.ValueID) []graph.Dim {
	if v == graph.None {
		return nil
	}
	return b.g.Type(v).Shape
}

func (b *builder) dtype(v graph.ValueID) graph.DType {
	if v == graph.None {
		return graph.NoDType
	}
	return b.g.Type(v).DType
}

// scalar returns the number that a 0-dimensional constant is.
func (b *builder) scalar(v graph.ValueID) (float64, bool) {
	if v == graph.None {
		return 0, false
	}
	if l := b.g.Literal(v); l != nil {
		return l.Scalar()
	}
	return 0, false
}

// usedOnce reports whether one node reads v, and nothing else does, judging by the
// graph as it was when the walk began. It is false for values that no pass has put
// in the place of one of that graph: the next round knows.
func (b *builder) usedOnce(v graph.ValueID) bool {
	if b.uses == nil || int(v) >= len(b.origin) || b.origin[v] < 0 {
		return false
	}
	v = b.origin[v]
	return len(b.uses.Of(v)) == 1 && !b.uses.IsOutput(v)
}

// standsFor records that v of the graph before the walk is now w.
func (b *builder) standsFor(v, w graph.ValueID) {
	for int(w) >= len(b.origin) {
		b.origin = append(b.origin, graph.None)
	}
	switch b.origin[w] {
	case graph.None:
		b.origin[w] = v
	case v:
	default: // two of them are one now, so it is read twice at least
		b.origin[w] = shared
	}
}

// shared is the origin of a value that stands for several.
const shared graph.ValueID = -2

// add adds an operation with one result, or finds it.
func (b *builder) add(op string, in []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
	out := b.addOp(graph.LookupOp(op), in, attrs, noNode)
	if len(out) == 0 {
		return graph.None
	}
	return out[0]
}

// op is add for the common case of operands only.
func (b *builder) op(op string, in ...graph.ValueID) graph.ValueID { return b.add(op, in) }

const noNode graph.NodeID = -1

// addOp adds a node; self is the node itself if it is in the graph already.
func (b *builder) addOp(op *graph.Op, in []graph.ValueID, attrs []graph.Attr, self graph.NodeID) []graph.ValueID {
	if b.err != nil || b.missing != "" {
		return nil
	}
	types := make([]graph.Type, len(in))
	for i, v := range in {
		if v == graph.None {
			types[i].DType = graph.NoDType
		} else {
			types[i] = b.g.Type(v)
		}
	}
	c, results, err := graph.Infer(op, types, attrs)
	if err != nil {
		b.err = err
		return nil
	}
	if op.Results == 1 {
		n := &call{Call: c, in: in, out: results[0], self: self}
		for _, p := range b.passes[op] {
			v, ok := p.rewrite(b, n)
			if b.err != nil || b.missing != "" {
				return nil
			}
			if !ok {
				continue
			}
			if b.counts != nil {
				b.counts[p.Name]++
			}
			if !b.g.Type(v).Equal(n.out) {
				b.err = fmt.Errorf("pass %s: %s of type %s became %s", p.Name, op.Name, n.out, b.g.Type(v))
				return nil
			}
			return []graph.ValueID{v}
		}
	}
	if op.Results == 1 && b.target != "" {
		v, ok := b.lowered(c, in, results[0])
		if b.err != nil || b.missing != "" {
			return nil
		}
		if ok {
			return []graph.ValueID{v}
		}
	}
	k := key(op, in, c.Attrs)
	if out, ok := b.table[k]; ok {
		if b.find {
			b.seen = append(b.seen, b.g.Value(out[0]).Def)
		} else if self != noNode && b.counts != nil {
			b.counts[passShare]++
		}
		return out
	}
	if b.find && !op.IsView() { // views may yet fold into what reads them
		b.missing = op.Name
		return nil
	}
	if self != noNode && sameOperands(b.g.Node(self), in) {
		out := b.g.Node(self).Out
		b.table[k] = out
		return out
	}
	scope := b.scope
	out, err := b.g.Add(op, scope, in, c.Attrs...)
	if err != nil {
		b.err = err
		return nil
	}
	b.table[k] = out
	return out
}

func sameOperands(n *graph.Node, in []graph.ValueID) bool {
	if len(n.In) != len(in) {
		return false
	}
	for i, v := range n.In {
		if v != in[i] {
			return false
		}
	}
	return true
}

// constant adds a constant, or finds it.
func (b *builder) constant(l *graph.Literal) graph.ValueID { return b.constantAt(l, graph.None) }

func (b *builder) constantAt(l *graph.Literal, self graph.ValueID) graph.ValueID {
	if b.err != nil || b.missing != "" {
		return graph.None
	}
	k := b.literalKey(l)
	if out, ok := b.table[k]; ok {
		if self != graph.None && b.counts != nil {
			b.counts[passShare]++
		}
		return out[0]
	}
	if self == graph.None {
		self = b.g.Constant(l)
	}
	b.table[k] = []graph.ValueID{self}
	return self
}

// number adds a 0-dimensional constant, or finds it.
func (b *builder) number(t graph.DType, v float64) graph.ValueID {
	if !t.Valid() { // of a value that was not found
		return graph.None
	}
	return b.constant(graph.ScalarLiteral(t, v))
}

// walk puts all nodes of the graph through the builder, in order. The graph must be
// compact; it is again afterwards.
func (b *builder) walk() error {
	g := b.g
	b.uses = g.Uses()
	to := make([]graph.ValueID, g.NumValues())
	for v := range to {
		to[v] = graph.ValueID(v)
	}
	changed := false
	for id := range g.NumNodes() {
		n := *g.Node(graph.NodeID(id)) // a copy: adding nodes moves them
		if n.Op.IsLeaf() {
			if l := g.Literal(n.Out[0]); l != nil {
				to[n.Out[0]] = b.constantAt(l, n.Out[0])
			}
		} else {
			in := make([]graph.ValueID, len(n.In))
			for i, v := range n.In {
				in[i] = v
				if v != graph.None {
					in[i] = to[v]
				}
			}
			b.scope = n.Scope
			out := b.addOp(n.Op, in, n.Attrs, graph.NodeID(id))
			if b.err != nil {
				return atScope(b.err, n.Scope)
			}
			for i, v := range n.Out {
				to[v] = out[i]
			}
		}
		for _, v := range n.Out {
			b.standsFor(v, to[v])
			if to[v] == v {
				continue
			}
			changed = true
			if err := g.Replace(v, to[v]); err != nil {
				return atScope(fmt.Errorf("%s: %w", n.Op.Name, err), n.Scope)
			}
		}
	}
	if !changed {
		return nil
	}
	return g.Compact()
}

func atScope(err error, scope string) error {
	if scope == "" {
		return err
	}
	return fmt.Errorf("%s: %w", scope, err)
}

// key names a node by its op, operands and attributes: equal keys, equal results.
func key(op *graph.Op, in []graph.ValueID, attrs []graph.Attr) string {
	k := make([]byte, 0, 64)
	k = append(k, op.Name...)
	for _, v := range in {
		k = append(k, ',')
		k = strconv.AppendInt(k, int64(v), 10)
	}
	for _, a := range attrs {
		k = append(k, ';')
		switch a := a.(type) {
		case nil:
		case graph.Float: // as Equal compares them
			k = strconv.AppendUint(k, uint64(math.Float32bits(float32(a))), 16)
		default:
			k = append(k, a.String()...)
		}
	}
	return string(k)
}

func (b *builder) literalKey(l *graph.Literal) string {
	if k, ok := b.literals[l]; ok {
		return k
	}
	k := fmt.Sprintf("constant;%s;%v;", l.DType, l.Shape)
	if len(l.Data) <= sha256.Size {
		k += string(l.Data)
	} else {
		sum := sha256.Sum256(l.Data)
		k += "#" + string(sum[:])
	}
	b.literals[l] = k
	return k
}
