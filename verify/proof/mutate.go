package proof

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Codes of failed mutations.
const (
	CodeMutant = "proof/mutant-matches" // the rule applies to a changed pattern, and is wrong there
	CodeBroken = "proof/broken"         // rewriting fails
)

// Mutations changes one thing at a time in each instance of a rule's patterns, and looks
// whether the rule still applies. It should not. Where it does, the change must be within
// the rule's own language, as of an attribute that a $variable stands for, and what the
// rule makes of it must compute the same. A mutant of which the rule makes the very same
// graph as of the pattern is right only if it computes what the pattern does.
//
// Guards under `cost` are left out: the rule must be right without them. Count is the
// changes; those that are no program, by the types of its ops, do not count.
func Mutations(ctx context.Context, set *rules.Set, all *Instances) *Verdict {
	v := &Verdict{Check: CheckMutations, Status: Tested, Method: "enumeration"}
	rule := withoutCost(all.Rule)
	var parts []*mutator
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.GOMAXPROCS(0))
	for _, p := range all.Patterns {
		m := &mutator{ctx: ctx, set: set, judge: newJudge(ctx, set), proven: map[string]bool{}, keeps: map[*Instance]bool{}, kinds: map[string]int{}, v: &Verdict{}}
		parts = append(parts, m)
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			for _, in := range all.All {
				if in.Pattern == p && ctx.Err() == nil {
					c := *in
					c.Rule = rule
					m.instance(&c)
				}
			}
		})
	}
	wg.Wait()
	refused, follow, judged, skipped, kinds := 0, 0, 0, 0, map[string]int{}
	for _, m := range parts {
		refused, follow, judged, skipped = refused+m.refused, follow+m.follow, judged+m.judged, skipped+m.skipped
		for kind, n := range m.kinds {
			kinds[kind] += n
		}
		if m.v.Status == Failed && !v.Failed() {
			v.Status, v.Code, v.Counter = Failed, m.v.Code, m.v.Counter
		}
		v.Why = append(v.Why, m.v.Why...)
	}
	v.Count = refused + follow
	switch {
	case v.Failed():
		v.Detail = v.Why[0]
	case ctx.Err() != nil:
		v.Status, v.Detail = Unchecked, "stopped: "+ctx.Err().Error()
	case v.Count == 0:
		v.Status, v.Detail = Unchecked, "no pattern of the rule has an instance"
	default:
		v.Detail = fmt.Sprintf("%d changes: %d keep the rule off; it follows %d, of which %d were compared, for each place one", v.Count, refused, follow, judged)
		if skipped > 0 {
			v.Detail += fmt.Sprintf("; %d places were not, for their size", skipped)
		}
		for _, kind := range sortedKeys(kinds) {
			v.Why = append(v.Why, fmt.Sprintf("%d of %s", kinds[kind], kind))
		}
	}
	return v
}

// withoutCost returns a rule without the guards that keep it to where it pays.
func withoutCost(r *rules.Rule) *rules.Rule {
	for _, g := range r.Guards {
		if g.Cost {
			r = r.Without(g.Name)
		}
	}
	return r
}

// mutator changes the instances of one pattern.
type mutator struct {
	ctx   context.Context
	set   *rules.Set
	judge *judge
	v     *Verdict

	refused, follow, judged, skipped int
	kinds                            map[string]int
	proven                           map[string]bool    // places of which a change was judged
	keeps                            map[*Instance]bool // instances at which the rule keeps to the choices of the pattern
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
			m.fail(mutant, CodeBroken, fmt.Sprintf("rewriting fails: %v", err))
			return
		}
		if sites(res) == 0 {
			continue
		}
		if !follows {
			follows = true
			m.follow++
		}
		if kind == mutReader || kind == mutOutput { // it would be computed twice
			m.fail(mutant, CodeMutant, "the rule applies, though an inner value is used outside")
			return
		}
		same := slices.ContainsFunc(results(res), func(h graph.Hash) bool { return slices.Contains(before[target], h) })
		if same && !equalSpelling(from, mutant) {
			// The rule does not see the change. It need not, if the change makes no difference.
			m.judged++
			if v := m.judge.values(mutant, target, nil); v.Status <= Failed {
				m.failed(mutant, CodeMutant, "the rule does not see that "+what, v)
				return
			}
			continue
		}
		key := place + " " + target
		if same || m.proven[key] {
			continue
		}
		m.proven[key] = true
		if m.judge.spent() {
			m.skipped++
			continue
		}
		m.judged++
		v := m.judge.values(mutant, target, nil)
		if v.Status == Assumed && kind == mutVariable {
			v = m.choices(from, mutant, target, v)
		}
		if v.Failed() {
			m.failed(mutant, CodeMutant, "the rule applies, and computes something else", v)
			return
		}
	}
	if !follows {
		m.refused++
	}
}

// choices compares what a rule chooses at a mutant by more samples, if it keeps to the
// choices of the pattern where nothing is changed: one sample seldom shows another score.
func (m *mutator) choices(from, mutant *Instance, target string, v *Verdict) *Verdict {
	defer func(n int) { m.judge.samples = n }(m.judge.samples)
	m.judge.samples = choiceSamples
	if keeps, known := m.keeps[from]; known && !keeps {
		return v
	} else if !known {
		m.keeps[from] = !m.judge.bits(from, target, nil).Failed()
	}
	if m.keeps[from] {
		if w := m.judge.bits(mutant, target, nil); w.Failed() {
			return w
		}
	}
	return v
}

// choiceSamples is how many samples show what is chosen.
const choiceSamples = 24

func (m *mutator) fail(in *Instance, code, why string) { m.failed(in, code, why, nil) }

func (m *mutator) failed(in *Instance, code, why string, by *Verdict) {
	m.v.Status = Failed
	if m.v.Code == "" {
		m.v.Code = code
	}
	if len(m.v.Why) < maxWhy {
		m.v.Why = append(m.v.Why, fmt.Sprintf("%s: %s", in.Where, why))
	}
	if by != nil && by.Counter != nil && m.v.Counter == nil {
		m.v.Counter = by.Counter
	}
}

// maxWhy bounds what is listed of one pattern.
const maxWhy = 20

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
