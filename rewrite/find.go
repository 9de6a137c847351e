package rewrite

import (
	"cmp"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// candidate is a match of which guards, weights and replacement allow that it is taken.
type candidate struct {
	rule   int
	match  *matcher.Match
	shape  *shape
	scope  string
	params []*madeParam // for each line of the rule's weights; nil if its operands are absent
}

// finder collects candidates and refusals of one round in one case.
type finder struct {
	rw       *rewriter
	ix       *matcher.Index
	g        *graph.Graph
	env      guard.Env // of all matches; Type and Var are those of a match
	round    int
	found    []*candidate
	shapes   []*shape // of the candidates, in the order in which they were found
	refusals []Refusal
}

func newFinder(rw *rewriter, c *CaseResult, round int) *finder {
	g := c.After
	return &finder{rw: rw, ix: matcher.NewIndex(g), g: g, round: round,
		env: guard.Env{Setting: rw.cfg.Setting, Symbols: rw.symbols, Given: c.given}}
}

// scratch is what finding the matches of one rule needs, and nothing afterwards.
type scratch struct {
	seen matchSet
	key  []byte
}

// reset empties the set of matches, and keeps its memory.
func (s *scratch) reset(nodes int) {
	s.seen = matchSet{slices.Grow(s.seen.newest[:0], nodes)[:nodes], s.seen.list[:0]}
	clear(s.seen.newest)
}

// rule finds the matches of a rule.
func (f *finder) rule(i int) {
	r := f.rw.cfg.Rules[i]
	if _, off := f.rw.cfg.Off[r.Name]; off {
		return // its matches are found when somebody asks: CaseResult.Refusals
	}
	s := &f.rw.scratch
	s.reset(f.g.NumNodes())
	for _, p := range f.rw.patterns[i] {
		shapes := map[string]*shape{}
		p.Find(f.ix, func(m *matcher.Match) {
			if s.seen.add(m) { // else another expansion or anchor found the same nodes
				f.match(i, r, m, shapes)
			}
		})
	}
}

// match makes a match a candidate, or notes why it is none. shapes are those of its
// pattern so far.
func (f *finder) match(i int, r *rules.Rule, m *matcher.Match, shapes map[string]*shape) {
	key := &f.rw.scratch.key
	*key = m.AppendShape(f.g, (*key)[:0])
	s := shapes[string(*key)]
	if s == nil {
		s = f.judge(r, m)
		shapes[string(*key)] = s
	}
	cand := &candidate{rule: i, match: m, shape: s, scope: f.g.Def(m.Result(f.g, 0)).Scope}
	if s.no == nil && s.replacement == nil { // the other matches' parameters are made when they are taken
		if no := f.derive(r, cand); no != nil {
			f.refuse(r, cand, no)
			return
		}
		if s.replacement, s.no = f.build(s, r, cand); s.no == nil {
			f.shapes = append(f.shapes, s)
		}
	}
	if s.no != nil {
		f.refuse(r, cand, s.no)
		return
	}
	f.found = append(f.found, cand)
}

// derive makes the parameters that a match needs, if they are not made yet.
func (f *finder) derive(r *rules.Rule, cand *candidate) *objection {
	if cand.params != nil {
		return nil
	}
	params, err := deriveWeights(f.rw.params, f.g, r, cand.match)
	if err != nil {
		return &objection{CodeWeights, "", func() (string, string) { return "parameters that can be rearranged", err.Error() }}
	}
	cand.params = params
	return nil
}

func (f *finder) refuse(r *rules.Rule, cand *candidate, no *objection) {
	if f.round == 1 { // what does not match in a rewritten graph explains nothing
		refuse(&f.refusals, r, cand, no)
	}
}

// objection says why a whole match of a rule is not taken.
type objection struct {
	code, guard string
	detail      func() (expected, observed string)
}

// refuse records that a whole match of a rule was not taken.
func refuse(to *[]Refusal, r *rules.Rule, cand *candidate, no *objection) {
	n := cand.match.Pattern.Size()
	*to = append(*to, Refusal{Rule: r, Scope: cand.scope, Code: no.code, Matched: n, Of: n, Guard: no.guard, detail: no.detail})
}

// sortFound brings candidates in the order of preference: larger ones first, then in
// the order of rules, then of nodes.
func (f *finder) sortFound() {
	slices.SortStableFunc(f.found, func(a, b *candidate) int {
		return cmp.Or(len(b.match.Nodes)-len(a.match.Nodes), a.rule-b.rule, slices.Compare(a.match.Nodes, b.match.Nodes))
	})
}

// matchSet holds matches, one for each set of nodes.
type matchSet struct {
	newest []int32 // by the smallest node of a match: 1 + which was added last
	list   []struct {
		match *matcher.Match
		older int32 // the one before it with this smallest node, counted in the same way
	}
}

// add adds a match and reports whether it is the first of its nodes, in any order.
func (s *matchSet) add(m *matcher.Match) bool {
	first := slices.Min(m.Nodes)
	for k := s.newest[first]; k > 0; k = s.list[k-1].older {
		if o := s.list[k-1].match.Nodes; len(o) == len(m.Nodes) && !slices.ContainsFunc(o, func(id graph.NodeID) bool { return !slices.Contains(m.Nodes, id) }) {
			return false // nodes of a match are distinct: all of o are all of m
		}
	}
	s.list = append(s.list, struct {
		match *matcher.Match
		older int32
	}{m, s.newest[first]})
	s.newest[first] = int32(len(s.list))
	return true
}

// Symbols returns what batch, seq_len and kv_len stand for in a graph: the
// dimensions of its token input, and the rows that attention sees, if that is the same
// everywhere. What the graph does not define is not there.
func Symbols(g *graph.Graph) map[string]graph.Dim {
	env := map[string]graph.Dim{}
	for _, id := range g.Inputs() {
		if t := g.Type(id); g.InputName(id) == "tokens" && t.Rank() == 2 {
			env[graph.SymBatch], env[graph.SymSeqLen] = t.Shape[0], t.Shape[1]
		}
	}
	sdpa, seen := graph.LookupOp("sdpa"), false
	var kvLen graph.Dim
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if n.Op != sdpa {
			continue
		}
		d, ok := n.Attr("kv_len").(graph.Dim)
		if !ok { // all rows of k [batch, heads, rows, head_dim]
			d = g.Type(n.In[1]).Shape[2]
		}
		if d == graph.Sym(graph.SymWindowLen) {
			continue // kv_len is what the layers see that see everything
		}
		if seen && d != kvLen {
			return env
		}
		seen, kvLen = true, d
	}
	if seen {
		env[graph.SymKVLen] = kvLen
	}
	return env
}
