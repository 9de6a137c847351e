package rewrite

import (
	"fmt"

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

// Pair returns the site as two graphs. Parameters have their own names if own is set, so
// that they are found among a model's weights; else leaves have the names that the rule
// gives them, so that sites of one kind give equal graphs.
func (s *Site) Pair(own bool) (*Pair, error) {
	b := &pairing{site: s, own: own, of: map[graph.ValueID]string{}, names: map[string]bool{}, inside: map[graph.NodeID]bool{}}
	for _, id := range s.Match.Nodes {
		b.inside[id] = true
	}
	for i, name := range s.Match.Pattern.Names() {
		v := s.Match.Named(s.graph, i)
		if v == graph.None {
			continue
		}
		if b.of[v] == "" {
			b.of[v] = name
		}
		if own && s.graph.Def(v).Op.Name == "param" {
			b.names[s.graph.InputName(v)] = true // of this parameter, and of no input; those that rules make are no names of rules
		}
	}
	b.Before, b.After = graph.New(), graph.New()
	before, operands := b.copies(b.Before), b.copies(b.After)
	for k, name := range s.Rule.Results {
		v, err := before.value(s.Match.Result(s.graph, k))
		if err != nil {
			return nil, err
		}
		b.Before.Output(name, v)
	}
	rep := s.cand.shape.replacement
	after := copier{from: rep.graph, to: b.After, now: map[graph.ValueID]graph.ValueID{}}
	uses := rep.graph.Uses()
	for i, in := range rep.graph.Inputs() {
		if len(uses.Of(in)) == 0 && !uses.IsOutput(in) {
			continue
		}
		if i >= len(rep.names) {
			line := rep.lines[i-len(rep.names)]
			q := s.cand.params[line]
			after.now[in] = b.leaf(b.After, Leaf{Name: s.Rule.Weights[line].Names[0], Type: q.Type, Value: graph.None, Param: q.Name})
			continue
		}
		var err error
		if after.now[in], err = operands.value(s.Match.Named(s.graph, rep.names[i])); err != nil {
			return nil, err
		}
	}
	for _, o := range rep.graph.Outputs() {
		v, err := after.value(o.Value)
		if err != nil {
			return nil, err
		}
		b.After.Output(o.Name, v)
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
	names  map[string]bool          // of parameters that have their own
	inside map[graph.NodeID]bool    // nodes that the rule took
}

// copier copies values to a graph of the pair, with the nodes that make them.
type copier struct {
	from, to *graph.Graph
	now      map[graph.ValueID]graph.ValueID
	leaf     func(graph.ValueID) (graph.ValueID, bool) // what a value is that is not copied; nil if all are
}

// copies returns what copies values of the matched graph: what is made inside the match or
// of nothing; the rest become leaves.
func (b *pairing) copies(to *graph.Graph) copier {
	g := b.site.graph
	return copier{g, to, map[graph.ValueID]graph.ValueID{}, func(v graph.ValueID) (graph.ValueID, bool) {
		n, l := g.Def(v), Leaf{Name: b.of[v], Type: g.Type(v), Value: v}
		switch {
		case n.Op.Name == "param":
			l.Param = g.InputName(v)
		case n.Op.Name != "input" && (len(n.In) == 0 || b.inside[g.Value(v).Def]):
			return graph.None, false
		}
		return b.leaf(to, l), true
	}}
}

// value returns what a value of the graph that is copied is in the pair.
func (c *copier) value(v graph.ValueID) (graph.ValueID, error) {
	if v == graph.None {
		return v, nil
	}
	if w, ok := c.now[v]; ok {
		return w, nil
	}
	n := c.from.Def(v)
	if l := c.from.Literal(v); l != nil {
		c.now[v] = c.to.Constant(l)
		return c.now[v], nil
	}
	if c.leaf != nil {
		if w, ok := c.leaf(v); ok {
			c.now[v] = w
			return w, nil
		}
	}
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
	return c.now[v], nil
}

// leaf adds a leaf to a graph of the pair, under the name that it has in the other one.
func (b *pairing) leaf(to *graph.Graph, l Leaf) graph.ValueID {
	for i := range b.Leaves {
		known := &b.Leaves[i]
		if known.Param != l.Param || l.Param == "" && known.Value != l.Value {
			continue
		}
		if known.Value == graph.None { // made by an earlier round and once more by this one
			known.Value = l.Value
		}
		return known.add(to)
	}
	if b.own && l.Param != "" {
		l.Name = l.Param
	} else {
		base := l.Name
		for i := 1; b.names[l.Name]; i++ {
			l.Name = fmt.Sprintf("%s.%d", base, i)
		}
	}
	b.Leaves = append(b.Leaves, l)
	return l.add(to)
}

func (l *Leaf) add(to *graph.Graph) graph.ValueID {
	if l.Param != "" {
		return to.Param(l.Name, l.Type)
	}
	return to.Input(l.Name, l.Type)
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
	var kept []*candidate
	var keptIDs []SiteID
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
