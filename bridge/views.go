package bridge

import (
	"slices"

	"zmlx-rewrite/graph"
)

// Views returns a graph without symbols that has the same values and fewer views of them. A view
// starts no kernel, but Python and MLX make an array of each, in each step, which takes them
// about as long as a launch takes the GPU.
//
// Where one token is computed, most axes have one element, so that most transpositions only
// rename axes: those, and what reshapes, are one reshape however many there were. And what a
// kernel computes in one row for several readers, such as queries, keys and values, is cut
// into heads before it is cut into parts, which Write has the kernel do by itself.
func Views(g *graph.Graph) (*graph.Graph, error) {
	merged, err := mergeViews(g)
	if err != nil {
		return nil, err
	}
	return headsFirst(merged)
}

// copier copies a graph node by node.
type copier struct {
	from, out *graph.Graph
	to        []graph.ValueID // of values of from
}

func newCopier(g *graph.Graph) *copier {
	c := &copier{from: g, out: graph.New(), to: make([]graph.ValueID, g.NumValues())}
	for _, v := range g.Inputs() { // in the order of the signature
		c.to[v] = c.out.Input(g.InputName(v), g.Type(v))
	}
	return c
}

// leaf copies an input, a parameter or a constant.
func (c *copier) leaf(n *graph.Node) {
	switch v := n.Out[0]; n.Op.Name {
	case "param":
		c.to[v] = c.out.Param(c.from.InputName(v), c.from.Type(v))
	case "constant":
		c.to[v] = c.out.Constant(c.from.Literal(v))
	}
}

// node copies a node whose operands in the copy are given by of.
func (c *copier) node(n *graph.Node, of func(graph.ValueID) (graph.ValueID, error)) error {
	in := make([]graph.ValueID, len(n.In))
	for i, v := range n.In {
		in[i] = v
		if v != graph.None {
			var err error
			if in[i], err = of(v); err != nil {
				return err
			}
		}
	}
	made, err := c.out.Add(n.Op, n.Scope, in, n.Attrs...)
	if err != nil {
		return err
	}
	for i, v := range n.Out {
		c.to[v] = made[i]
	}
	return nil
}

// finish adds the outputs.
func (c *copier) finish(of func(graph.ValueID) (graph.ValueID, error)) (*graph.Graph, error) {
	for _, o := range c.from.Outputs() {
		v, err := of(o.Value)
		if err != nil {
			return nil, err
		}
		c.out.Output(o.Name, v)
	}
	return c.out, c.out.Compact()
}

// mergeViews makes one reshape of views in a row that leave the elements in their order.
func mergeViews(g *graph.Graph) (*graph.Graph, error) {
	c := newCopier(g)
	type view struct {
		base graph.ValueID // in g: what it is a view of
		node *graph.Node   // if it is the only view between them
	}
	views := map[graph.ValueID]view{}
	type key struct {
		base  graph.ValueID
		shape string
	}
	made := map[key]graph.ValueID{}
	of := func(v graph.ValueID) (graph.ValueID, error) {
		w, ok := views[v]
		if !ok {
			return c.to[v], nil
		}
		if g.Type(v).Equal(g.Type(w.base)) {
			return c.to[w.base], nil
		}
		k := key{w.base, g.Type(v).String()}
		if x, ok := made[k]; ok {
			return x, nil
		}
		op, attrs, scope := graph.LookupOp("reshape"), []graph.Attr{graph.Dims(g.Type(v).Shape)}, g.Def(v).Scope
		if w.node != nil {
			op, attrs = w.node.Op, w.node.Attrs
		}
		x, err := c.out.Add(op, scope, []graph.ValueID{c.to[w.base]}, attrs...)
		if err != nil {
			return graph.None, err
		}
		made[k] = x[0]
		return x[0], nil
	}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		switch {
		case leaf(n):
			c.leaf(n)
		case keepsOrder(g, n):
			w := view{base: n.In[0], node: n}
			if before, ok := views[n.In[0]]; ok {
				w = view{base: before.base}
			}
			views[n.Out[0]] = w
		default:
			if err := c.node(n, of); err != nil {
				return nil, err
			}
		}
	}
	return c.finish(of)
}

// keepsOrder reports whether a node is a view with the same elements in the same order.
func keepsOrder(g *graph.Graph, n *graph.Node) bool {
	switch n.Op.Name {
	case "reshape", "flatten", "unflatten", "expand_dims", "squeeze":
		return true
	case "transpose":
		axes, _ := n.Attr("axes").(graph.Dims)
		t := g.Type(n.In[0])
		last := -1
		for _, a := range axes {
			if i := a.Int(); !t.Shape[i].Is(1) {
				if i < last {
					return false
				}
				last = i
			}
		}
		return true
	}
	return false
}

// cut is how a row is seen in heads: shape is that of the whole, of which axis has the heads, of
// size elements.
type cut struct {
	shape []graph.Dim
	axis  int
	size  int
}

