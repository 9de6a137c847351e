package rewrite

import (
	"slices"

	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// account is what explanations are made from when somebody asks for them: looking for
// them in every rewrite would take as long as the rewrite itself.
type account struct {
	cfg      *Config
	patterns [][]*matcher.Pattern // for each rule
}

// Refusals returns where a rule did not apply in the case: whole matches that were not
// taken, places where its pattern nearly matches the graph as loaded, and all matches of
// a rule that is off. It may not be called by two goroutines at once.
func (c *CaseResult) Refusals(r *rules.Rule) []*Refusal {
	var early, late []*Refusal // what came up in finding matches, and in choosing among them
	for i := range c.refusals {
		switch f := &c.refusals[i]; {
		case f.Rule != r:
		case f.late:
			late = append(late, f)
		default:
			early = append(early, f)
		}
	}
	if i := slices.Index(c.account.cfg.Rules, r); i >= 0 {
		early = append(early, c.missed(i, r)...)
	}
	return append(early, late...)
}

// missed matches a rule once more in the graph as loaded.
func (c *CaseResult) missed(i int, r *rules.Rule) []*Refusal {
	g := c.Before // a refusal may outlive the case
	if c.ix == nil {
		c.ix = matcher.NewIndex(g)
	}
	reason, off := c.account.cfg.Off[r.Name]
	matched, nearest := make([]bool, g.NumNodes()), make([]int32, g.NumNodes()) // nearest is 1 + which of the misses got furthest at an anchor
	seen := matchSet{newest: make([]int32, g.NumNodes())}
	var misses []*matcher.Miss
	var list []*Refusal
	for _, p := range c.account.patterns[i] {
		p.Explain(c.ix, func(m *matcher.Match) {
			for _, id := range m.Nodes {
				matched[id] = true
			}
			if off && seen.add(m) {
				n := m.Pattern.Size()
				list = append(list, &Refusal{Rule: r, Scope: g.Def(m.Result(g, 0)).Scope, Code: CodeOff, Matched: n, Of: n,
					detail: func() (string, string) { return "the rule to be on", reason }})
			}
		}, func(m *matcher.Miss) {
			if k := nearest[m.Anchor]; k == 0 {
				misses = append(misses, m.Clone())
				nearest[m.Anchor] = int32(len(misses))
			} else if m.Better(misses[k-1]) {
				misses[k-1] = m.Clone()
			}
		})
	}
	for _, m := range misses {
		if !matched[m.Anchor] {
			list = append(list, &Refusal{Rule: r, Scope: g.Node(m.Anchor).Scope, Code: m.Code, Matched: m.Matched, Of: m.Pattern.Size(),
				line: m.Line(), detail: func() (string, string) { return m.Text(g) }})
		}
	}
	return list
}
