package bridge

import (
	"slices"

	"zmlx-rewrite/graph"
)

// A kernel gets the address of its operand and knows the shape from its numbers, so that a view
// that has its elements in one piece, in their order, need not be made for it: the kernel begins
// where the view does in what it is a view of.

// startOf is where a view has its first element in its base, counted in elements. ok: the others are behind it,
// in order.
func startOf(g *graph.Graph, n *graph.Node) (start int64, ok bool) {
	if leaf(n) || len(n.Out) != 1 || len(n.In) == 0 ||
		g.Type(n.In[0]).Rank() == 0 || g.Type(n.Out[0]).Rank() == 0 { // Metal gives kernels numbers, not arrays of rank 0
		return 0, false
	}
	if keepsOrder(g, n) {
		return 0, true
	}
	s, ok := oneSpan(g, n)
	if !ok {
		return 0, false
	}
	shape := g.Type(n.In[0]).Shape
	// In one piece: all axes before the one that it shortens have one element.
	if slices.ContainsFunc(shape[:s.Axis], func(d graph.Dim) bool { return !d.Is(1) }) {
		return 0, false
	}
	return s.Start.Mul(graph.Product(shape[s.Axis+1:])).Const()
}

// address is where a kernel finds an operand: so many elements behind the start of a value.
type address struct {
	of   graph.ValueID
	from int64
}

// addressed is what a kernel of a stage may be given in place of v, so far as views are of that
// stage. Only behind the start of a value, if kernels can be told so.
func (c *cutGraph) addressed(stage int, v graph.ValueID, anywhere bool) address {
	a := address{of: v}
	for c.inside(stage, a.of) {
		n := c.g.Def(a.of)
		start, ok := startOf(c.g, n)
		if !ok || start != 0 && !anywhere {
			break
		}
		a = address{n.In[0], a.from + start}
	}
	return a
}

// Operand is what a kernel is given.
type Operand struct {
	Name   string // in Python; None if it is absent
	Shared bool   // it is in memory with others, as many bytes behind its start
	Bytes  int64
	From   int64 // it begins so many elements further on
}

// Shared is one memory for all results of a kernel.
type Shared struct {
	At    []int64 // of each result, in bytes
	Bytes int64   // in all
}

// sharing is for a kernel of several results that nothing but the stage's kernels reads, else nil: an
// array costs Python and MLX a microsecond or two, in each step, and one does for all of them.
func (w *writer) sharing(n *graph.Node) *Shared {
	if !w.anywhere() || len(n.Out) < 2 {
		return nil
	}
	s := &Shared{}
	for _, v := range n.Out {
		t := w.g.Type(v)
		size, ok := graph.Product(t.Shape).Const()
		if !ok || !w.c.onlyKernels(w.uses, w.at, v, w.left) {
			return nil
		}
		s.At = append(s.At, s.Bytes)
		s.Bytes += (size*int64(t.DType.Size()) + 15) &^ 15 // kernels read up to 16 bytes at once
	}
	return s
}

// forKernels returns the views of a stage that nothing reads but the stage's kernels, which
// are given what they are views of.
func (c *cutGraph) forKernels(uses *graph.Uses, stage int, anywhere bool) map[graph.NodeID]bool {
	found := map[graph.NodeID]bool{}
	for _, id := range slices.Backward(c.stages[stage].nodes) {
		n := c.g.Node(id)
		start, ok := startOf(c.g, n)
		if ok && (start == 0 || anywhere) && c.onlyKernels(uses, stage, n.Out[0], found) {
			found[id] = true
		}
	}
	return found
}

// onlyKernels reports whether nothing reads a value but kernels of a stage, and views there that
// are not made.
func (c *cutGraph) onlyKernels(uses *graph.Uses, stage int, v graph.ValueID, left map[graph.NodeID]bool) bool {
	return readOnlyBy(c.g, uses, v, func(id graph.NodeID, r *graph.Node) bool {
		return c.inside(stage, r.Out[0]) && (left[id] || r.Op.IsKernel())
	})
}

// readOnlyBy reports whether a value is no output, and all that reads it is such.
func readOnlyBy(g *graph.Graph, uses *graph.Uses, v graph.ValueID, such func(graph.NodeID, *graph.Node) bool) bool {
	return !uses.IsOutput(v) && !slices.ContainsFunc(uses.Of(v), func(id graph.NodeID) bool { return !such(id, g.Node(id)) })
}
