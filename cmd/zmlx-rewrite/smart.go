package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/rules"
)

// smartOptions are the flags of smart beyond those that choose a rewrite.
type smartOptions struct {
	depth, gen, rounds, warmUp int
	seed                       uint64
	budget, limit              time.Duration
	fresh                      bool
	firstUse                   bool
	format                     string
	start                      time.Time
}

func (a *app) smartCmd() *cobra.Command {
	var o options
	var s smartOptions
	c := &cobra.Command{
		Use:   "smart",
		Short: "Measure which rules pay on this device, and use those from now on",
		Long: "Smart checks what each rule puts into the model, as verify --device does, and times the rules of\n" +
			"the profile that are right, in decoding one token at a time: each alone against the unrewritten\n" +
			"model, and the plan with it against the plan without it, in rounds of A B B A. It begins with the\n" +
			"profile's plan. A rule is dropped if all of the 95 % interval of its gain lies below 1, and one that\n" +
			"the profile has off is added if all of it lies above 1. What was found is kept, for the device, the\n" +
			"version of MLX, the program, the profile, and the rule and its kernels as they are: apply, generate\n" +
			"and whatever else plans use it. --force RULE and --no-ledger overrule it.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.smart(c.Context(), &o, &s) },
	}
	o.flags(c)
	o.dtypeFlag(c)
	o.adapterFlag(c)
	f := c.Flags()
	f.IntVarP(&s.gen, "n-gen", "n", 16, "`tokens` to make in each run; fewer, but not under 4, where that takes long")
	f.IntVarP(&s.depth, "n-depth", "d", 16, "`tokens` in the caches before the first run; they grow with each")
	f.IntVarP(&s.rounds, "repetitions", "r", 5, "`rounds` of A B B A that count; a difference of a tenth in each of the first three is enough")
	f.IntVar(&s.warmUp, "warm-up", 1, "`rounds` before them that do not")
	f.Uint64Var(&s.seed, "seed", 1, "of the random tokens")
	f.DurationVar(&s.budget, "budget", 60*time.Second, "`time` for all checks of replacements; a rule with one that was not checked is not timed; 0 is as long as it takes")
	f.DurationVar(&s.limit, "limit", 0, "`time` for checks and measurements together; what is left out stays unmeasured, and no rule is timed alone; 0 is as long as it takes")
	f.BoolVar(&s.firstUse, "first-use", false, "do what the first run of a model does by itself: look at the rules that the profile has on, in short; --limit is 20s unless given")
	f.BoolVar(&s.fresh, "fresh", false, "check again what has been checked before")
	f.StringVarP(&s.format, "output", "o", "text", "text or json")
	return c
}

// smartFound is what smart found, as JSON; fields may be added, these stay.
type smartFound struct {
	Model      string        `json:"model" jsonschema:"as it was named"`
	Profile    string        `json:"profile" jsonschema:"of rules"`
	Device     ledger.Device `json:"device" jsonschema:"that was measured on"`
	Depth      int           `json:"depth" jsonschema:"tokens in the caches before the first run"`
	Tokens     int           `json:"tokens" jsonschema:"made in each run at most"`
	Rules      []smartRule   `json:"rules" jsonschema:"in order of preference"`
	ToProfile  *choose.Gain  `json:"against_profile,omitempty" jsonschema:"the chosen plan against that of the profile; absent if it is that"`
	ToOriginal *choose.Gain  `json:"against_unrewritten,omitempty" jsonschema:"the chosen plan against the unrewritten model; absent if nothing is rewritten"`
	Same       *bool         `json:"tokens_identical,omitempty" jsonschema:"to those of the unrewritten model; absent if the two were not run"`
	Ledger     string        `json:"ledger" jsonschema:"file that it is kept in"`
	FirstUse   bool          `json:"first_use,omitempty" jsonschema:"rules were looked at in short"`
	Cut        bool          `json:"interrupted,omitempty" jsonschema:"ctrl-C ended it early: rules that were not reached say so, and the chosen plan was not timed as a whole"`
}

type smartRule struct {
	Rule   string       `json:"rule" jsonschema:"full name"`
	State  string       `json:"state" jsonschema:"what was found, and whether it is on"`
	Gain   *choose.Gain `json:"gain,omitempty" jsonschema:"beside the other rules; absent if it was not timed so"`
	Alone  *choose.Gain `json:"alone,omitempty" jsonschema:"against no rules at all; absent if it was not timed so"`
	Reason string       `json:"reason,omitempty" jsonschema:"why it was not checked or timed, or what failed"`
}

