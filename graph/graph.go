package graph

import (
	"fmt"
	"maps"
	"slices"
)

// ValueID names a value of a graph: an index into its values. IDs are given anew
// by Compact; nothing outside a graph keeps them across it.
type ValueID int32

// None is the ID of an absent optional operand.
const None ValueID = -1

// NodeID names a node of a graph: an index into its nodes.
type NodeID int32

// Node is an operation in a graph. Its fields are read by everyone and changed
// only by this package: use Graph.Add and Graph.Replace.
type Node struct {
	Op    *Op
	In    []ValueID // in the order of Op.Operands; None for an absent one
	Out   []ValueID
	Attrs []Attr // in the order of Op.Attrs; nil for an absent one
	Scope string // where in the model: "model.layers.3.mlp"; may be empty
}

// Attr returns the attribute of that name, or nil.
func (n *Node) Attr(name string) Attr {
	if i := n.Op.AttrIndex(name); i >= 0 {
		return n.Attrs[i]
	}
	return nil
}

// Value is the result of a node.
type Value struct {
	typ *Type // shared by the graphs that were made of one another; never changed
	Def NodeID
	Res int32 // which of the node's results
}

// Type returns the value's type.
func (v *Value) Type() Type { return *v.typ }

// Output is a named result of a graph.
type Output struct {
	Name  string
	Value ValueID
}

// Graph is a list of nodes in topological order. Make one with New, add nodes
// with Add, and name its results with Output.
type Graph struct {
	nodes   []Node
	values  []Value
	inputs  []ValueID // in the order of the signature
	outputs []Output
	byName  map[string]ValueID // parameters; made when Param is first called

	// repl maps values that were replaced, until Compact applies it.
	repl map[ValueID]ValueID
}

// New returns an empty graph.
func New() *Graph { return &Graph{} }

// NumNodes returns the number of nodes, leaves included.
func (g *Graph) NumNodes() int { return len(g.nodes) }

// Node returns a node for reading.
func (g *Graph) Node(id NodeID) *Node { return &g.nodes[id] }

// NumValues returns the number of values.
func (g *Graph) NumValues() int { return len(g.values) }

// Value returns a value for reading.
func (g *Graph) Value(id ValueID) *Value { return &g.values[id] }

// Type returns the type of a value.
func (g *Graph) Type(id ValueID) Type { return *g.values[id].typ }

// Def returns the node that makes a value.
func (g *Graph) Def(id ValueID) *Node { return &g.nodes[g.values[id].Def] }

// Inputs returns the graph's inputs in the order of its signature.
func (g *Graph) Inputs() []ValueID { return g.inputs }

// Outputs returns the graph's results in order.
func (g *Graph) Outputs() []Output { return g.outputs }

// InputName returns the name of an input or parameter, or "".
func (g *Graph) InputName(id ValueID) string {
	n := g.Def(id)
	if n.Op == opInput || n.Op == opParam {
		return string(n.Attrs[0].(Str))
	}
	return ""
}

var (
	opInput    = mustOp("input")
	opParam    = mustOp("param")
	opConstant = mustOp("constant")
)

// Input adds an input to the signature. Names are unique in a graph.
func (g *Graph) Input(name string, t Type) ValueID {
	id := g.leaf(opInput, t, []Attr{Str(name)})
	g.inputs = append(g.inputs, id)
	return id
}

// Param returns the value of a parameter, adding it when it is first asked for.
func (g *Graph) Param(name string, t Type) ValueID {
	if g.byName == nil {
		g.byName = g.Params()
	}
	if id, ok := g.byName[name]; ok {
		return id
	}
	id := g.leaf(opParam, t, []Attr{Str(name)})
	g.byName[name] = id
	return id
}

// Params returns the names and values of all parameters that the graph reads, in a
// map that is made anew.
func (g *Graph) Params() map[string]ValueID {
	m := map[string]ValueID{}
	for i := range g.nodes {
		if n := &g.nodes[i]; n.Op == opParam {
			m[string(n.Attrs[0].(Str))] = n.Out[0]
		}
	}
	return m
}

// Constant adds a constant.
func (g *Graph) Constant(l *Literal) ValueID { return g.leaf(opConstant, l.Type(), []Attr{l}) }

