package rewrite

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// maxRounds bounds how often the result of a rewrite is rewritten again. Each
// round saves at least one launch, so that the limit is for rules with a mistake.
const maxRounds = 8

// maxOpen bounds the conditions that one case is split by.
const maxOpen = 6

// Run rewrites a program. p is not changed; cases that no rule touches are shared.
// Cases are rewritten side by side; the result does not depend on it.
func Run(p *graph.Program, cfg *Config) (*Result, error) {
	patterns := make([][]*matcher.Pattern, len(cfg.Rules))
	for i, r := range cfg.Rules {
		var err error
		if patterns[i], err = matcher.Compile(cfg.Set, r); err != nil {
			return nil, err
		}
	}
	workers := make([]rewriter, len(p.Cases))
	errs := make([]error, len(p.Cases))
	earlier := graph.True // that no case before this one applies
	var wg sync.WaitGroup
	var known sync.Map
	for i, c := range p.Cases {
		workers[i] = rewriter{cfg: cfg, patterns: patterns, params: newParams(p, &known)}
		start := &CaseResult{From: c.Name, Name: c.Name, When: c.When, given: graph.And(c.When, earlier.Given(c.When)), Before: c.Graph, After: c.Graph}
		earlier = graph.And(earlier, graph.Not(c.When))
		wg.Go(func() { errs[i] = workers[i].round(start, 1) })
	}
	wg.Wait()
	out, table := &graph.Program{Name: p.Name}, newParams(p, &known)
	res := &Result{Before: p, Program: out, Stop: StopDone}
	for i := range workers {
		w := &workers[i]
		if errs[i] != nil {
			return nil, fmt.Errorf("case %s: %w", p.Cases[i].Name, errs[i])
		}
		if w.stop != "" {
			res.Stop = w.stop
		}
		for _, q := range w.params.made {
			if err := table.add(q); err != nil {
				return nil, err
			}
		}
		for _, c := range w.done {
			res.Cases = append(res.Cases, c)
			out.Cases = append(out.Cases, graph.Case{Name: c.Name, When: c.When, Graph: c.After})
		}
	}
	out.Params = table.all()
	return res, nil
}

// rewriter rewrites one case of a program, which may become several.
type rewriter struct {
	cfg      *Config
	patterns [][]*matcher.Pattern // for each rule, largest first
	params   *params
	done     []CaseResult
	stop     string // StopFuel, if it was reached
}

// candidate is a match whose replacement has been built beside it.
type candidate struct {
	rule   int
	match  *matcher.Match
	scope  string
	guards []GuardValue
	cond   graph.Cond
	olds   []graph.ValueID
	news   []graph.ValueID
	params []*graph.Param
	saved  int
	// The replacement is the nodes [first, last) of the work graph.
	first, last graph.NodeID
}

// round matches all rules in a case, takes what it can, and goes on until nothing
// matches. The finished case or cases are appended to the result.
func (rw *rewriter) round(c *CaseResult, n int) error {
	g := c.After
	ix := matcher.NewIndex(g)
	env := guard.Env{Setting: rw.cfg.Setting, Symbols: Symbols(g), Given: c.given}
	f := &finder{rw: rw, ix: ix, g: g, env: env, round: n}
	for i := range rw.patterns {
		if n == 1 || rw.mayMatchAgain(i, c.added) {
			f.rule(i)
		}
	}
	if n == 1 {
		c.Refusals = f.refusals
	} else {
		c.Refusals = append(c.Refusals, f.refusals...)
	}
	if len(f.found) == 0 {
		rw.finish(c)
		return nil
	}
	if n > maxRounds {
		rw.stop = StopFuel
		rw.finish(c)
		return nil
	}
	return rw.split(c, f, n, 0, true)
}

// mayMatchAgain reports whether a rule's pattern has an op that the last round
// added; a match that was not there before needs one.
func (rw *rewriter) mayMatchAgain(rule int, added map[*graph.Op]bool) bool {
	return slices.ContainsFunc(rw.patterns[rule], func(p *matcher.Pattern) bool { return p.HasOp(added) })
}

