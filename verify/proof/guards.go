package proof

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Codes of what is said of guards. The first two are lints.
const (
	CodeRedundant    = "guard-redundant"          // the rule is as right without it
	CodeDead         = "guard-dead"               // no model satisfies it
	CodeCostNeeded   = "proof/cost-guard"         // a guard under `cost` keeps out what would be wrong
	CodeInsufficient = "proof/guard-insufficient" // the rule applies where it is wrong
)

// Guards asks of each guard of a rule what it is for: dropped, it must let in a call for
// which the rule is wrong (judge finds it), or one that a kernel or the replacement refuses
// by itself; or it must stand under `cost` with a source for what was lost there. Else it
// is redundant. A guard that no model of the corpus satisfies is dead. The last verdict is
// about the edges of all guards together, those under cost left out: wherever the rule
// applies, it must be right.
func Guards(ctx context.Context, set *rules.Set, corpus *Corpus, all *Instances) []*Verdict {
	out := make([]*Verdict, len(all.Rule.Guards)+1)
	var wg sync.WaitGroup
	for i := range all.Rule.Guards {
		wg.Go(func() { out[i] = necessary(newJudge(ctx, set), corpus, all, &all.Rule.Guards[i]) })
	}
	if len(all.Rule.Guards) == 0 || len(all.All) == 0 {
		wg.Wait()
		return out[:len(out)-1]
	}
	out[len(out)-1] = sufficient(newJudge(ctx, set), all)
	wg.Wait()
	return out
}

// calls of judge for one guard, and for the edges of one instance.
const (
	maxAdmitted = 8
	maxEdges    = 4
)

// admitted is a call that a rule takes without one of its guards, and not with it.
type admitted struct {
	in     *Instance // of the rule without the guard
	at     point
	target string
}

func necessary(j *judge, corpus *Corpus, all *Instances, g *rules.Guard) *Verdict {
	set := j.set
	v := &Verdict{Check: CheckGuards, Method: "without " + g.Name}
	lint := func(code, format string, args ...any) *Verdict {
		v.Status, v.Code, v.Detail = Tested, code, fmt.Sprintf("%s (%s) ", g.Name, g.Text)+fmt.Sprintf(format, args...)
		return v
	}
	ok := func(format string, args ...any) *Verdict { return lint("", format, args...) }

	without := all.Rule.Without(g.Name)
	free, err := corpus.Instances(set, without)
	if err != nil {
		v.Status, v.Detail = Unchecked, err.Error()
		return v
	}
	if !lives(set, all) {
		if lives(set, free) {
			return lint(CodeDead, "holds at no call of a model that has the pattern")
		}
		v.Status, v.Detail = Unchecked, "no model has the pattern"
		return v
	}
	s := search{set: set, rule: all.Rule, without: without, guard: g.Name, codes: map[string]int{}}
	for _, in := range free.All {
		s.instance(in)
		s.instance(in.whenever())
		for _, x := range in.variants() {
			if c, err := in.as(x); err == nil {
				s.instance(c)
			}
		}
	}
	for _, in := range all.All { // places where the rule without it does not apply either are there, too
		for _, x := range in.variants() {
			if c, err := in.as(x); err == nil {
				s.instance(c)
			}
		}
	}
	v.Count = s.looked
	if s.training && makesByComputing(without) {
		return ok("is needed in training: what the rule computes of parameters when they are loaded would not learn")
	}
	if g.Cost { // it promises that there is nothing to be found
		j.samples = fewSamples
	}
	compared := 0
	picked := spread(s.found)
	for _, look := range []func(*Instance, string, point) *Verdict{j.values, j.bits} {
		n := 0
		j.left = judgedSteps
		for _, a := range picked {
			if n > 0 && j.spent() {
				break
			}
			n++
			w := look(a.in, a.target, a.at)
			if w.Status > Failed && w.Check == CheckEquivalence {
				compared++
			}
			if !w.Failed() || w.Check == CheckRounding && !j.sameChoices(all) {
				continue
			}
			v.Counter = w.Counter
			if g.Cost {
				ok("stands under cost, and without it the rule is wrong: %s", w.Detail)
				v.Status, v.Code = Failed, CodeCostNeeded
				return v
			}
			return ok("is needed: without it, %s", w.Detail)
		}
	}
	switch {
	case g.Cost && g.Source != "":
		return ok("is a matter of cost: %s", g.Source)
	case len(s.found) > 0 && compared == 0:
		ok("keeps out %d settings, of which none could be compared", len(s.found))
		v.Status = Unchecked
		return v
	case len(s.found) > 0:
		return lint(CodeRedundant, "keeps out %d settings where the rule is as right, such as %s, %s: say under cost what is lost there, with a source, or leave it out",
			len(s.found), s.found[0].in.Where, s.found[0].at)
	case len(s.codes) > 0:
		return ok("says what is refused without it, too: %s", join(sortedKeys(s.codes), 4))
	}
	return lint(CodeRedundant, "holds wherever the pattern matches")
}

