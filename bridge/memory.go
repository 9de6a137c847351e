package bridge

import (
	"slices"

	"zmlx-rewrite/graph"
)

// A kernel gets the address of its operand and knows the shape from its numbers, so that a view
// that begins where its base does and has its elements in their order need not be made for it.

// sameStart reports whether the elements of a view are the first ones of its base, in order.
func sameStart(g *graph.Graph, n *graph.Node) bool {
	return !leaf(n) && len(n.Out) == 1 && len(n.In) > 0 &&
		g.Type(n.In[0]).Rank() > 0 && g.Type(n.Out[0]).Rank() > 0 && // Metal gives kernels numbers, not arrays of rank 0
		(keepsOrder(g, n) || firstPart(g, n))
}

// firstPart reports whether a slice begins at 0 and is in one piece: all axes before the one
// that it shortens have one element.
func firstPart(g *graph.Graph, n *graph.Node) bool {
	if n.Op.Name != "slice" {
		return false
	}
	t := g.Type(n.In[0])
	spans, err := (&graph.Call{Op: n.Op, In: []graph.Type{t}, Attrs: n.Attrs}).Spans()
	if err != nil || len(spans) != 1 || spans[0].Stride != 1 || !spans[0].Start.Is(0) {
		return false
	}
	for _, d := range t.Shape[:spans[0].Axis] {
		if !d.Is(1) {
			return false
		}
	}
	return true
}

// addressed is the value that a kernel may be given in place of v, so far as views are of
// the kernel's own stage.
func addressed(g *graph.Graph, inside map[graph.ValueID]bool, v graph.ValueID) graph.ValueID {
	for inside[v] && sameStart(g, g.Def(v)) {
		v = g.Def(v).In[0]
	}
	return v
}

// forKernels returns the views of a stage that nothing reads but the stage's kernels, which
// are given what they are views of.
func forKernels(g *graph.Graph, uses *graph.Uses, s *stage) map[graph.NodeID]bool {
	inside, found := map[graph.NodeID]bool{}, map[graph.NodeID]bool{}
	for _, id := range s.nodes {
		inside[id] = true
	}
	for _, id := range slices.Backward(s.nodes) {
		n := g.Node(id)
		if !sameStart(g, n) || uses.IsOutput(n.Out[0]) {
			continue
		}
		only := true
		for _, r := range uses.Of(n.Out[0]) {
			only = only && inside[r] && (found[r] || g.Node(r).Op.IsKernel())
		}
		if only {
			found[id] = true
		}
	}
	return found
}