// headsFirst cuts values into heads before they are cut into parts, if all that reads them are
// parts of whole heads that are reshaped.
func headsFirst(g *graph.Graph) (*graph.Graph, error) {
	uses := g.Uses()
	cuts := map[graph.ValueID]cut{}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		for _, v := range n.Out {
			// One view more is made of the whole, unless it is a kernel's.
			if k, saved := headsOf(g, uses, v); saved > 1 || saved == 1 && n.Op.IsKernel() {
				cuts[v] = k
			}
		}
	}
	c := newCopier(g)
	of := func(v graph.ValueID) (graph.ValueID, error) { return c.to[v], nil }
	whole := map[graph.ValueID]graph.ValueID{} // in heads
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		var err error
		switch k, ok := cuts[operand(n)]; {
		case leaf(n):
			c.leaf(n)
		case ok: // a part
			s, _ := partOf(g, n)
			heads, done := whole[n.In[0]]
			if !done {
				x, err := c.out.Add(graph.LookupOp("reshape"), n.Scope, []graph.ValueID{c.to[n.In[0]]}, graph.Dims(k.shape))
				if err != nil {
					return nil, err
				}
				heads = x[0]
				whole[n.In[0]] = heads
			}
			var x []graph.ValueID
			x, err = c.out.Add(n.Op, n.Scope, []graph.ValueID{heads}, graph.Dims{graph.N(int64(k.axis - len(k.shape)))},
				graph.Dims{graph.N(int64(s.from / k.size))}, graph.Dims{graph.N(int64(s.to / k.size))}, nil)
			if err == nil {
				c.to[n.Out[0]] = x[0]
			}
		case n.Op.Name == "reshape" && c.out.Type(c.to[n.In[0]]).Equal(g.Type(n.Out[0])):
			c.to[n.Out[0]] = c.to[n.In[0]]
		default:
			err = c.node(n, of)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.finish(of)
}

func operand(n *graph.Node) graph.ValueID {
	if len(n.In) == 0 || n.Op.Name != "slice" {
		return graph.None
	}
	return n.In[0]
}

// part is what a slice takes of the last axis.
type part struct{ from, to int }

func partOf(g *graph.Graph, n *graph.Node) (part, bool) {
	if n.Op.Name != "slice" {
		return part{}, false
	}
	t := g.Type(n.In[0])
	spans, err := (&graph.Call{Op: n.Op, In: []graph.Type{t}, Attrs: n.Attrs}).Spans()
	if err != nil || len(spans) != 1 || spans[0].Axis != t.Rank()-1 || spans[0].Stride != 1 {
		return part{}, false
	}
	from, ok1 := spans[0].Start.Const()
	to, ok2 := spans[0].Stop.Const()
	return part{int(from), int(to)}, ok1 && ok2
}

// headsOf finds the cut of v into heads with which most of its parts need no reshape, and how
// many that are: 0 if it cannot be cut so.
func headsOf(g *graph.Graph, uses *graph.Uses, v graph.ValueID) (best cut, most int) {
	if uses.IsOutput(v) {
		return cut{}, 0
	}
	type seen struct {
		part  part
		shape []graph.Dim // that it is reshaped to
	}
	var all []seen
	for _, id := range uses.Of(v) {
		n := g.Node(id)
		s, ok := partOf(g, n)
		if !ok || uses.IsOutput(n.Out[0]) {
			return cut{}, 0
		}
		for _, r := range uses.Of(n.Out[0]) {
			if g.Node(r).Op.Name != "reshape" {
				return cut{}, 0
			}
			all = append(all, seen{s, g.Type(g.Node(r).Out[0]).Shape})
		}
	}
	for _, x := range all {
		k, ok := cutFor(g.Type(v).Shape, x.shape, x.part)
		if !ok || slices.ContainsFunc(all, func(y seen) bool { return y.part.from%k.size != 0 || y.part.to%k.size != 0 }) {
			continue
		}
		saved := 0
		for _, y := range all {
			if slices.Equal(k.of(y.part), y.shape) {
				saved++
			}
		}
		if saved > most {
			best, most = k, saved
		}
	}
	return best, most
}

// of is the shape of a part.
func (k *cut) of(s part) []graph.Dim {
	shape := slices.Clone(k.shape)
	shape[k.axis] = graph.N(int64((s.to - s.from) / k.size))
	return shape
}

// cutFor finds how to cut the whole so that its part s has a shape: the first axis of more than
// one element behind the rows has the heads.
func cutFor(whole, shape []graph.Dim, s part) (cut, bool) {
	w, ok1 := numbers(whole)
	d, ok2 := numbers(shape)
	if !ok1 || !ok2 {
		return cut{}, false
	}
	width := w[len(w)-1]
	rows, before := 1, 1
	for _, n := range w[:len(w)-1] {
		rows *= n
	}
	for axis, n := range d {
		if before != rows || n == 1 {
			before *= n
			continue
		}
		size := (s.to - s.from) / n
		if size*n != s.to-s.from || width%size != 0 {
			return cut{}, false
		}
		all := slices.Clone(shape)
		all[axis] = graph.N(int64(width / size))
		return cut{all, axis, size}, true
	}
	return cut{}, false
}

func numbers(shape []graph.Dim) ([]int, bool) {
	list := make([]int, len(shape))
	for i, d := range shape {
		n, ok := d.Const()
		if !ok || n < 1 {
			return nil, false
		}
		list[i] = int(n)
	}
	return list, true
}