// lives reports whether there is a call of an instance that its rule applies to.
func lives(set *rules.Set, all *Instances) bool {
	for _, in := range all.All {
		for _, target := range Targets {
			res, err := in.Rewrite(set, target)
			if err == nil && sites(res) > 0 && slices.ContainsFunc(in.points(res), func(p point) bool { return appliesAt(res, p) }) {
				return true
			}
		}
	}
	return false
}

// sameChoices reports whether the rule as it is keeps to the bits that judge.bits compares.
// If not, these say nothing about a guard.
func (j *judge) sameChoices(all *Instances) bool {
	if j.same == nil {
		same := j.keepsBits(all)
		j.same = &same
	}
	return *j.same
}

func (j *judge) keepsBits(all *Instances) bool {
	for i, in := range all.All {
		if i == maxEdges {
			break
		}
		for _, target := range in.targets(j.set) {
			if j.bits(in, target, nil).Failed() {
				return false
			}
		}
	}
	return true
}

// makesByComputing reports whether a rule makes parameters by more than moving bytes.
func makesByComputing(r *rules.Rule) bool {
	return slices.ContainsFunc(r.Weights, func(l rules.Line) bool {
		c, ok := l.Expr.(*syntax.Call)
		return ok && c.Fun == "increment"
	})
}

// spread picks settings of which few tell much: of each place of the corpus one, and of each
// change to a place one, before any gets a second turn. Else all would be the same change,
// such as a number moved by its last bit, which nothing shows. Of those that are left,
// those come first in which the fewest lengths are 1, and the smallest.
func spread(all []admitted) []admitted {
	list := slices.Clone(all)
	slices.SortStableFunc(list, func(a, b admitted) int { return cmp.Or(a.at.ones()-b.at.ones(), cmp.Compare(a.at.size(), b.at.size())) })
	places, changes := map[string]int{}, map[string]int{}
	var out []admitted
	for len(list) > 0 && len(out) < maxAdmitted {
		turns := func(a admitted) (int, int) {
			place, change, _ := strings.Cut(a.in.Where, ";")
			return places[place], changes[change]
		}
		best := 0
		for i := range list {
			p, c := turns(list[i])
			if q, d := turns(list[best]); p < q || p == q && c < d {
				best = i
			}
		}
		place, change, _ := strings.Cut(list[best].in.Where, ";")
		places[place]++
		changes[change]++
		out = append(out, list[best])
		list = slices.Delete(list, best, best+1)
	}
	return out
}

// whenever returns the instance as if the case of the model that it was taken from applied
// always.
func (in *Instance) whenever() *Instance {
	c := *in
	c.When = graph.True
	c.Program = program(in.Program.Cases[0].Graph, graph.True, nil)
	c.Program.Params = in.Program.Params
	return &c
}

// search looks for settings that a guard keeps out.
type search struct {
	set           *rules.Set
	rule, without *rules.Rule
	guard         string

	looked   int
	found    []admitted
	training bool           // there is one in training
	codes    map[string]int // why settings that the guard keeps out are refused without it
}