// Scalar adds a 0-dimensional constant, v rounded to t.
func (g *Graph) Scalar(t DType, v float64) ValueID { return g.Constant(ScalarLiteral(t, v)) }

// Literal returns the constant that a value is, or nil.
func (g *Graph) Literal(id ValueID) *Literal {
	if n := g.Def(id); n.Op == opConstant {
		return n.Attrs[0].(*Literal)
	}
	return nil
}

// Output names a value as the next result.
func (g *Graph) Output(name string, id ValueID) { g.outputs = append(g.outputs, Output{name, id}) }

func (g *Graph) leaf(op *Op, t Type, attrs []Attr) ValueID {
	id := ValueID(len(g.values))
	g.nodes = append(g.nodes, Node{Op: op, Out: []ValueID{id}, Attrs: attrs})
	g.values = append(g.values, Value{typ: &t, Def: NodeID(len(g.nodes) - 1)})
	return id
}

// Add appends a node. Attributes may be left nil where the op has a default.
// Their spelling is made normal: axes count from the end, positions from 0, full
// slices are dropped. The types of the results are inferred.
func (g *Graph) Add(op *Op, scope string, in []ValueID, attrs ...Attr) ([]ValueID, error) {
	if op.IsLeaf() {
		return nil, fmt.Errorf("%s is made with Input, Param or Constant", op.Name)
	}
	for len(in) > 0 && in[len(in)-1] == None { // trailing absent operands are not kept
		in = in[:len(in)-1]
	}
	types := make([]Type, len(in))
	for i, v := range in {
		if v == None {
			types[i] = Type{DType: NoDType}
			continue
		}
		if v < 0 || int(v) >= len(g.values) {
			return nil, fmt.Errorf("%s: operand %d is value %d, which is not in the graph", op.Name, i, v)
		}
		types[i] = g.values[v].Type()
	}
	c, results, err := Infer(op, types, attrs)
	if err != nil {
		return nil, err
	}
	n := Node{Op: op, In: slices.Clone(in), Attrs: c.Attrs, Scope: scope, Out: make([]ValueID, len(results))}
	def := NodeID(len(g.nodes))
	for i, t := range results {
		n.Out[i] = ValueID(len(g.values))
		g.values = append(g.values, Value{&t, def, int32(i)})
	}
	g.nodes = append(g.nodes, n)
	return n.Out, nil
}

// Infer checks a call of op and returns it with normal attributes, and the types
// of its results.
func Infer(op *Op, in []Type, attrs []Attr) (*Call, []Type, error) {
	c, err := checkCall(op, in, attrs)
	if err != nil {
		return nil, nil, err
	}
	results, err := op.Infer(c)
	if err != nil {
		return nil, nil, err
	}
	if len(results) != op.Results {
		return nil, nil, fmt.Errorf("%s: inference gave %d results, not %d", op.Name, len(results), op.Results)
	}
	for _, t := range results {
		if err := t.check(); err != nil {
			return nil, nil, fmt.Errorf("%s: result: %w", op.Name, err)
		}
	}
	if err := c.normalPositions(); err != nil {
		return nil, nil, err
	}
	return c, results, nil
}

// normalPositions counts positions from 0 where the axis is a number, and drops
// the parts of a slice that take a whole axis.
func (c *Call) normalPositions() error {
	switch c.Op.Name {
	case "partition", "argpartition":
		i := c.Op.AttrIndex("kth")
		c.Attrs[i] = fromEnd(c.Attrs[i].(Dim), c.In[0].Shape[c.axis("axis")])
	case "slice", "slice_update":
		spans, err := c.Spans()
		if err != nil {
			return err
		}
		slices.SortFunc(spans, func(a, b Span) int { return a.Axis - b.Axis })
		var axes, starts, stops, strides Dims
		keepStart, keepStop, keepStride := false, false, false
		for _, s := range spans {
			n := c.In[0].Shape[s.Axis]
			if s.Start.Is(0) && s.Stop == n && s.Stride == 1 {
				continue
			}
			axes = append(axes, N(int64(s.Axis-c.In[0].Rank())))
			starts, stops, strides = append(starts, s.Start), append(stops, s.Stop), append(strides, N(s.Stride))
			keepStart = keepStart || !s.Start.Is(0)
			keepStop = keepStop || s.Stop != n
			keepStride = keepStride || s.Stride != 1
		}
		set := func(name string, keep bool, d Dims) {
			var a Attr
			if keep {
				a = d
			}
			c.Attrs[c.Op.AttrIndex(name)] = a
		}
		if axes == nil {
			axes = Dims{}
		}
		set("axis", true, axes)
		set("start", keepStart, starts)
		set("stop", keepStop, stops)
		set("strides", keepStride, strides)
	}
	return nil
}

