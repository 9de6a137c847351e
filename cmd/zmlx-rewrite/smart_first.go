package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/sites"
)

// firstUseTime is what checks and timings of a first use may take together.
const firstUseTime = 20 * time.Second

// lookAtRules does what is due when a model is first run on a device: what the rules that the
// profile has on put into it is checked, and those that come through are timed, until the
// time is up. What was found before it was interrupted is kept, and not looked for again.
func (a *app) lookAtRules(ctx context.Context, t *trials, s *smartOptions) error {
	place := t.place()
	before, err := ledger.Read(ledgerFile())
	if err != nil {
		return err
	}
	known, err := readPrior(capsuleFiles)
	if err != nil {
		return err
	}
	list, err := t.due(before, known, place)
	if err != nil {
		return err
	}
	s.budget = s.limit / 2 // for checks
	timed, cancel := context.WithDeadline(ctx, t.start.Add(s.limit))
	defer cancel()
	result := &choose.Result{}
	if err = t.checked(timed, list); err == nil {
		result, err = choose.Search(timed, list, t, false, func(out *choose.Outcome) error {
			t.line.print("%s · timed: %s", t.title, t.w.set.Rule(out.Name).Short())
			return ledger.Update(ledgerFile(), func(l ledger.Ledger) { a.enter(l, place, t, s, out) })
		})
	}
	t.line.clear()
	if ctx.Err() != nil {
		return ctx.Err() // the next run goes on
	}
	use := &ledger.FirstUse{Place: place, Seconds: time.Since(t.start).Seconds(), When: now(), Command: a.args}
	if err != nil && timed.Err() == nil {
		use.Problem = err.Error()
	}
	for _, out := range result.Outcomes {
		if e := t.known[out.Name]; e != nil {
			out.Verdict, out.Gain = e.Verdict, &e.Gain
		}
	}
	f := t.table(result)
	for i := range f.Rules {
		if r := &f.Rules[i]; !t.failed[r.Rule] && (r.Reason == noTime || t.refused[r.Rule] != "") {
			use.Left = append(use.Left, r.Rule)
		}
	}
	if wrote := ledger.Update(ledgerFile(), func(l ledger.Ledger) {
		for name, e := range t.known {
			if !t.failed[name] {
				l.Put(e)
			}
		}
		l.Use(use)
	}); wrote != nil {
		return wrote
	}
	if use.Problem != "" {
		return err
	}
	fmt.Fprintln(a.progress, t.inOneLine(result, use))
	return a.smartPrint(f, s.format)
}

// inOneLine says what a first use found.
func (t *trials) inOneLine(result *choose.Result, use *ledger.FirstUse) string {
	count := map[choose.Verdict]int{}
	for _, out := range result.Outcomes {
		count[out.Verdict]++
	}
	from := ""
	if n := len(t.known); n > 0 {
		from = fmt.Sprintf(", %d of these known before", n)
	}
	text := fmt.Sprintf("first use of this model here: its rules were checked and timed, %.0f s: %d faster, %d slower and off, %d even%s", use.Seconds, count[choose.Faster], count[choose.Slower], count[choose.Even], from)
	if n := len(t.failed); n > 0 {
		text += fmt.Sprintf(", %d wrong and off", n)
	}
	if n := len(use.Left); n > 0 {
		text += fmt.Sprintf(", %d not reached and as the profile has them", n)
	}
	return text + " (explain says more, smart measures longer, --no-ledger does without)"
}

// due lists the rules that the profile has on, or a capsule, those that can win or lose the
// most first. An exact weight layout is not timed, nor is what was timed before, here or for
// a capsule on such a device, or what has kernels that the engine does not launch: that is
// slow, and not for good.
func (t *trials) due(l ledger.Ledger, capsules prior, at ledger.Place) ([]choose.Rule, error) {
	var list []choose.Rule
	var on []string
	launched := false
	for _, r := range t.cfg.Rules {
		e := l.Get(at, r, t.w.set.Kernels)
		if e == nil {
			e = capsules.get(at, r, t.w.set.Kernels)
		}
		if r.Numerics == kernels.Lossy || t.cfg.Off[r.Name] != "" && (e == nil || e.Verdict != choose.Faster) {
			continue
		}
		x := choose.Rule{Name: r.Name, On: true}
		switch runs := t.launchesAll(r); {
		case layoutOnly(r), !runs:
			x.Keep = true
		case e != nil:
			x.Keep, x.On, t.known[r.Name] = true, e.Verdict != choose.Slower, e
			fallthrough
		default:
			launched = launched || len(r.Kernels) > 0
		}
		list, on = append(list, x), append(on, r.Name)
	}
	if !launched {
		return nil, diag.Errorf("smart/kernels", diag.Pos{}, "no kernel of profile %s is launched by %s on %s", t.profile.Name, t.engine.Name(), t.engine.Device()).
			WithHint("zmlx-rewrite doctor says what is missing")
	}
	res, err := t.plan(on)
	if err != nil {
		return nil, err
	}
	stake, err := t.stakes(res)
	slices.SortStableFunc(list, func(x, y choose.Rule) int { return cmp.Compare(stake[y.Name], stake[x.Name]) })
	return list, err
}

