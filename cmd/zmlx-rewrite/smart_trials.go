package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/decode"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/models"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/verify/sites"
)

// trials checks and times plans of a model's rules on this device: a choose.Bench.
type trials struct {
	*pair   // runner and model; its two sides are the plans that are timed
	a       *app
	o       *options
	smart   *smartOptions
	cfg     *rewrite.Config // of the profile
	device  ledger.Device
	checks  sites.Records
	fresh   map[string]bool   // replacements that were checked by this command
	refused map[string]string // rule -> why
	failed  map[string]bool   // of those, what is wrong
	spent   time.Duration     // on checks
	start   time.Time
	plans   map[string]*rewrite.Result
	loaded  []*loaded                // the last used first
	same    bool                     // the last two plans that were timed made the same tokens
	known   map[string]*ledger.Entry // rule -> what an interrupted first use found, or a capsule says
	line    *statusLine
	title   string // of the line
	pace    pace
}

// pace says how long a comparison of two plans takes.
type pace struct {
	few    int           // tokens that a run makes even if it takes longer
	run    time.Duration // how long one run need not be
	rounds int           // of which an interval is made, at the least
	short  bool          // a run may be one step that nothing comes before
}

// atLeisure is how smart times plans, inShort how a first use does. Fewer than five rounds
// say little where they differ little: three in a row are on one side by chance one time in
// four.
var (
	atLeisure = pace{few: 4, run: time.Second / 2, rounds: leastRounds}
	inShort   = pace{few: 1, run: time.Second / 50, rounds: 5, short: true}
)

// loaded is a plan that is ready to run.
type loaded struct {
	program string // hash
	gen     *decode.Generator
	done    func()
}

// keepLoaded is how many plans are in memory: the two that are timed, and the unrewritten one.
const keepLoaded = 3

