package proof

import (
	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
)

// At returns the instance of a match in one case of a program.
func At(p *graph.Program, c *graph.Case, m *matcher.Match, where string) (*Instance, error) {
	s := m.Sample(c.Graph)
	return newInstance(m.Pattern, s, c.When, where, paramsOf(p, c.Graph, m, s))
}
