package rewrite

import (
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
)

// SiteID names an application of a rule in the plan for a program: it is the same each
// time that the plan is made.
type SiteID struct {
	Case  string // the case as it was called when the rule was applied
	Round int
	Index int // among the applications of that round
}

// Pair is what a rule took at a site and what it put there: two graphs that compute the
// same results, under the same names, from the same leaves.
type Pair struct {
	Before, After *graph.Graph
	Leaves        []Leaf
}

// Leaf is an input or a parameter of a pair.
type Leaf struct {
	Name  string // in both graphs
	Type  graph.Type
	Value graph.ValueID // in the graph that was matched; None for a parameter that the rule made
	Param string        // the name of the parameter that it is; "" for an input
}

// Graph returns the graph that was matched: that of the case as loaded, or as an earlier
// round left it.
func (s *Site) Graph() *graph.Graph { return s.graph }

// Alike reports whether two sites of one case are sure to be equal pairs, up to the
// parameters' names.
func (s *Site) Alike(t *Site) bool { return s.cand.shape == t.cand.shape }

// Pair returns the site as two graphs. Parameters have their own names if own is set, so
// that they are found among a model's weights; else leaves have the names that the rule
// gives them, so that sites of one kind give equal graphs.
func (s *Site) Pair(own bool) (*Pair, error) {
	b := &pairing{site: s, own: own, of: map[graph.ValueID]string{}, names: map[string]bool{}, inside: map[graph.NodeID]bool{}}
	for _, id := range s.cand.match.Nodes {
		if id >= 0 {
			b.inside[id] = true
		}
	}
	for i, name := range s.Match.Pattern.Names() {
		if v := s.Match.Named(s.graph, i); v != graph.None && b.of[v] == "" {
			b.of[v] = name
		}
	}
	b.Before, b.After = graph.New(), graph.New()
	before := copier{pairing: b, to: b.Before, now: map[graph.ValueID]graph.ValueID{}}
	after := copier{pairing: b, to: b.After, now: map[graph.ValueID]graph.ValueID{}}
	for k, name := range s.Rule.Results {
		v, err := before.value(s.Match.Result(s.graph, k))
		if err != nil {
			return nil, err
		}
		b.Before.Output(name, v)
	}
	rep := s.cand.shape.replacement
	h := rep.graph
	stands := map[graph.ValueID]graph.ValueID{} // inputs of h -> values here
	for i, in := range h.Inputs() {
		if len(h.Uses().Of(in)) == 0 && !h.Uses().IsOutput(in) {
			continue
		}
		var err error
		if i < len(rep.names) {
			stands[in], err = after.value(s.Match.Named(s.graph, rep.names[i]))
		} else {
			line := rep.lines[i-len(rep.names)]
			q := s.cand.params[line]
			stands[in] = after.leaf(Leaf{Name: s.Rule.Weights[line].Names[0], Type: q.Type, Value: graph.None, Param: q.Name})
		}
		if err != nil {
			return nil, err
		}
	}
	for id := range graph.NodeID(h.NumNodes()) {
		n := h.Node(id)
		switch {
		case n.Op.Name == "input":
			continue
		case n.Op.Name == "constant":
			stands[n.Out[0]] = b.After.Constant(h.Literal(n.Out[0]))
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for i, v := range n.In {
			if in[i] = graph.None; v != graph.None {
				in[i] = stands[v]
			}
		}
		out, err := b.After.Add(n.Op, "", in, n.Attrs...)
		if err != nil {
			return nil, err
		}
		for i, v := range n.Out {
			stands[v] = out[i]
		}
	}
	for _, o := range h.Outputs() {
		b.After.Output(o.Name, stands[o.Value])
	}
	for _, g := range []*graph.Graph{b.Before, b.After} {
		if err := g.Compact(); err != nil {
			return nil, err
		}
	}
	return &b.Pair, nil
}

// pairing is a pair in the making.
type pairing struct {
	Pair
	site   *Site
	own    bool
	of     map[graph.ValueID]string // the rule's name for a value
	names  map[string]bool          // of leaves
	inside map[graph.NodeID]bool    // nodes that the rule took
}

// copier copies nodes of the match to one graph of the pair.
type copier struct {
	*pairing
	to  *graph.Graph
	now map[graph.ValueID]graph.ValueID
}

// value returns what a value of the matched graph is in the pair: copied, if it is made
// inside the match or of nothing, else a leaf.
func (c *copier) value(v graph.ValueID) (graph.ValueID, error) {
	if v == graph.None {
		return v, nil
	}
	if w, ok := c.now[v]; ok {
		return w, nil
	}
	g := c.site.graph
	n := g.Def(v)
	switch {
	case n.Op.Name == "constant":
		c.now[v] = c.to.Constant(g.Literal(v))
	case n.Op.IsLeaf() || len(n.In) > 0 && !c.inside[g.Value(v).Def]:
		l := Leaf{Name: c.of[v], Type: g.Type(v), Value: v}
		if n.Op.Name == "param" {
			l.Param = g.InputName(v)
		}
		c.now[v] = c.leaf(l)
	default:
		in := make([]graph.ValueID, len(n.In))
		for i, x := range n.In {
			var err error
			if in[i], err = c.value(x); err != nil {
				return graph.None, err
			}
		}
		out, err := c.to.Add(n.Op, "", in, n.Attrs...)
		if err != nil {
			return graph.None, fmt.Errorf("%s at %s: %w", n.Op.Name, n.Scope, err)
		}
		for i, x := range n.Out {
			c.now[x] = out[i]
		}
	}
	return c.now[v], nil
}

// leaf adds a leaf to a graph of the pair, under the name that it has in the other one.
func (c *copier) leaf(l Leaf) graph.ValueID {
	for _, known := range c.Leaves {
		if known.Value == l.Value && known.Param == l.Param {
			return c.add(known)
		}
	}
	switch {
	case c.own && l.Param != "":
		l.Name = l.Param
	case l.Name == "" || c.names[l.Name]:
		base := l.Name
		for i := 1; l.Name == "" || c.names[l.Name]; i++ {
			l.Name = fmt.Sprintf("%s.%d", base, i)
		}
	}
	c.names[l.Name] = true
	c.Leaves = append(c.Leaves, l)
	return c.add(l)
}

func (c *copier) add(l Leaf) graph.ValueID {
	if l.Param != "" {
		return c.to.Param(l.Name, l.Type)
	}
	for _, v := range c.to.Inputs() {
		if c.to.InputName(v) == l.Name {
			return v
		}
	}
	return c.to.Input(l.Name, l.Type)
}

// keep applies the filter of the configuration to what a round would take.
func (rw *rewriter) keep(c *CaseResult, taken []*candidate, round int) ([]*candidate, []SiteID) {
	ids := make([]SiteID, len(taken))
	for i := range ids {
		ids[i] = SiteID{c.Name, round, i}
	}
	if rw.cfg.Keep == nil {
		return taken, ids
	}
	kept, keptIDs := slices.Clone(taken[:0]), ids[:0:0]
	for i, cand := range taken {
		if rw.cfg.Keep(ids[i]) {
			kept, keptIDs = append(kept, cand), append(keptIDs, ids[i])
		} else if round == 1 { // as finder.refuse
			refuseLate(c, rw.cfg.Rules[cand.rule], cand, &objection{CodeLeftOut, "", func() (string, string) {
				return "a site that is asked for", "this one is left out"
			}})
		}
	}
	return kept, keptIDs
}