func (a *app) smart(ctx context.Context, o *options, s *smartOptions) error {
	if err := oneOf("output", s.format, "text", "json"); err != nil {
		return err
	}
	if o.model == "" {
		return needsModel("smart")
	}
	if s.gen < 1 || s.gen > 1<<20 || s.depth < 0 || s.depth > 1<<20 || s.rounds < 3 || s.warmUp < 0 {
		return diag.Errorf("usage/smart", diag.Pos{}, "smart makes -n tokens, 1 to %d, behind -d, in at least three rounds (-r): an interval of fewer says nothing", 1<<20).WithHint("such as -n 16 -d 16 -r 3")
	}
	if o.preset != "inference" {
		return diag.Errorf("usage/smart", diag.Pos{}, "preset %s is not what smart measures", o.preset).WithHint("it measures inference; leave --preset out")
	}
	if o.target != engineTarget() {
		return diag.Errorf("usage/target", diag.Pos{}, "smart measures on this device, which is %s, not %s", engineTarget(), o.target).WithHint("leave --target out")
	}
	if s.start = time.Now(); s.firstUse && s.limit == 0 {
		s.limit = firstUseTime - sparing
	}
	t, err := a.trials(o, s)
	if err != nil {
		return err
	}
	defer t.close()
	if s.firstUse {
		return a.lookAtRules(ctx, t, s)
	}
	var list []choose.Rule
	for _, r := range t.cfg.Rules {
		if r.Numerics != kernels.Lossy {
			list = append(list, choose.Rule{Name: r.Name, On: t.cfg.Off[r.Name] == ""})
		}
	}
	place := t.place()
	done, reached := 0, map[string]bool{}
	result, err := choose.Search(ctx, list, t, s.limit == 0, func(out *choose.Outcome) error {
		done++
		reached[out.Name] = true
		t.line.print("%s · %d of %d rules · %s", t.title, min(done, len(list)), len(list), out.Name)
		return ledger.Update(ledgerFile(), func(l ledger.Ledger) { a.enter(l, place, t, s, out) })
	})
	t.line.clear()
	if err != nil && ctx.Err() != nil {
		return a.smartCut(t, result, reached)
	}
	if err != nil {
		return err
	}
	f := t.table(result)
	t.smart.limit = 0 // what it comes to in all is said in any case
	g, ok, err := t.Time(ctx, []string{}, result.On)
	if err != nil && ctx.Err() != nil {
		return a.smartCut(t, result, reached)
	}
	if err != nil {
		return err
	}
	same := true
	if f.Same = &same; ok {
		f.ToOriginal, same = &g, t.same
	}
	return a.smartPrint(f, s.format)
}

// smartCut says what an interrupted search has found. The ledger has it: each rule was entered
// when its turn was over.
func (a *app) smartCut(t *trials, result *choose.Result, reached map[string]bool) error {
	timed := 0
	for _, out := range result.Outcomes {
		if out.Gain != nil {
			timed++
		}
		if !reached[out.Name] && !out.Refused && t.refused[out.Name] == "" {
			t.refused[out.Name] = "not reached"
		}
	}
	f := t.table(result)
	f.Cut = true
	if err := a.smartPrint(f, t.smart.format); err != nil {
		return err
	}
	text := fmt.Sprintf("interrupted; %d of %d rules had their turn", len(reached), len(result.Outcomes))
	if timed > 0 {
		text += fmt.Sprintf(", and what was measured of %d is kept in %s, which plans go by; the plan that they make was not timed as a whole", timed, f.Ledger)
	}
	return &exitError{130, text + ". The same command measures anew, and checks nothing twice"}
}

func (a *app) smartPrint(f *smartFound, format string) error {
	if format == "json" {
		return a.json(f)
	}
	a.smartText(f)
	return nil
}

// place is where rules are timed.
func (t *trials) place() ledger.Place {
	return ledger.Place{Device: t.device, Model: t.s.program.Name, Program: t.s.program.Hash().String(), Profile: t.profile.Name}
}

