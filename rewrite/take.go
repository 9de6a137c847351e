package rewrite

import (
	"fmt"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rules"
)

// take applies the candidates of a case whose conditions hold, in the order of
// preference in which f has them, and starts the next round.
func (rw *rewriter) take(c *CaseResult, f *finder, n int) error {
	taken, tangled := untangle(f.g, f.ix.Uses, rw.choose(c, f))
	for _, cand := range tangled {
		refuseLate(c, rw.cfg.Rules[cand.rule], cand, &objection{CodeCycle, "", func() (string, string) {
			return "matches that can be applied together", "this one and others need each other's results"
		}})
	}
	taken, ids := rw.keep(c, taken, n)
	if len(taken) == 0 {
		rw.finish(c)
		return nil
	}
	var nodes, values int // of the patch
	for _, cand := range taken {
		h := cand.shape.graph // its inputs are there already, but for parameters
		known := len(cand.shape.names)
		nodes += h.NumNodes() - known
		values += h.NumValues() - known
	}
	patch, added := f.g.Patch(nodes, values), map[*graph.Op]bool{}
	for i, cand := range taken {
		if err := cand.put(patch, f.g, n); err != nil {
			return err
		}
		s := cand.shape
		s.addOps(added)
		site := Site{ID: ids[i], Rule: rw.cfg.Rules[cand.rule], Scope: cand.scope, Guards: s.guards, Match: cand.match, Round: n, Size: len(cand.match.Nodes), Saved: s.saved, graph: f.g, cand: cand}
		for _, q := range cand.params {
			if q == nil {
				continue
			}
			if err := rw.params.add(q); err != nil {
				return err
			}
			site.Params = append(site.Params, q.Param)
		}
		c.Sites = append(c.Sites, site)
	}
	after, err := patch.Apply()
	if err != nil {
		return err
	}
	if err := verify(after); err != nil {
		return err
	}
	c.After, c.added = after, added
	return rw.round(c, n+1)
}

// choose returns the candidates that are taken in a case, and records why the others
// are not.
func (rw *rewriter) choose(c *CaseResult, f *finder) []*candidate {
	holds := map[*shape]bool{}
	for _, s := range f.shapes {
		holds[s] = c.decide(s.cond).IsTrue()
	}
	owner := make([]int32, f.g.NumNodes()) // 1 + which of those taken
	taken := make([]*candidate, 0, len(f.found))
	for _, cand := range f.found {
		r := rw.cfg.Rules[cand.rule]
		if !holds[cand.shape] {
			refuseCase(c, cand, r)
			continue
		}
		if k := overlap(f.g, owner, cand); k > 0 {
			w := taken[k-1]
			if w.rule != cand.rule {
				refuseLate(c, r, cand, &objection{CodeOverlap, "", func() (string, string) {
					return "nodes that no other rule takes", fmt.Sprintf("%s takes them at %s", rw.cfg.Rules[w.rule].Name, w.scope)
				}})
				lost := &c.refusals[len(c.refusals)-1]
				lost.Winner, lost.WinnerSize = rw.cfg.Rules[w.rule], len(w.match.Nodes)
			}
			continue
		}
		if no := f.derive(r, cand); no != nil {
			if f.round == 1 { // as finder.refuse
				refuse(&c.refusals, r, cand, no)
			}
			continue
		}
		taken = append(taken, cand)
		for _, id := range cand.match.Nodes {
			owner[id] = int32(len(taken))
		}
	}
	return taken
}

// refuseLate is refuse for a match that only the case, or another match, is against.
func refuseLate(c *CaseResult, r *rules.Rule, cand *candidate, no *objection) {
	refuse(&c.refusals, r, cand, no)
	c.refusals[len(c.refusals)-1].late = true
}

// refuseCase records that a run-time condition is false in this case.
func refuseCase(c *CaseResult, cand *candidate, r *rules.Rule) {
	for i := range cand.shape.guards {
		if gv := &cand.shape.guards[i]; !gv.Cond.IsTrue() {
			refuseLate(c, r, cand, &objection{CodeGuard, gv.Name, func() (string, string) { return gv.Text, gv.Values() + " in this case" }})
			return
		}
	}
}

// overlap returns the owner of one of a candidate's nodes, or 0. Constants and ranges
// are made again by whoever needs them.
func overlap(g *graph.Graph, owner []int32, c *candidate) int32 {
	for _, id := range c.match.Nodes {
		if w := owner[id]; w > 0 && len(g.Node(id).In) > 0 {
			return w
		}
	}
	return 0
}

// addOps adds the ops that the replacement brings.
func (rep *replacement) addOps(to map[*graph.Op]bool) {
	inputs := len(rep.graph.Inputs())
	for id := graph.NodeID(inputs); id < graph.NodeID(rep.graph.NumNodes()); id++ {
		to[rep.graph.Node(id).Op] = true
	}
}