func (s *search) instance(in *Instance) {
	for _, training := range []bool{false, true} {
		for _, target := range Targets {
			s.setting(in, guard.Setting{Target: target, Training: training, TPSize: 1})
			if !s.asks("target") {
				break
			}
		}
		if !s.asks("training") {
			break
		}
	}
}

func (s *search) asks(name string) bool {
	for _, g := range s.rule.Guards {
		if g.Name == s.guard && slices.Contains(g.Names(), name) {
			return true
		}
	}
	return false
}

func (s *search) setting(in *Instance, to guard.Setting) {
	s.looked++
	free, errFree := rewriteFor(s.set, s.without, in.Program, to)
	with, errWith := rewriteFor(s.set, s.rule, in.Program, to)
	if errFree != nil || errWith != nil {
		return
	}
	if sites(free) == 0 {
		for _, c := range with.Cases {
			for _, r := range c.Whole(s.rule) {
				if r.Guard == s.guard && (r.Code == rewrite.CodeGuard || r.Code == rewrite.CodeUnknown) {
					s.refused(free)
					return
				}
			}
		}
		return
	}
	n := 0
	for _, p := range in.points(free, with) {
		if !appliesAt(free, p) || appliesAt(with, p) {
			continue
		}
		if to.Training {
			s.training = true
			return
		}
		if n++; n <= maxAdmitted {
			c := *in
			c.Rule = s.without
			s.found = append(s.found, admitted{&c, p, to.Target})
		}
	}
}

// refused notes why the rule does not apply without the guard.
func (s *search) refused(res *rewrite.Result) {
	for _, c := range res.Cases {
		for _, r := range c.Whole(s.without) {
			if r.Code != rewrite.CodeGuard { // another guard says nothing of this one
				what := r.Code
				if r.Guard != "" {
					what += " " + r.Guard
				}
				s.codes[what]++
			}
		}
	}
}

func rewriteFor(set *rules.Set, r *rules.Rule, p *graph.Program, to guard.Setting) (*rewrite.Result, error) {
	return rewrite.Run(p, &rewrite.Config{Set: set, Rules: []*rules.Rule{r}, Setting: to})
}

// sufficient compares pattern and replacement at the edges of what the guards let in.
func sufficient(j *judge, all *Instances) *Verdict {
	v := &Verdict{Check: CheckGuards, Status: Tested, Method: "edges"}
	right := withoutCost(all.Rule)
	judged := 0
	for _, one := range all.All {
		in := one.whenever()
		in.Rule = right
		for _, target := range in.targets(j.set) {
			res, err := in.Rewrite(j.set, target)
			if err != nil {
				continue
			}
			list := in.points(res)
			v.Count += len(list)
			for i, p := range atEdges(list, func(p point) bool { return appliesAt(res, p) }) {
				if i > 0 && j.spent() {
					break
				}
				judged++
				if w := j.values(in, target, p); w.Failed() {
					v.Status, v.Code, v.Counter = Failed, CodeInsufficient, w.Counter
					v.Detail = fmt.Sprintf("the guards let in %s: %s", p, w.Detail)
					return v
				}
			}
		}
	}
	v.Detail = fmt.Sprintf("%d calls around the guards' edges, of which %d were compared", v.Count, judged)
	return v
}

// atEdges picks points where a rule applies: the largest, those beside points where it
// does not, and the smallest.
func atEdges(all []point, applies func(point) bool) []point {
	var in []point
	for _, p := range all {
		if applies(p) {
			in = append(in, p)
		}
	}
	if len(in) <= maxEdges {
		return in
	}
	out := []point{in[0], in[len(in)-1]}
	for i := len(in) - 2; i > 0 && len(out) < maxEdges; i-- {
		if beside(in[i], all, applies) {
			out = append(out, in[i])
		}
	}
	return out
}

// beside reports whether the next larger value of one symbol leaves what applies.
func beside(p point, all []point, applies func(point) bool) bool {
	for _, q := range all {
		up := 0
		for name, x := range p {
			switch y := q[name]; {
			case y == x:
			case y == x+1:
				up++
			default:
				up = 3
			}
		}
		if up == 1 && !applies(q) {
			return true
		}
	}
	return false
}