// table is what was found of each rule.
func (t *trials) table(result *choose.Result) *smartFound {
	f := &smartFound{Model: t.s.name, Profile: t.profile.Name, Device: t.device, Depth: t.smart.depth, Tokens: t.smart.gen, Rules: []smartRule{}, ToProfile: result.Change, Ledger: ledgerFile(), FirstUse: t.smart.firstUse}
	for _, out := range result.Outcomes {
		r := smartRule{Rule: out.Name, Gain: out.Gain, Alone: out.Alone, Reason: t.refused[out.Name]}
		// A plan uses what could not be checked as the profile says.
		on := out.Stays() || out.Refused && out.On && !t.failed[out.Name]
		r.State = state(t.w.set.Rule(out.Name), on, t.failed[out.Name], out.Verdict)
		if r.Reason == "" && out.Gain == nil && !out.Keep {
			r.Reason = t.idle(out)
		}
		f.Rules = append(f.Rules, r)
	}
	return f
}

// enter writes an outcome into a ledger.
func (a *app) enter(l ledger.Ledger, at ledger.Place, t *trials, s *smartOptions, out *choose.Outcome) {
	if out.Gain == nil {
		// What there was no time for may be known from before.
		if !t.over() && (!out.Refused || t.failed[out.Name]) {
			l.Drop(at, out.Name)
		}
		return
	}
	r := t.w.set.Rule(out.Name)
	l.Put(&ledger.Entry{Place: at, Rule: r.Name, RuleHash: r.Hash, Kernels: ledger.Kernels(r, t.w.set.Kernels), Verdict: out.Verdict, Gain: *out.Gain, Alone: out.Alone,
		With: out.With, Depth: s.depth, Tokens: s.gen, When: now(), Command: a.args, FirstUse: s.firstUse})
}

// smartText prints what was found for people.
func (a *app) smartText(f *smartFound) {
	fmt.Fprintf(a.stdout, "%s · profile %s · %s · %d tokens, one a step, behind %d\n", f.Model, f.Profile, f.Device, f.Tokens, f.Depth)
	gain := func(g *choose.Gain) string {
		if g == nil {
			return "-"
		}
		return g.String()
	}
	rule, st, with := len("rule"), len("state"), len("with it / without")
	for _, r := range f.Rules {
		rule, st, with = max(rule, len(r.Rule)), max(st, len(r.State)), max(with, len(gain(r.Gain)))
	}
	fmt.Fprintf(a.stdout, "  %-*s  %-*s  %-*s  alone\n", rule, "rule", st, "state", with, "with it / without")
	for _, r := range f.Rules {
		last := gain(r.Alone)
		if r.Reason != "" {
			last += "  " + r.Reason
		}
		fmt.Fprintf(a.stdout, "  %-*s  %-*s  %-*s  %s\n", rule, r.Rule, st, r.State, with, gain(r.Gain), last)
	}
	if f.ToProfile != nil {
		fmt.Fprintf(a.stdout, "  %s times as fast as the profile's plan\n", f.ToProfile)
	}
	switch {
	case f.FirstUse:
	case f.Cut:
		fmt.Fprintln(a.stdout, "  interrupted")
		return // where it is kept, if anything is, is said with it
	case f.ToOriginal == nil:
		fmt.Fprintln(a.stdout, "  nothing is rewritten")
	case *f.Same:
		fmt.Fprintf(a.stdout, "  %s times as fast as unrewritten, the same tokens\n", f.ToOriginal)
	default:
		fmt.Fprintf(a.stdout, "  %s times as fast as unrewritten, other tokens\n", f.ToOriginal)
	}
	fmt.Fprintf(a.stdout, "kept in %s\n", f.Ledger)
}

// noTime is why a rule was not timed that could have been.
const noTime = "there was no time"

// idle says why a rule was not timed beside the others.
func (t *trials) idle(out *choose.Outcome) string {
	res, err := t.plan([]string{out.Name})
	switch {
	case err == nil && res.Program.Hash() == t.s.program.Hash():
		return "matches nothing"
	case err == nil && t.sameSteps(res.Program, t.s.program):
		return "matches in prompts only"
	case t.over():
		return noTime
	}
	return "other rules have its places"
}

// ruleNames are those of a set, for a log.
func ruleNames(on []string) string {
	if len(on) == 0 {
		return "no rules"
	}
	return strings.Join(on, ", ")
}

// only returns the rules of a list that are on, in its order.
func only(list []*rules.Rule, on []string) []*rules.Rule {
	return slices.DeleteFunc(slices.Clone(list), func(r *rules.Rule) bool { return !slices.Contains(on, r.Name) })
}