// Replace makes every use of old a use of new, outputs included, when Compact
// next runs. Both must have the same type.
func (g *Graph) Replace(old, new ValueID) error {
	if a, b := g.values[old].Type(), g.values[new].Type(); !a.Equal(b) {
		return fmt.Errorf("replacement has type %s, not %s", b, a)
	}
	if g.repl == nil {
		g.repl = map[ValueID]ValueID{}
	}
	g.repl[old] = new
	return nil
}

// resolve follows replacements.
func (g *Graph) resolve(id ValueID) ValueID {
	for {
		next, ok := g.repl[id]
		if !ok {
			return id
		}
		id = next
	}
}

// Compact applies replacements, drops nodes that no output needs, and brings the rest
// in the canonical order of Patch.Apply. It fails on a cycle.
func (g *Graph) Compact() error {
	p := Patch{g: g}
	for old, new := range g.repl {
		p.repl = append(p.repl, replaced{old, new})
	}
	h, err := p.Apply()
	if err != nil {
		return err
	}
	*g = *h
	return nil
}

// Clone returns a copy that can be changed without touching g. Nodes and values
// are never changed in place, so that the two share them until one adds some.
func (g *Graph) Clone() *Graph {
	return &Graph{nodes: slices.Clip(g.nodes), values: slices.Clip(g.values), inputs: slices.Clone(g.inputs), outputs: slices.Clone(g.outputs), repl: maps.Clone(g.repl)}
}

// Uses tells, for each value, which nodes read it.
type Uses struct {
	from  []int32  // uses of value v are list[from[v]:from[v+1]]
	list  []NodeID // a node that reads a value twice is there twice
	isOut []bool
}

// Uses indexes the readers of all values.
func (g *Graph) Uses() *Uses {
	// Counts stand two places behind their values, and sums one: filling the list moves
	// each to where it belongs.
	next := make([]int32, len(g.values)+2)
	u := &Uses{from: next[:len(g.values)+1], isOut: make([]bool, len(g.values))}
	for i := range g.nodes {
		for _, v := range g.nodes[i].In {
			if v != None {
				next[v+2]++
			}
		}
	}
	for i := range g.values {
		next[i+2] += next[i+1]
	}
	u.list = make([]NodeID, next[len(g.values)+1])
	for i := range g.nodes {
		for _, v := range g.nodes[i].In {
			if v != None {
				u.list[next[v+1]] = NodeID(i)
				next[v+1]++
			}
		}
	}
	for _, o := range g.outputs {
		u.isOut[o.Value] = true
	}
	return u
}

// Of returns the nodes that read v, in order.
func (u *Uses) Of(v ValueID) []NodeID { return u.list[u.from[v]:u.from[v+1]] }

// IsOutput reports whether v is a result of the graph.
func (u *Uses) IsOutput(v ValueID) bool { return u.isOut[v] }

// Launches returns how many kernels MLX starts for the graph.
func (g *Graph) Launches() int {
	n := 0
	for i := range g.nodes {
		n += g.nodes[i].Op.Launches
	}
	return n
}

// Cost returns that of all nodes.
func (g *Graph) Cost() Cost {
	var c Cost
	for i := range g.nodes {
		c = c.Plus(g.nodes[i].Op.Cost())
	}
	return c
}

// Ordered returns g if its nodes are in canonical order, and else a copy in which they are:
// what Compact would make of it.
func (g *Graph) Ordered() (*Graph, error) {
	if len(g.repl) == 0 {
		p := Patch{g: g}
		now := make([]ValueID, len(g.values))
		for i := range now {
			now[i] = ValueID(i)
		}
		order, err := p.order(now)
		if err != nil {
			return nil, err
		}
		same := len(order) == len(g.nodes)
		for i := 0; same && i < len(order); i++ {
			same = order[i] == NodeID(i)
		}
		if same {
			return g, nil
		}
	}
	c := g.Clone()
	return c, c.Compact()
}
