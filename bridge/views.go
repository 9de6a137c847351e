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

// mergeViews makes one reshape of views in a row that leave the elements in their order.
func mergeViews(g *graph.Graph) (*graph.Graph, error) {
	h := g.Clone()
	bases := map[graph.ValueID]graph.ValueID{} // of views: what they are views of
	type key struct {
		base  graph.ValueID
		shape string
	}
	made := map[key]graph.ValueID{}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		if leaf(n) || !keepsOrder(g, n) {
			continue
		}
		v, base := n.Out[0], n.In[0]
		further, several := bases[base]
		if several {
			base = further
		}
		bases[v] = base
		k := key{base, g.Type(v).String()}
		x, ok := made[k]
		switch {
		case g.Type(v).Equal(g.Type(base)):
			x = base
		case !ok && !several:
			made[k] = v
			continue // it stays what it is
		case !ok:
			r, err := h.Add(graph.LookupOp("reshape"), n.Scope, []graph.ValueID{base}, graph.Dims(g.Type(v).Shape))
			if err != nil {
				return nil, err
			}
			x, made[k] = r[0], r[0]
		}
		if err := h.Replace(v, x); err != nil {
			return nil, err
		}
	}
	return h, h.Compact()
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
	uses, h := g.Uses(), g.Clone()
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		for _, v := range n.Out {
			// One view more is made of the whole, unless it is a kernel's.
			if k, saved := headsOf(g, uses, v); saved > 1 || saved == 1 && n.Op.IsKernel() {
				if err := k.put(g, h, uses, v); err != nil {
					return nil, err
				}
			}
		}
	}
	return h, h.Compact()
}

// put has what reads the parts of v in g read parts of v in heads, in h.
func (k *cut) put(g, h *graph.Graph, uses *graph.Uses, v graph.ValueID) error {
	reshape := graph.LookupOp("reshape")
	heads, err := h.Add(reshape, g.Def(v).Scope, []graph.ValueID{v}, graph.Dims(k.shape))
	if err != nil {
		return err
	}
	one := func(n int) graph.Dims { return graph.Dims{graph.N(int64(n))} }
	for _, id := range uses.Of(v) {
		n := g.Node(id)
		s, _ := partOf(g, n)
		x, err := h.Add(n.Op, n.Scope, heads, one(k.axis-len(k.shape)), one(s.from/k.size), one(s.to/k.size), nil)
		if err != nil {
			return err
		}
		for _, r := range uses.Of(n.Out[0]) {
			seen := g.Node(r)
			y := x
			if t := g.Type(seen.Out[0]); !t.Equal(h.Type(x[0])) {
				if y, err = h.Add(reshape, seen.Scope, x, graph.Dims(t.Shape)); err != nil {
					return err
				}
			}
			if err := h.Replace(seen.Out[0], y[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// part is what a slice takes of the last axis.
type part struct{ from, to int }

func partOf(g *graph.Graph, n *graph.Node) (part, bool) {
	s, ok := oneSpan(g, n)
	if !ok || s.Axis != g.Type(n.In[0]).Rank()-1 {
		return part{}, false
	}
	from, ok1 := s.Start.Const()
	to, ok2 := s.Stop.Const()
	return part{int(from), int(to)}, ok1 && ok2
}

// oneSpan is what a slice takes, if that is a run of one axis.
func oneSpan(g *graph.Graph, n *graph.Node) (graph.Span, bool) {
	if n.Op.Name != "slice" {
		return graph.Span{}, false
	}
	spans, err := (&graph.Call{Op: n.Op, In: []graph.Type{g.Type(n.In[0])}, Attrs: n.Attrs}).Spans()
	if err != nil || len(spans) != 1 || spans[0].Stride != 1 {
		return graph.Span{}, false
	}
	return spans[0], true
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
		any   bool        // whether its readers, kernels, do without
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
			out := g.Node(r).Out[0]
			all = append(all, seen{s, g.Type(out).Shape, readOnlyBy(g, uses, out, func(_ graph.NodeID, k *graph.Node) bool { return k.Op.IsKernel() })})
		}
	}
	for _, x := range all {
		k, ok := cutFor(g.Type(v).Shape, x.shape, x.part)
		if !ok || slices.ContainsFunc(all, func(y seen) bool { return y.part.from%k.size != 0 || y.part.to%k.size != 0 }) {
			continue
		}
		saved := 0
		for _, y := range all {
			if y.any || slices.Equal(k.of(y.part), y.shape) {
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