// trials loads what smart works with. Close it when done.
func (a *app) trials(o *options, s *smartOptions) (*trials, error) {
	o.dims, o.unproven = nil, true // what was found before is found anew
	w, prof, all, err := a.rewriteAll(o)
	if err != nil {
		return nil, err
	}
	t := &trials{a: a, o: o, smart: s, cfg: all[0].cfg, fresh: map[string]bool{}, refused: map[string]string{}, failed: map[string]bool{}, plans: map[string]*rewrite.Result{}, known: map[string]*ledger.Entry{}, start: s.start, line: a.statusLine(), pace: atLeisure}
	t.title = prof.Name
	if s.firstUse {
		s.warmUp, s.depth, t.pace, t.title = 0, min(s.depth, 4), inShort, fmt.Sprintf("first use, %v at most (--no-ledger skips it)", firstUseTime)
		t.line.print("%s", t.title)
	}
	t.pair = &pair{planned: planned{s: all[0], w: w, profile: prof, o: o}}
	t.done = append(t.done, t.s.close)
	measureInFloat32(t.s.program)
	if t.runner, err = a.untold(t.s.subject, w.set.Kernels); err != nil {
		t.close()
		return nil, err
	}
	t.done = append(t.done, t.runner.close)
	if s.firstUse {
		t.warn = io.Discard // the run says so itself
	}
	t.device = deviceOf(t.engine)
	if t.vocab, err = vocabulary(t.s.program); err == nil {
		t.checks, err = sites.ReadRecords(recordsFile())
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *trials) close() {
	t.line.clear()
	for _, l := range t.loaded {
		l.done()
	}
	t.loaded = nil
	t.pair.close()
}

// plan rewrites the model with some rules.
func (t *trials) plan(on []string) (*rewrite.Result, error) {
	key := strings.Join(on, "\n")
	if res := t.plans[key]; res != nil {
		return res, nil
	}
	cfg := *t.cfg
	cfg.Rules, cfg.Off = only(t.cfg.Rules, on), nil
	res, err := runOrReplay(t.s.program, &cfg, "")
	if err != nil {
		return nil, err
	}
	t.plans[key] = res
	return res, nil
}

// Check checks each replacement of a plan of which nothing is known yet.
func (t *trials) Check(ctx context.Context, on []string) ([]string, error) {
	res, err := t.plan(on)
	if err != nil {
		return nil, err
	}
	list, err := sites.Distinct(res)
	if err != nil {
		return nil, err
	}
	var todo []*sites.Replacement
	if t.smart.firstUse { // exact weight layouts are proven to be right
		list = slices.DeleteFunc(list, func(x *sites.Replacement) bool { return layoutOnly(x.Rule) })
	}
	for _, x := range list {
		if rec := t.checks.Get(t.device, x, t.w.set.Kernels); (rec == nil || t.smart.fresh) && !t.fresh[x.Key] {
			todo = append(todo, x)
		}
	}
	if len(todo) > 0 {
		if err := t.check(ctx, res, todo); err != nil {
			return nil, err
		}
	}
	var refused []string
	for _, x := range list {
		name := x.Rule.Name
		switch rec := t.checks.Get(t.device, x, t.w.set.Kernels); {
		case rec == nil && t.smart.firstUse:
			continue // lookAtRules sees to it
		case rec == nil:
			if t.refused[name] == "" {
				t.refused[name] = "was not checked"
			}
		case rec.Verdict == sites.Failed:
			t.refused[name], t.failed[name] = rec.Reason, true
		default:
			continue
		}
		if !slices.Contains(refused, name) {
			refused = append(refused, name)
		}
	}
	return refused, nil
}

func (t *trials) check(ctx context.Context, res *rewrite.Result, todo []*sites.Replacement) error {
	if err := models.Derive(res.Program, t.model.Weights); err != nil {
		return err
	}
	budget := time.Duration(0)
	if t.smart.budget > 0 {
		budget = max(t.smart.budget-t.spent, 1) // of what there is no time for it says so
	}
	if left := (t.smart.limit - time.Since(t.start)) / 2; t.smart.limit > 0 && (budget == 0 || left < budget) { // half of it is for measurements
		budget = max(left, 1)
	}
	start := time.Now()
	c := &sites.Checker{Engine: t.engine, Catalog: t.w.set.Kernels, Keeps: t.launches, Program: res.Program, Weights: t.model.Weights, Places: 1}
	check := c.Check
	if t.smart.firstUse {
		check = inOrder(c)
	}
	var found []*sites.Record
	_, err := check(ctx, todo, budget, func(rep *sites.Report) {
		t.fresh[rep.Key] = true
		t.line.print("%s · checked: %s", t.title, rep.Rule.Short())
		if rep.Verdict == sites.Skipped {
			t.refused[rep.Rule.Name] = "was not checked: " + rep.Reason
			return
		}
		rec := sites.NewRecord(t.device, rep, t.w.set.Kernels)
		t.checks.Put(rec)
		found = append(found, rec)
	})
	t.spent += time.Since(start)
	t.a.log.Debug("checked", "replacements", len(todo), "took", time.Since(start))
	if len(found) > 0 {
		err = cmp.Or(err, sites.Keep(recordsFile(), found))
	}
	return err
}

// load makes a plan ready, and those that were not used for long give way.
func (t *trials) load(ctx context.Context, res *rewrite.Result) (*decode.Generator, error) {
	hash := res.Program.Hash().String()
	at := slices.IndexFunc(t.loaded, func(l *loaded) bool { return l.program == hash })
	if at >= 0 {
		l := t.loaded[at]
		t.loaded = slices.Insert(slices.Delete(t.loaded, at, at+1), 0, l)
		return l.gen, nil
	}
	for len(t.loaded) >= keepLoaded {
		last := len(t.loaded) - 1
		t.loaded[last].done()
		t.loaded = t.loaded[:last]
	}
	_, p, err := t.o.kv.programs(t.w, t.profile, t.o, &rewritten{subject: t.s.subject, cfg: t.cfg, res: res})
	if err == nil {
		err = t.derive(p)
	}
	if err != nil {
		return nil, err
	}
	g, done, err := t.generator(ctx, p)
	if err != nil {
		return nil, err
	}
	t.loaded = slices.Insert(t.loaded, 0, &loaded{hash, g, done})
	return g, nil
}

// errEnough ends rounds that say enough, or that there is no time for.
var errEnough = errors.New("enough")

// leastRounds is how many an interval is made of.
const leastRounds = bench.FewRounds + 1

// over reports whether the time of --limit is used up.
func (t *trials) over() bool { return t.smart.limit > 0 && time.Since(t.start) > t.smart.limit }

// steps makes n tokens behind one, and times them: their median, n times, so that what else
// the machine does tells little. The first time the caches are filled with the others of a
// list; later they go on growing, on both sides alike: filling them each time takes longer
// than what is timed.
func (t *trials) steps(ctx context.Context, g *decode.Generator, tokens []int, first bool, n int) (float64, []int, error) {
	last := len(tokens) - 1
	if first {
		if g.Reset(); last > 0 {
			if _, err := g.Generate(ctx, tokens, decode.Options{}); err != nil {
				return 0, nil, err
			}
		}
	}
	if t.pace.short && n == 1 { // of a slow step none is made for nothing
		r, err := g.Generate(ctx, tokens[last:], decode.Options{MaxTokens: 1})
		if err != nil {
			return 0, nil, err
		}
		return r.PromptTime.Seconds(), r.Tokens, nil
	}
	r, err := g.Generate(ctx, tokens[last:], decode.Options{MaxTokens: n + 1})
	if err != nil {
		return 0, nil, err
	}
	return medianStep(r.Times) * float64(len(r.Times)-1), r.Tokens, nil
}

// medianStep is what a step took of a run in which one or the other was interrupted.
func medianStep(at []time.Duration) float64 {
	steps := make([]float64, 0, len(at))
	for i := range at[1:] {
		steps = append(steps, (at[i+1] - at[i]).Seconds())
	}
	return bench.Median(steps)
}

// sameSteps reports whether two programs do the same in all steps of one token that are
// timed, whatever they do with prompts.
func (t *trials) sameSteps(a, b *graph.Program) bool {
	type pair struct{ x, y *graph.Graph }
	var last pair
	s := t.smart
	most := s.depth + (s.gen+1)*(1+2*(s.warmUp+s.rounds))
	for rows := s.depth + 1; rows <= most; rows++ {
		x, err1 := a.Select(step(a, int64(rows)))
		y, err2 := b.Select(step(b, int64(rows)))
		if err1 != nil || err2 != nil {
			return false
		}
		if now := (pair{x.Graph, y.Graph}); now != last {
			if last = now; x.Graph.Hash() != y.Graph.Hash() {
				return false
			}
		}
	}
	return true
}

// step gives the symbols of a call of one token, after which the caches hold so many rows.
func step(p *graph.Program, rows int64) map[string]int64 {
	up := func(n int64) int64 { return (n + 255) / 256 * 256 }
	env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: 1, graph.SymKVLen: rows, graph.SymKVCap: up(rows)}
	if w := int64(p.Window); w > 0 {
		env[graph.SymWindowLen], env[graph.SymWindowCap] = min(rows, w), min(up(rows), w)
	}
	return env
}