// split decides the conditions that stay open one by one; each way that can
// happen becomes a case of its own. The last of them may use up f's work graph.
func (rw *rewriter) split(c *CaseResult, f *finder, n, depth int, last bool) error {
	for _, cand := range f.found {
		open := c.decide(cand.cond)
		if open.IsTrue() || open.IsFalse() || depth >= maxOpen {
			continue
		}
		yes, no := *c, *c
		yes.When, yes.given = graph.And(c.When, open), graph.And(c.given, open)
		yes.Name = c.Name + "_" + caseSuffix(open)
		// Cases are tried in order: what does not meet the condition falls to the
		// second case, whose When need not repeat it.
		no.given = graph.And(c.given, graph.Not(open))
		yes.decided = append(slices.Clone(c.decided), decision{c.given, open, graph.True})
		no.decided = append(slices.Clone(c.decided), decision{c.given, open, graph.False})
		for _, sub := range []*CaseResult{&yes, &no} {
			sub.Sites, sub.Refusals = slices.Clone(c.Sites), slices.Clone(c.Refusals)
			if err := rw.split(sub, f, n, depth+1, last && sub == &no); err != nil {
				return err
			}
		}
		return nil
	}
	return rw.take(c, f, n, last)
}

// decision is a condition that a case was split by.
type decision struct {
	given graph.Cond // what was known then
	open  graph.Cond
	value graph.Cond // True or False
}

// decide simplifies a condition by all that is known in the case. What interval
// arithmetic cannot see, such as the opposite of "a and b", was decided by name.
func (c *CaseResult) decide(cond graph.Cond) graph.Cond {
	for _, d := range c.decided {
		if cond = cond.Given(d.given); cond.Equal(d.open) {
			return d.value
		}
	}
	return cond.Given(c.given)
}

func caseSuffix(c graph.Cond) string {
	text := strings.NewReplacer(" ", "", "<=", "_le_", ">=", "_ge_", "<", "_lt_", ">", "_gt_", "==", "_eq_", "!=", "_ne_", "*", "_x_", "&&", "_and_", "||", "_or_").Replace(c.String())
	return text
}

// take applies the candidates of a case whose conditions hold: larger ones first,
// then in the order of rules, then of nodes. Unless it is the last to use it, it
// leaves f's work graph as it is.
func (rw *rewriter) take(c *CaseResult, f *finder, n int, last bool) error {
	order := slices.Clone(f.found)
	slices.SortStableFunc(order, func(a, b *candidate) int {
		if d := len(b.match.Nodes) - len(a.match.Nodes); d != 0 {
			return d
		}
		if d := a.rule - b.rule; d != 0 {
			return d
		}
		return slices.Compare(a.match.Nodes, b.match.Nodes)
	})
	owner := map[graph.NodeID]*candidate{}
	var taken []*candidate
	for _, cand := range order {
		r := rw.cfg.Rules[cand.rule]
		if !c.decide(cand.cond).IsTrue() {
			f.refuseCase(c, cand, r)
			continue
		}
		if reason, off := rw.cfg.Off[r.Name]; off {
			refuse(&c.Refusals, r, cand, CodeOff, "", func() (string, string) { return "the rule to be on", reason })
			continue
		}
		if w := overlap(f.g, owner, cand); w != nil {
			if w.rule != cand.rule {
				refuse(&c.Refusals, r, cand, CodeOverlap, "", func() (string, string) {
					return "nodes that no other rule takes", fmt.Sprintf("%s takes them at %s", rw.cfg.Rules[w.rule].Name, w.scope)
				})
			}
			continue
		}
		for _, id := range cand.match.Nodes {
			owner[id] = cand
		}
		taken = append(taken, cand)
	}
	taken, tangled := untangle(f.g, f.ix.Uses, taken)
	for _, cand := range tangled {
		refuse(&c.Refusals, rw.cfg.Rules[cand.rule], cand, CodeCycle, "", func() (string, string) {
			return "matches that can be applied together", "this one and others need each other's results"
		})
	}
	if len(taken) == 0 {
		rw.finish(c)
		return nil
	}
	added := map[*graph.Op]bool{}
	for _, cand := range taken {
		for id := cand.first; id < cand.last; id++ {
			added[f.work.Node(id).Op] = true
		}
	}
	work := f.work
	if !last {
		work = work.Clone()
	}
	for _, cand := range taken {
		for i, old := range cand.olds {
			if err := work.Replace(old, cand.news[i]); err != nil {
				return err
			}
		}
		for _, q := range cand.params {
			if err := rw.params.add(q); err != nil {
				return err
			}
		}
		r := rw.cfg.Rules[cand.rule]
		c.Sites = append(c.Sites, Site{Rule: r, Scope: cand.scope, Guards: cand.guards, Match: cand.match, Round: n, Size: len(cand.match.Nodes), Saved: cand.saved, Params: cand.params, graph: f.g})
	}
	if err := work.Compact(); err != nil {
		return err
	}
	c.After, c.added = work, added
	return rw.round(c, n+1)
}

