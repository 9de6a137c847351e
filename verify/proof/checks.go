package proof

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rules"
)

// Subject is a rule that is checked, with what checks look at.
type Subject struct {
	Set    *rules.Set
	Rule   *rules.Rule
	Corpus *Corpus
	// Instances are those of the rule; a check that needs none must do without.
	Instances *Instances
	Kernels   KernelOptions
}

// Check is one of the questions that are asked of every rule. It may be answered in parts,
// such as one for each guard.
type Check struct {
	Name string
	Run  func(ctx context.Context, s *Subject) []*Verdict
}

// Checks are all checks, from cheap to dear.
var Checks = []Check{
	{CheckInstances, func(_ context.Context, s *Subject) []*Verdict { return alone(patterns(s.Instances)) }},
	{CheckSelfMatch, func(_ context.Context, s *Subject) []*Verdict { return alone(SelfMatch(s.Set, s.Instances)) }},
	{CheckMutations, func(ctx context.Context, s *Subject) []*Verdict { return alone(Mutations(ctx, s.Set, s.Instances)) }},
	{CheckEquivalence, func(ctx context.Context, s *Subject) []*Verdict {
		return alone(Equivalence(ctx, s.Set, s.Instances.All))
	}},
	{CheckSymmetry, func(ctx context.Context, s *Subject) []*Verdict {
		return alone(Symmetry(ctx, s.Set, s.Instances.All))
	}},
	{CheckRounding, func(ctx context.Context, s *Subject) []*Verdict {
		return alone(Rounding(ctx, s.Set, s.Rule, s.Instances.All))
	}},
	{CheckKernel, func(ctx context.Context, s *Subject) []*Verdict {
		return alone(Kernels(ctx, s.Set, s.Rule, s.Instances, s.Kernels))
	}},
	{CheckGuards, func(ctx context.Context, s *Subject) []*Verdict {
		return Guards(ctx, s.Set, s.Corpus, s.Instances)
	}},
}

func alone(v *Verdict) []*Verdict { return []*Verdict{v} }

// Report is what the checks say of one rule, in the order of Checks.
type Report struct {
	Set       *rules.Set
	Rule      *rules.Rule
	Instances *Instances // nil if there is an error
	Verdicts  []*Verdict
	Took      time.Duration
}

// Status is that of the weakest verdict of a rule: failed, if one failed.
func (r *Report) Status() Status {
	worst := Proven
	for _, v := range r.Verdicts {
		if v.Status == Failed {
			return Failed
		}
		worst = min(worst, v.Status)
	}
	return worst
}

// ask runs a check. One that breaks is a bug of this program, and has shown nothing.
func (c *Check) ask(ctx context.Context, s *Subject) (verdicts []*Verdict) {
	defer func() {
		if p := recover(); p != nil {
			verdicts = alone((&Verdict{}).fail("proof/broken", "the check broke, a bug in this program: %v", p))
			verdicts[0].Why = []string{string(debug.Stack())}
		}
	}()
	return c.Run(ctx, s)
}

// Rewritten returns what becomes of an instance by its rule, on the first target where it
// applies; nil if there is none.
func (r *Report) Rewritten(in *Instance) *graph.Graph {
	for _, target := range Targets {
		res, err := in.Rewrite(r.Set, target)
		if err != nil {
			continue
		}
		for _, c := range res.Cases {
			if len(c.Sites) > 0 {
				return c.After
			}
		}
	}
	return nil
}

// Examine asks all checks about a rule, side by side. A check that fails does not keep the
// others from being asked, but without an instance there is nothing to ask but whether a
// guard is why. The error is that of the context.
func Examine(ctx context.Context, s *Subject) (*Report, error) {
	start := time.Now()
	out := &Report{Set: s.Set, Rule: s.Rule}
	in, err := s.Corpus.Instances(s.Set, s.Rule)
	if err != nil {
		out.Verdicts = []*Verdict{{Check: CheckInstances, Status: Failed, Code: "proof/pattern", Detail: err.Error()}}
		return out, ctx.Err()
	}
	with := *s
	with.Instances, out.Instances = in, in
	checks := Checks
	if len(in.All) == 0 {
		checks = slices.DeleteFunc(slices.Clone(Checks), func(c Check) bool { return c.Name != CheckInstances && c.Name != CheckGuards })
	}
	verdicts := make([][]*Verdict, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			began := time.Now()
			verdicts[i] = c.ask(ctx, &with)
			for k, v := range verdicts[i] {
				if v.Check = c.Name; k == 0 {
					v.Took = time.Since(began) // of all parts
				}
			}
		})
	}
	wg.Wait()
	out.Verdicts = slices.Concat(verdicts...)
	out.Took = time.Since(start)
	return out, ctx.Err()
}

// patterns says whether each pattern of a rule has an instance: nothing can be said of a
// pattern that is never seen.
func patterns(in *Instances) *Verdict {
	v := &Verdict{Status: Proven, Method: "places in models", Count: len(in.All)}
	v.Detail = fmt.Sprintf("%s of %s", counted(len(in.All), "instance"), counted(len(in.Patterns), "pattern"))
	if len(in.Unseen) == 0 {
		return v
	}
	v.Status, v.Code = Unchecked, "proof/unseen"
	if len(in.All) == 0 {
		v.Status, v.Code = Failed, "proof/no-instance"
	}
	v.Detail = fmt.Sprintf("%d of %s: no instance is known", len(in.Unseen), counted(len(in.Patterns), "pattern"))
	for _, u := range in.Unseen {
		v.Why = append(v.Why, fmt.Sprintf("%s: %v", strings.ReplaceAll(strings.TrimSpace(u.Pattern.String()), "\n", "; "), u.Reason))
	}
	return v
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
