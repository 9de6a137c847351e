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
	s, ok := oneSpan(g, n)
	return ok && s.Start.Is(0) && !slices.ContainsFunc(g.Type(n.In[0]).Shape[:s.Axis], func(d graph.Dim) bool { return !d.Is(1) })
}

// addressed is the value that a kernel of a stage may be given in place of v, so far as views are of
// that stage.
func (c *cutGraph) addressed(stage int, v graph.ValueID) graph.ValueID {
	for c.inside(stage, v) && sameStart(c.g, c.g.Def(v)) {
		v = c.g.Def(v).In[0]
	}
	return v
}

// forKernels returns the views of a stage that nothing reads but the stage's kernels, which
// are given what they are views of.
func (c *cutGraph) forKernels(uses *graph.Uses, stage int) map[graph.NodeID]bool {
	found := map[graph.NodeID]bool{}
	for _, id := range slices.Backward(c.stages[stage].nodes) {
		n := c.g.Node(id)
		if sameStart(c.g, n) && readOnlyBy(c.g, uses, n.Out[0], func(id graph.NodeID, r *graph.Node) bool {
			return c.inside(stage, r.Out[0]) && (found[id] || r.Op.IsKernel())
		}) {
			found[id] = true
		}
	}
	return found
}

// readOnlyBy reports whether a value is no output, and all that reads it is such.
func readOnlyBy(g *graph.Graph, uses *graph.Uses, v graph.ValueID, such func(graph.NodeID, *graph.Node) bool) bool {
	return !uses.IsOutput(v) && !slices.ContainsFunc(uses.Of(v), func(id graph.NodeID) bool { return !such(id, g.Node(id)) })
}