// overlap returns the candidate that already has one of the nodes. Constants and
// ranges are made again by whoever needs them.
func overlap(g *graph.Graph, owner map[graph.NodeID]*candidate, c *candidate) *candidate {
	for _, id := range c.match.Nodes {
		if w := owner[id]; w != nil && len(g.Node(id).In) > 0 {
			return w
		}
	}
	return nil
}

func (rw *rewriter) finish(c *CaseResult) {
	slices.SortStableFunc(c.Sites, func(a, b Site) int { return a.Round - b.Round })
	rw.done = append(rw.done, *c)
}

// finder collects candidates and refusals of one round in one case.
type finder struct {
	rw       *rewriter
	ix       *matcher.Index
	g        *graph.Graph // as matched
	work     *graph.Graph // g with the replacements of all candidates added
	env      guard.Env
	round    int
	found    []*candidate
	refusals []Refusal
}

func (f *finder) rule(i int) {
	r := f.rw.cfg.Rules[i]
	matched := map[graph.NodeID]bool{}
	best := map[graph.NodeID]*matcher.Miss{}
	var order []graph.NodeID
	seen := map[string]bool{}
	for _, p := range f.rw.patterns[i] {
		p.Find(f.ix, func(m *matcher.Match) {
			for _, id := range m.Nodes {
				matched[id] = true
			}
			key := nodeKey(m.Nodes)
			if !seen[key] { // another expansion or anchor found the same nodes
				seen[key] = true
				f.candidate(i, r, m)
			}
		}, func(m *matcher.Miss) {
			if m.Better(best[m.Anchor]) {
				if best[m.Anchor] == nil {
					order = append(order, m.Anchor)
				}
				best[m.Anchor] = m
			}
		})
	}
	if f.round > 1 {
		return // what does not match in a rewritten graph explains nothing
	}
	for _, id := range order {
		if m := best[id]; !matched[id] {
			f.refusals = append(f.refusals, Refusal{Rule: r, Scope: f.g.Node(m.Anchor).Scope, Code: m.Code, Matched: m.Matched, Of: m.Pattern.Size(),
				line: m.Line(), detail: func() (string, string) { return m.Text(f.g) }})
		}
	}
}

// nodeKey is the same for the same nodes in any order.
func nodeKey(nodes []graph.NodeID) string {
	sorted := slices.Clone(nodes)
	slices.Sort(sorted)
	key := make([]byte, 0, 4*len(sorted))
	for _, id := range sorted {
		key = binary.LittleEndian.AppendUint32(key, uint32(id))
	}
	return string(key)
}

// refuse records that a whole match of a rule was not taken.
func refuse(to *[]Refusal, r *rules.Rule, cand *candidate, code, guardName string, detail func() (expected, observed string)) {
	n := cand.match.Pattern.Size()
	*to = append(*to, Refusal{Rule: r, Scope: cand.scope, Code: code, Matched: n, Of: n, Guard: guardName, detail: detail})
}

func (f *finder) refuse(r *rules.Rule, cand *candidate, code, guardName string, detail func() (expected, observed string)) {
	if f.round == 1 { // what does not match in a rewritten graph explains nothing
		refuse(&f.refusals, r, cand, code, guardName, detail)
	}
}

// refuseCase records that a run-time condition is false in this case.
func (f *finder) refuseCase(c *CaseResult, cand *candidate, r *rules.Rule) {
	for i := range cand.guards {
		if gv := &cand.guards[i]; !gv.Cond.IsTrue() {
			refuse(&c.Refusals, r, cand, CodeGuard, gv.Name, func() (string, string) { return gv.Text, gv.Values() + " in this case" })
			return
		}
	}
}