// Time times two plans in turns, in decoding.
func (t *trials) Time(ctx context.Context, without, with []string) (choose.Gain, bool, error) {
	var none choose.Gain
	a, err := t.plan(without)
	if err != nil {
		return none, false, err
	}
	b, err := t.plan(with)
	if err != nil {
		return none, false, err
	}
	if t.sameSteps(a.Program, b.Program) || t.over() {
		return none, false, nil
	}
	for side, res := range []*rewrite.Result{a, b} {
		if t.gens[side], err = t.load(ctx, res); err != nil {
			return none, false, fmt.Errorf("with %s: %w", ruleNames([][]string{without, with}[side]), err)
		}
	}
	t.a.log.Debug("loaded", "without", ruleNames(without), "with", ruleNames(with))
	s := t.smart
	tokens := randomTokens(s.seed, s.depth+1, t.vocab)
	n := s.gen
	var made [2][]int
	way := func(side int) func() (float64, error) {
		return func() (float64, error) {
			seconds, more, err := t.steps(ctx, t.gens[side], tokens, made[side] == nil, n)
			if err != nil {
				return 0, fmt.Errorf("with %s: %w", ruleNames([][]string{without, with}[side]), err)
			}
			made[side] = append(made[side], more...)
			return seconds, nil
		}
	}
	few, enough := min(t.pace.few, s.gen), s.gen // slow steps are timed well enough by few
	for side := range made {
		n = few
		seconds, err := way(side)()
		if err != nil {
			return none, false, err
		}
		enough = min(enough, int(t.pace.run.Seconds()/seconds*float64(few)))
	}
	n = max(few, enough)
	var runs []bench.Run
	err = bench.Turns(ctx, bench.Options{Rounds: s.rounds, WarmUp: s.warmUp}, way(0), way(1), func(round int, isB bool, seconds float64) error {
		if runs = append(runs, bench.Run{Round: round, B: isB, Seconds: seconds}); len(runs)%4 == 0 && (t.over() || clearly(bench.Ratios(runs))) {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough {
		return none, false, err
	}
	if ratios := bench.Ratios(runs); len(ratios) < t.pace.rounds && !clearly(ratios) {
		return none, false, nil // an interval of so few says nothing
	}
	t.same = slices.Equal(made[0], made[1])
	sum := bench.Summarise(runs, func(seconds float64) float64 { return seconds })
	t.a.log.Debug("timed", "without", ruleNames(without), "with", ruleNames(with), "ratio", sum.Ratio, "low", sum.Low, "high", sum.High, "rounds", sum.Rounds)
	return choose.Gain{Ratio: sum.Ratio, Low: sum.Low, High: sum.High, Rounds: sum.Rounds}, true, nil
}

// clearly reports whether more rounds would tell nothing new: those that were made differ by
// more than a tenth, all to the same side.
func clearly(ratios []float64) bool {
	if len(ratios) < leastRounds {
		return false
	}
	for _, r := range ratios {
		if math.Abs(math.Log(r)) < math.Log(1.1) || (r > 1) != (ratios[0] > 1) {
			return false
		}
	}
	return true
}

var _ choose.Bench = (*trials)(nil)