// stakes estimates how much of a decode step each rule of a plan has in its hands: the
// weights that its replacements read, and for each launch that it saves as many as are read
// in the time of one.
func (t *trials) stakes(res *rewrite.Result) (map[string]int64, error) {
	c, err := res.Program.Select(oneStep(1))
	if err != nil {
		return nil, nil // it has no such step
	}
	all, err := sites.Distinct(res)
	if err != nil {
		return nil, err
	}
	launch := int64(1) << 24 // elements that a GPU reads in some microseconds
	if t.engine.Device() == "cpu" {
		launch = 1 << 17
	}
	stake := map[string]int64{}
	for _, x := range all {
		elements := x.Elements()
		for _, u := range x.Uses {
			if u.Case == c.Name {
				stake[x.Rule.Name] += elements + max(0, int64(u.Saved))*launch
			}
		}
	}
	return stake, nil
}

// checked checks the plan of a list of rules. Those that there was no time for are not timed.
func (t *trials) checked(ctx context.Context, list []choose.Rule) error {
	var on []string
	for _, r := range list {
		if r.On {
			on = append(on, r.Name)
		}
	}
	if _, err := t.Check(ctx, on); err != nil {
		return err
	}
	res, err := t.plan(on)
	if err != nil {
		return err
	}
	all, err := sites.Distinct(res)
	if err != nil {
		return err
	}
	for _, x := range all {
		if !layoutOnly(x.Rule) && t.checks.Get(t.device, x, t.w.set.Kernels) == nil && inStep(res.Program, x) {
			at := slices.IndexFunc(list, func(r choose.Rule) bool { return r.Name == x.Rule.Name })
			list[at].Keep = true
			if t.refused[x.Rule.Name] == "" {
				t.refused[x.Rule.Name] = "was not checked: the time was used up"
			}
		}
	}
	return nil
}

// inStep reports whether a replacement is in the case that a decode step runs.
func inStep(p *graph.Program, x *sites.Replacement) bool {
	c, err := p.Select(oneStep(1))
	return err == nil && slices.Contains(x.Cases(), c.Name)
}

// inOrder checks in short, and not the cheapest first: the larger part of the budget is for
// the few replacements whose first call takes long, and those of the decode step come before
// the others.
func inOrder(c *sites.Checker) func(context.Context, []*sites.Replacement, time.Duration, func(*sites.Report)) ([]*sites.Report, error) {
	return func(ctx context.Context, list []*sites.Replacement, budget time.Duration, done func(*sites.Report)) ([]*sites.Report, error) {
		share, end := max(budget/time.Duration(4*len(list)), 1), time.Now().Add(budget)
		var all []*sites.Report
		for _, inside := range []bool{true, false} {
			for _, x := range list {
				if inStep(c.Program, x) != inside {
					continue
				}
				if time.Now().After(end) {
					done(&sites.Report{Replacement: x, Verdict: sites.Skipped, Reason: "the time was used up"})
					continue
				}
				reports, err := c.Check(ctx, []*sites.Replacement{x}, share, done)
				if all = append(all, reports...); err != nil {
					return all, err
				}
			}
		}
		return all, nil
	}
}

// layoutOnly reports whether all that a rule does is to lay out weights in another way, which
// verify proves to be exact.
func layoutOnly(r *rules.Rule) bool { return r.Numerics == kernels.Exact && len(r.Kernels) == 0 }

func (t *trials) launchesAll(r *rules.Rule) bool {
	return !slices.ContainsFunc(r.Kernels, func(name string) bool {
		s := t.w.set.Kernels.Spec(name)
		return s == nil || !t.launches(s)
	})
}
