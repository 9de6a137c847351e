package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
)

// maxRounds bounds how often the result of a rewrite is rewritten again. Each
// round saves at least one launch, so that the limit is for rules with a mistake.
const maxRounds = 8

// maxOpen bounds the conditions that one case is split by.
const maxOpen = 6

// verify looks at every graph that Run makes, and at the program. Tests have it verify them:
// what that finds is a bug of this package or of the op table, and takes as long as a plan.
var verify = func(interface{ Verify() error }) error { return nil }

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
	known := maker{base: p}
	why := &account{cfg, patterns}
	var wg sync.WaitGroup
	for i, c := range p.Cases {
		// Twins of a pattern are told apart by the order of nodes, and equal matches are tried
		// in it. In canonical order, that is the same for all programs of one hash.
		g, err := c.Graph.Ordered()
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", c.Name, err)
		}
		c.Graph = g
		workers[i] = rewriter{cfg: cfg, patterns: patterns, params: newParams(&known), symbols: Symbols(c.Graph)}
		start := &CaseResult{From: c.Name, Name: c.Name, When: c.When, given: graph.And(c.When, earlier.Given(c.When)), Before: c.Graph, After: c.Graph, account: why}
		earlier = graph.And(earlier, graph.Not(c.When))
		wg.Go(func() { errs[i] = workers[i].round(start, 1) })
	}
	wg.Wait()
	out, table := &graph.Program{Name: p.Name, Window: p.Window}, newParams(&known)
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
	if err := verify(out); err != nil {
		return nil, fmt.Errorf("the rewritten program is broken: %w", err)
	}
	return res, nil
}

// rewriter rewrites one case of a program, which may become several.
type rewriter struct {
	cfg      *Config
	patterns [][]*matcher.Pattern // for each rule, largest first
	params   *params
	symbols  map[string]graph.Dim // of the case as loaded: a rewritten graph may not show them
	scratch  scratch
	done     []CaseResult
	stop     string // StopFuel, if it was reached
}

// round matches all rules in a case, takes what it can, and goes on until nothing
// matches. The finished case or cases are appended to the result.
func (rw *rewriter) round(c *CaseResult, n int) error {
	var try []int // rules
	for i := range rw.patterns {
		if n == 1 || rw.mayMatchAgain(i, c.added) {
			try = append(try, i)
		}
	}
	if len(try) == 0 {
		rw.finish(c)
		return nil
	}
	f := newFinder(rw, c, n)
	for _, i := range try {
		f.rule(i)
	}
	c.refusals = append(c.refusals, f.refusals...)
	if len(f.found) == 0 {
		rw.finish(c)
		return nil
	}
	if n > maxRounds {
		rw.stop = StopFuel
		rw.finish(c)
		return nil
	}
	f.sortFound()
	return rw.split(c, f, n, 0)
}

// mayMatchAgain reports whether a rule's pattern has an op that the last round
// added; a match that was not there before needs one.
func (rw *rewriter) mayMatchAgain(rule int, added map[*graph.Op]bool) bool {
	return slices.ContainsFunc(rw.patterns[rule], func(p *matcher.Pattern) bool { return p.HasOp(added) })
}

// split decides the conditions that stay open one by one; each way that can
// happen becomes a case of its own.
func (rw *rewriter) split(c *CaseResult, f *finder, n, depth int) error {
	for _, s := range f.shapes {
		open := c.decide(s.cond)
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
			// What both have in common they share, and append to copies of it.
			sub.Sites, sub.refusals = slices.Clip(c.Sites), slices.Clip(c.refusals)
			if err := rw.split(sub, f, n, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return rw.take(c, f, n)
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

func (rw *rewriter) finish(c *CaseResult) {
	rw.done = append(rw.done, *c)
}
