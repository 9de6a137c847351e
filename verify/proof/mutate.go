package proof

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Mutations changes one thing at a time in each instance of a rule's patterns, and looks
// whether the rule still applies. It should not. Where it does, the change must be within
// the rule's own language, as of an attribute that a $variable stands for, and what the
// rule makes of it must compute the same: judge says so. A mutant of which the rule makes
// the very same graph as of the pattern is right only if it computes what the pattern does.
func Mutations(ctx context.Context, set *rules.Set, all *Instances, judge Judge) *Verdict {
	m := &mutator{ctx: ctx, set: set, judge: judge, proven: map[string]bool{}, kinds: map[string]int{}}
	m.v = &Verdict{Check: CheckMutations, Status: Tested, Method: "enumeration"}
	for _, in := range all.All {
		if ctx.Err() != nil {
			break
		}
		m.instance(in)
	}
	v := m.v
	v.Count = m.refused + m.follow
	if v.Failed() {
		v.Detail = v.Why[0]
	} else {
		v.Detail = fmt.Sprintf("%d changes: %d keep the rule off; it follows %d, of which %d were compared, the others being changes of the same places",
			v.Count, m.refused, m.follow, m.judged)
		for _, kind := range sortedKeys(m.kinds) {
			v.Why = append(v.Why, fmt.Sprintf("%d of %s", m.kinds[kind], kind))
		}
	}
	switch {
	case v.Failed():
	case ctx.Err() != nil:
		v.Status, v.Detail = Unchecked, "stopped: "+ctx.Err().Error()
	case v.Count == 0:
		v.Status, v.Detail = Unchecked, "no pattern of the rule has an instance"
	}
	return v
}

type mutator struct {
	ctx   context.Context
	set   *rules.Set
	judge Judge
	v     *Verdict

	refused, follow, judged int
	kinds                   map[string]int
	proven                  map[string]bool // places of patterns of which a change was judged
}

func (m *mutator) instance(in *Instance) {
	targets := in.targets(m.set)
	if len(targets) == 0 {
		return
	}
	before := map[string][]graph.Hash{}
	for _, target := range targets {
		if res, err := in.Rewrite(m.set, target); err == nil {
			before[target] = results(res)
		}
	}
	for _, x := range in.mutations() {
		p, err := in.mutant(x)
		if err != nil {
			continue // no graph
		}
		m.look(in, &Instance{Rule: in.Rule, Pattern: in.Pattern, Where: in.Where + "; " + x.what, Sample: in.Sample, When: in.When, Program: p},
			x.kind, x.what, x.place, targets, before)
	}
	for _, x := range in.variants() {
		c, err := in.as(x)
		if err != nil {
			continue
		}
		m.look(in, c, x.kind, x.what, x.place, targets, before)
	}
}

// look rewrites a mutant, and judges it if the rule applies.
func (m *mutator) look(from, mutant *Instance, kind, what, place string, targets []string, before map[string][]graph.Hash) {
	if m.ctx.Err() != nil {
		return
	}
	m.kinds[kind]++
	follows := false
	for _, target := range targets {
		res, err := rewriteBy(m.set, mutant.Rule, mutant.Program, target)
		if err != nil {
			m.fail(mutant, "proof/broken", fmt.Sprintf("rewriting fails: %v", err))
			return
		}
		if sites(res) == 0 {
			continue
		}
		if !follows {
			follows = true
			m.follow++
		}
		same := slices.ContainsFunc(results(res), func(h graph.Hash) bool { return slices.Contains(before[target], h) })
		if same && !equalSpelling(from, mutant) {
			// The rule does not see the change. It need not, if the change makes no difference.
			if v := m.ask(mutant, target); v == nil || v.Failed() || v.Status == Unchecked {
				m.failed(mutant, "proof/mutant-matches", "the rule does not see that "+what, v)
				return
			}
			continue
		}
		key := fmt.Sprintf("%p %s %s", from.Pattern, place, target)
		if same || m.proven[key] {
			continue
		}
		m.proven[key] = true
		if v := m.ask(mutant, target); v != nil && v.Failed() {
			m.failed(mutant, "proof/mutant-matches", "the rule applies, and computes something else", v)
			return
		}
	}
	if !follows {
		m.refused++
	}
}

func (m *mutator) ask(in *Instance, target string) *Verdict {
	if m.judge == nil {
		return nil
	}
	m.judged++
	return m.judge(m.ctx, in, target)
}

func (m *mutator) fail(in *Instance, code, why string) { m.failed(in, code, why, nil) }

func (m *mutator) failed(in *Instance, code, why string, by *Verdict) {
	m.v.Status = Failed
	if m.v.Code == "" {
		m.v.Code = code
	}
	m.v.Why = append(m.v.Why, fmt.Sprintf("%s: %s", in.Where, why))
	if by != nil && by.Counter != nil && m.v.Counter == nil {
		m.v.Counter = by.Counter
	}
}

// targets are those where the rule applies to the instance. If nothing about the rule asks
// for the target, one stands for all.
func (in *Instance) targets(set *rules.Set) []string {
	var all []string
	for _, target := range Targets {
		if res, err := in.Rewrite(set, target); err == nil && sites(res) > 0 {
			all = append(all, target)
			if !asksForTarget(in.Rule, set) {
				break
			}
		}
	}
	return all
}

func asksForTarget(r *rules.Rule, set *rules.Set) bool {
	for _, g := range r.Guards {
		if slices.Contains(g.Names(), "target") {
			return true
		}
	}
	return false
}

// results are the hashes of what the rewritten cases compute, whatever inputs they have
// that they do not read.
func results(res *rewrite.Result) []graph.Hash {
	var all []graph.Hash
	for _, c := range res.Cases {
		if len(c.Sites) == 0 {
			continue
		}
		all = append(all, computes(c.After))
	}
	return all
}

func computes(g *graph.Graph) graph.Hash {
	values := g.ValueHashes()
	var all []byte
	for _, o := range g.Outputs() {
		all = append(all, values[o.Value][:]...)
	}
	return hashOf(all)
}

// equalSpelling reports whether two instances have one normal form.
func equalSpelling(a, b *Instance) bool {
	x, errX := normalForm(a.Program.Cases[0].Graph)
	y, errY := normalForm(b.Program.Cases[0].Graph)
	return errX == nil && errY == nil && x == y
}

func normalForm(g *graph.Graph) (graph.Hash, error) {
	c := g.Clone()
	if _, err := normal.Form(c); err != nil {
		return graph.Hash{}, err
	}
	return computes(c), nil
}

func hashOf(b []byte) graph.Hash { return sha256.Sum256(b) }
