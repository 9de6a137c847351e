package rewrite

import (
	"cmp"
	"slices"

	"zmlx-rewrite/graph"
)

// untangle drops matches until those that are left can be applied together. Each can
// be applied alone, which the matcher sees to; but of two matches with several
// results, each may need a result of the other: p1 → p2 and q2 → q1 make a cycle of
// {p1, q1} and {p2, q2}. Of those that stand in the way, the least preferred goes.
func untangle(g *graph.Graph, uses *graph.Uses, taken []*candidate) (kept, dropped []*candidate) {
	kept = taken
	for tangled(g, uses, kept) {
		stuck := newOrdering(g, uses, 0, graph.NodeID(g.NumNodes()), kept).stuck()
		var last int
		for i, c := range kept {
			if stuck[i] && joinsPaths(c) {
				last = i
			}
		}
		dropped = append(dropped, kept[last])
		kept = slices.Delete(slices.Clone(kept), last, last+1)
	}
	return kept, dropped
}

// joinsPaths reports whether a match, taken as one node, may add a path to the graph.
// One with a single result does not: all its nodes lead to that result.
func joinsPaths(c *candidate) bool { return len(c.shape.graph.Outputs()) > 1 }

// tangled reports whether matches stand in each other's way. Nodes are in topological
// order, so that a cycle stays among matches whose ranges of nodes overlap, and within
// the ranges: in a model, within a layer. Only those parts are ordered.
func tangled(g *graph.Graph, uses *graph.Uses, taken []*candidate) bool {
	type span struct {
		lo, hi graph.NodeID // both included
		match  *candidate
	}
	var spans []span
	for _, c := range taken {
		if joinsPaths(c) {
			spans = append(spans, span{slices.Min(c.match.Nodes), slices.Max(c.match.Nodes), c})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	var group []*candidate
	for i := 0; i < len(spans); {
		lo, hi := spans[i].lo, spans[i].hi
		for group = group[:0]; i < len(spans) && spans[i].lo <= hi; i++ {
			group, hi = append(group, spans[i].match), max(hi, spans[i].hi)
		}
		if len(group) > 1 && slices.Contains(newOrdering(g, uses, lo, hi+1, group).stuck(), true) {
			return true
		}
	}
	return false
}

// ordering is a part of a graph of which each match is taken as one node. What is
// ordered are items: the nodes from lo up to hi, by their IDs less lo, and behind them
// the matches.
type ordering struct {
	g      *graph.Graph
	uses   *graph.Uses
	lo, hi graph.NodeID
	taken  []*candidate
	item   []int32 // by node less lo: itself, or its match. Leaves belong to nobody
	waits  []int32 // by item: how many operands are not placed yet
}

func newOrdering(g *graph.Graph, uses *graph.Uses, lo, hi graph.NodeID, taken []*candidate) *ordering {
	n := int(hi - lo)
	all := make([]int32, 2*n+len(taken))
	o := &ordering{g, uses, lo, hi, taken, all[:n], all[n:]}
	for i := range o.item {
		o.item[i] = int32(i)
	}
	for i, c := range taken {
		for _, id := range c.match.Nodes {
			if len(g.Node(id).In) > 0 {
				o.item[id-lo] = int32(n + i)
			}
		}
	}
	for id := lo; id < hi; id++ {
		for _, v := range g.Node(id).In {
			if v == graph.None {
				continue
			}
			if d := g.Value(v).Def; d >= lo && o.item[d-lo] != o.item[id-lo] {
				o.waits[o.item[id-lo]]++
			}
		}
	}
	return o
}

// stuck places one item after the other, and returns which matches could not be
// placed: those on a cycle, or behind one.
func (o *ordering) stuck() []bool {
	n := int32(len(o.item))
	var ready []int32
	for i, w := range o.waits {
		if w == 0 && (int32(i) >= n || o.item[i] == int32(i)) {
			ready = append(ready, int32(i))
		}
	}
	place := func(id graph.NodeID) {
		from := o.item[id-o.lo]
		for _, v := range o.g.Node(id).Out {
			for _, user := range o.uses.Of(v) {
				if user >= o.hi {
					break // readers are in order
				}
				if to := o.item[user-o.lo]; to != from {
					if o.waits[to]--; o.waits[to] == 0 {
						ready = append(ready, to)
					}
				}
			}
		}
	}
	for len(ready) > 0 {
		i := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if i < n {
			place(o.lo + graph.NodeID(i))
			continue
		}
		for _, id := range o.taken[i-n].match.Nodes {
			if o.item[id-o.lo] == i {
				place(id)
			}
		}
	}
	stuck := make([]bool, len(o.taken))
	for i := range stuck {
		stuck[i] = o.waits[n+int32(i)] > 0
	}
	return stuck
}
