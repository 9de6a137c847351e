package rewrite

import (
	"slices"

	"zmlx-rewrite/graph"
)

// untangle drops matches until those that are left can be applied together. Each can
// be applied alone, which the matcher sees to; but of two matches with several
// results, each may need a result of the other: p1 → p2 and q2 → q1 make a cycle of
// {p1, q1} and {p2, q2}. Of those that stand in the way, the least preferred goes.
func untangle(g *graph.Graph, uses *graph.Uses, taken []*candidate) (kept, dropped []*candidate) {
	kept = slices.Clone(taken)
	for {
		stuck := stuck(g, uses, kept)
		last := -1
		for i, c := range kept {
			if len(c.olds) > 1 && stuck(c) { // a match with one result joins no paths
				last = i
			}
		}
		if last < 0 {
			return kept, dropped
		}
		dropped = append(dropped, kept[last])
		kept = slices.Delete(kept, last, last+1)
	}
}

// stuck orders the graph with each match taken as one node, and returns which matches
// it could not place: those on a cycle, or behind one.
func stuck(g *graph.Graph, uses *graph.Uses, taken []*candidate) func(*candidate) bool {
	// The nodes of a match stand under the match's number behind all nodes. Leaves
	// belong to nobody.
	group := make([]int, g.NumNodes())
	for id := range group {
		group[id] = id
	}
	number := map[*candidate]int{}
	for i, c := range taken {
		number[c] = g.NumNodes() + i
		for _, id := range c.match.Nodes {
			if len(g.Node(id).In) > 0 {
				group[id] = number[c]
			}
		}
	}
	waits := make([]int, g.NumNodes()+len(taken)) // operands that are not placed yet
	for id := range graph.NodeID(g.NumNodes()) {
		for _, v := range g.Node(id).In {
			if v != graph.None && group[g.Value(v).Def] != group[id] {
				waits[group[id]]++
			}
		}
	}
	var ready []int
	for i, n := range waits {
		if n == 0 && (i >= len(group) || group[i] == i) {
			ready = append(ready, i)
		}
	}
	place := func(id graph.NodeID) {
		for _, v := range g.Node(id).Out {
			for _, user := range uses.Of(v) {
				if to := group[user]; to != group[id] {
					if waits[to]--; waits[to] == 0 {
						ready = append(ready, to)
					}
				}
			}
		}
	}
	for len(ready) > 0 {
		i := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if i < len(group) {
			place(graph.NodeID(i))
			continue
		}
		for _, id := range taken[i-len(group)].match.Nodes {
			if group[id] == i {
				place(id)
			}
		}
	}
	return func(c *candidate) bool { return waits[number[c]] > 0 }
}
