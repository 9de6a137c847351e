package matcher

import "zmlx-rewrite/graph"

// Index is what matching needs to know of a graph: nodes by op, readers of values.
type Index struct {
	Graph *graph.Graph
	Uses  *graph.Uses

	lists [][]graph.NodeID // by rows of ops; behind them, by ops of kernels
	extra map[*graph.Op]int
}

// opRows is how many rows the op table has.
var opRows = len(graph.Ops())

// NewIndex indexes a graph. It is valid until the graph changes.
func NewIndex(g *graph.Graph) *Index {
	ix := &Index{Graph: g, Uses: g.Uses(), extra: map[*graph.Op]int{}}
	counts := make([]int32, opRows)
	for id := range graph.NodeID(g.NumNodes()) {
		op := g.Node(id).Op
		k, ok := ix.place(op)
		if !ok {
			k = len(counts)
			ix.extra[op], counts = k, append(counts, 0)
		}
		counts[k]++
	}
	ids := make([]graph.NodeID, g.NumNodes()) // one array for all lists
	ix.lists = make([][]graph.NodeID, len(counts))
	for k, n := range counts {
		ix.lists[k], ids = ids[:0:n], ids[n:]
	}
	for id := range graph.NodeID(g.NumNodes()) {
		k, _ := ix.place(g.Node(id).Op)
		ix.lists[k] = append(ix.lists[k], id)
	}
	return ix
}

// place returns where the list of an op is, and whether there is one.
func (ix *Index) place(op *graph.Op) (int, bool) {
	if k, ok := op.Row(); ok {
		return k, true
	}
	k, ok := ix.extra[op]
	return k, ok
}

// ofOp returns the nodes of an op, in order.
func (ix *Index) ofOp(op *graph.Op) []graph.NodeID {
	if k, ok := ix.place(op); ok {
		return ix.lists[k]
	}
	return nil
}