// candidate checks guards, builds the replacement, and checks it.
func (f *finder) candidate(i int, r *rules.Rule, m *matcher.Match) {
	_, olds := m.Results(f.g)
	cand := &candidate{rule: i, match: m, scope: f.g.Def(olds[0]).Scope, olds: olds, cond: graph.True}
	env := f.env
	env.Type = func(name string) (graph.Type, bool) {
		v, ok := m.Value(f.g, name)
		if !ok {
			return graph.Type{}, false
		}
		return f.g.Type(v), true
	}
	env.Var = m.Var
	for _, gd := range r.Guards {
		v := gd.Eval(&env)
		if v.Cond.IsFalse() {
			code := CodeGuard
			if v.Unknown != "" {
				code = CodeUnknown
			}
			f.refuse(r, cand, code, gd.Name, func() (string, string) { return gd.Text, gd.Values(&env) })
			return
		}
		cand.guards = append(cand.guards, GuardValue{Name: gd.Name, Text: gd.Text, Cond: v.Cond, guard: gd.Guard, env: &env})
		cand.cond = graph.And(cand.cond, v.Cond)
	}
	if code, name, expected, observed := f.build(cand, r, &env); code != "" {
		f.refuse(r, cand, code, name, func() (string, string) { return expected, observed })
		return
	}
	f.found = append(f.found, cand)
}

// build adds the replacement to the work graph. A non-empty code says why not.
func (f *finder) build(cand *candidate, r *rules.Rule, env *guard.Env) (code, name, expected, observed string) {
	if f.work == nil {
		f.work = f.g.Clone()
	}
	b := cand.match.Bindings(f.g)
	b.Scope, b.Op = cand.scope, f.rw.cfg.Set.Kernels.Op
	var err error
	if cand.params, err = deriveWeights(f.rw.params, f.work, r, b); err != nil {
		return CodeWeights, "", "parameters that can be rearranged", err.Error()
	}
	first := graph.NodeID(f.work.NumNodes())
	lines := make([]graph.Define, len(r.Replace))
	for k, l := range r.Replace {
		lines[k] = graph.Define{Names: l.Names, Expr: l.Expr}
	}
	if err := f.work.BuildAll(lines, b); err != nil {
		return CodeBuild, "", "a replacement that can be built", err.Error()
	}
	names, _ := cand.match.Results(f.g)
	for k, result := range names {
		v := b.Values[result]
		if v == graph.None { // an optional operand, as it is
			return CodeBuild, "", "a replacement that can be built", result + " is an operand that is absent"
		}
		cand.news = append(cand.news, v)
		if got, want := f.work.Type(v), f.work.Type(cand.olds[k]); !got.Equal(want) {
			return CodeType, "", fmt.Sprintf("%s of type %s", result, want), got.String()
		}
	}
	cand.first, cand.last = first, graph.NodeID(f.work.NumNodes())
	launches := 0
	for id := first; id < cand.last; id++ {
		n := f.work.Node(id)
		launches += n.Op.Launches
		spec := f.rw.cfg.Set.Kernels.SpecOf(n.Op)
		if spec == nil {
			continue
		}
		cond, failure := f.domain(spec, n, env)
		if failure != nil {
			return CodeKernel, failure.Name, "operands in the kernel's domain", failure.Text
		}
		if !cond.IsTrue() {
			cand.guards = append(cand.guards, GuardValue{Name: n.Op.Name, Text: cond.String(), Cond: cond})
		}
		cand.cond = graph.And(cand.cond, cond)
	}
	before := 0
	for _, id := range cand.match.Nodes {
		before += f.g.Node(id).Op.Launches
	}
	if cand.saved = before - launches; cand.saved <= 0 {
		return CodeCost, "", fmt.Sprintf("fewer than %d launches", before), fmt.Sprintf("%d", launches)
	}
	return "", "", "", ""
}

func (f *finder) domain(spec *kernels.Spec, n *graph.Node, env *guard.Env) (graph.Cond, *kernels.Failure) {
	types := make([]graph.Type, len(n.In))
	for i, v := range n.In {
		types[i] = graph.Type{DType: graph.NoDType}
		if v != graph.None {
			types[i] = f.work.Type(v)
		}
	}
	return spec.Check(types, n.Attrs, env)
}

// Symbols returns what batch, seq_len and kv_len stand for in a graph: the
// dimensions of its token input, and the rows that attention sees. What the graph
// does not define is not there.
func Symbols(g *graph.Graph) map[string]graph.Dim {
	env := map[string]graph.Dim{}
	for _, id := range g.Inputs() {
		if t := g.Type(id); g.InputName(id) == "tokens" && t.Rank() == 2 {
			env[graph.SymBatch], env[graph.SymSeqLen] = t.Shape[0], t.Shape[1]
		}
	}
	for id := range graph.NodeID(g.NumNodes()) {
		if n := g.Node(id); n.Op.Name == "sdpa" {
			if d, ok := n.Attr("kv_len").(graph.Dim); ok {
				env[graph.SymKVLen] = d
			}
			break
		}
	}
	return env
}
