package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/lockfile"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/routing"
	"zmlx-rewrite/measure/stress"
	"zmlx-rewrite/report/figures"
)

// stressOptions are the flags of the original's stress benchmark.
type stressOptions struct {
	prompts []string
	lengths []int
	runs    int
	warmUp  int
	out     string
	state   string
	format  string
	routing bool
}

func (a *app) stressCmd() *cobra.Command {
	var o options
	var s stressOptions
	c := &cobra.Command{
		Use:   "stress",
		Short: "Time long generations of several kinds of prompts, before and after; it can be interrupted",
		Long: "Stress makes text of each length from each kind of prompt, several times with the unrewritten and\n" +
			"the rewritten program in turns (A B, B A, ...), the end token ignored. It prints the medians of\n" +
			"each combination, their means by length and by kind of prompt, and whether all runs made the same\n" +
			"tokens, and writes a capsule. After every run its state is written, whole: after ctrl-C, or a\n" +
			"power cut, the same command goes on. Exit code 1: the rewritten program made other tokens.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.stress(c.Context(), &o, &s) },
	}
	o.flags(c)
	o.first = true
	o.dtypeFlag(c)
	o.kv.startFlag(c)
	f := c.Flags()
	f.StringSliceVar(&s.prompts, "prompts", stress.Kinds, "`kinds` of prompts; a list with commas")
	f.IntSliceVar(&s.lengths, "lengths", stress.Lengths, "`tokens` to make; a list with commas")
	f.IntVar(&s.runs, "runs", stress.Runs, "`runs` of each program in each combination")
	f.IntVar(&s.warmUp, "warm-up", 16, "`tokens` that each program makes first, after each start; 0 for none")
	f.StringVar(&s.out, "json-out", "stress.json", "`file` to write the capsule to")
	f.StringVar(&s.state, "state", "", "`file` for what has been measured so far; that of --json-out with .state at its end if left out")
	f.BoolVar(&s.routing, "routing", false, "say, too, which experts the tokens of each combination are sent to; that is not timed")
	f.StringVarP(&s.format, "output", "o", "md", "md, csv or json (one row a line, then one mean a line)")
	return c
}

func (s *stressOptions) check() error {
	if err := oneOf("output", s.format, "md", "csv", "json"); err != nil {
		return err
	}
	for _, k := range s.prompts {
		if _, ok := stress.Prompt(k); !ok {
			return diag.Errorf("usage/stress", diag.Pos{}, "no kind of prompt %q", k).WithHint("kinds: %s", strings.Join(stress.Kinds, ", "))
		}
	}
	unique := func(n int) bool { return n == len(s.prompts)*len(s.lengths) }
	var names []string
	for _, c := range stress.Cells(s.prompts, s.lengths) {
		if c.Made < 2 {
			return diag.Errorf("usage/stress", diag.Pos{}, "a length of %d tokens: at least 2 are needed to time one", c.Made).WithHint("such as --lengths 256,1024")
		}
		if !slices.Contains(names, c.Test) {
			names = append(names, c.Test)
		}
	}
	if len(names) == 0 || !unique(len(names)) || s.runs < 1 || s.warmUp < 0 {
		return diag.Errorf("usage/stress", diag.Pos{}, "stress needs kinds of prompts and lengths, each once, --runs of at least 1, and --warm-up of at least 0").WithHint("such as --prompts code,math --lengths 256,1024 --runs 5 --warm-up 16")
	}
	if s.state == "" {
		s.state = s.out + ".state"
	}
	if filepath.Clean(s.state) == filepath.Clean(s.out) {
		return diag.Errorf("usage/stress", diag.Pos{File: s.out}, "--state and --json-out are the same file").WithHint("leave --state out for %s.state", s.out)
	}
	return nil
}

func (a *app) stress(ctx context.Context, o *options, s *stressOptions) error {
	if err := s.check(); err != nil {
		return err
	}
	if o.model == "" {
		return needsModel("stress")
	}
	unlock, err := a.lock(s.out, s.state)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := a.pair(ctx, o, nil)
	if err != nil {
		return err
	}
	defer p.close()
	if p.tok, err = p.model.Tokenizer(); err != nil {
		return err
	}
	var t *tracer
	if s.routing {
		if o.kv.Bits > 0 {
			return diag.Errorf("usage/stress", diag.Pos{}, "routing is collected with plain caches, not with quantized ones").WithHint("leave --routing or --kv-bits out")
		}
		if t, err = p.tracer(ctx); err != nil {
			return err
		}
		defer t.close()
	}
	c, err := a.newCapsule(capsule.Stress, p)
	if err != nil {
		return err
	}
	if err := a.identify(ctx, p, c); err != nil {
		return err
	}
	c.Cells, c.WarmUp = stress.Cells(s.prompts, s.lengths), min(s.warmUp, 1)
	state, err := stress.Start(s.state, s.runs, s.routing, c)
	if err != nil {
		return err
	}
	if done, all := state.Done(); done > 0 {
		fmt.Fprintf(a.progress, "going on with %s: %d of %d runs are done\n", s.state, done, all)
	}
	err = a.stressRuns(ctx, p, t, state, s)
	if ctx.Err() != nil {
		done, all := state.Done()
		return &exitError{130, fmt.Sprintf("interrupted; %d of %d runs are kept in %s, and the same command goes on from there", done, all, s.state)}
	}
	if err != nil {
		return err
	}
	c = state.Capsule
	finishCapsule(c)
	c.Sum()
	if err := c.Write(s.out); err != nil {
		return err
	}
	if err := state.Finish(); err != nil {
		return err
	}
	if s.format == "md" {
		figures.Stress(a.stdout, c)
	} else if err := a.rows(s.format, figures.Rows("", c), figures.Means("", c)); err != nil {
		return err
	}
	fmt.Fprintf(a.progress, "capsule: %s\n", s.out)
	differ := 0
	for i := range c.Cells {
		if !c.Cells[i].Identical() {
			differ++
		}
	}
	if differ > 0 {
		return isFalse("%d of %d combinations made other tokens\n\t%s", differ, len(c.Cells), whoDiffers)
	}
	if other, tokens := figures.OtherExperts(c); other > 0 {
		return isFalse("%d of %d choices of experts are others after the rewrite", other, tokens)
	}
	return nil
}

// lock keeps other runs from the files that this one writes.
func (a *app) lock(files ...string) (release func(), err error) {
	var locks []*lockfile.Lock
	release = func() {
		for _, l := range locks {
			l.Release()
		}
	}
	who := fmt.Sprintf("process %d, which began at %s: zmlx-rewrite %s", os.Getpid(), time.Now().Format("2006-01-02 15:04:05"), strings.Join(a.args, " "))
	for _, file := range files {
		l, err := lockfile.Take(file, who)
		if err != nil {
			release()
			var held *lockfile.Held
			if errors.As(err, &held) {
				return nil, diag.Errorf("stress/busy", diag.Pos{File: file}, "%v", held).WithHint("wait for it to end, or name other files with --json-out and --state")
			}
			return nil, diag.Errorf("file/lock", diag.Pos{File: file}, "%v", err).WithHint("it is locked while it is measured for: name a file in a folder that can be written to")
		}
		locks = append(locks, l)
	}
	return release, nil
}

// routingStep is how many tokens a call takes whose routing is collected.
const routingStep = 512

// cell collects the routing of a sequence, for a capsule.
func (t *tracer) cell(ctx context.Context, tokens []int) ([]capsule.Routing, error) {
	var traces [2]routing.Trace
	for side := range sides {
		traces[side] = make(routing.Trace, len(t.layers))
		if err := t.trace(ctx, side, tokens, routingStep, traces[side]); err != nil {
			return nil, err
		}
	}
	var out []capsule.Routing
	for i, l := range t.layers {
		s := routing.Sum(routing.Short(l.Scope), l.Experts, l.K, traces[0][i])
		d := routing.Compare(traces[0][i:i+1], traces[1][i:i+1])
		out = append(out, capsule.Routing{Layer: s.Layer, K: s.K, Tokens: s.Tokens, Counts: s.Counts, Weights: s.Mixing, Other: d.Other})
	}
	return out, nil
}

// stressRuns makes the runs that are missing.
func (a *app) stressRuns(ctx context.Context, p *pair, tr *tracer, state *stress.State, s *stressOptions) error {
	line := a.statusLine()
	defer line.clear()
	t := &textOptions{}
	warm := true
	for {
		if i, made, ok := state.Unrouted(); ok {
			cell := &state.Capsule.Cells[i]
			done, all := state.Done()
			line.print("%s %d of %d · %s, routing%s", bar(int64(done), int64(all)), done, all, cell.Test, left(state.Left()))
			text, _ := stress.Prompt(cell.Prompt)
			prompt, err := p.prompt(text, t)
			if err != nil {
				return err
			}
			list, err := tr.cell(ctx, append(prompt, made...))
			if err != nil {
				return err
			}
			if err := state.KeepRouting(i, list); err != nil {
				return err
			}
		}
		i, b, round, ok := state.Next()
		if !ok {
			return nil
		}
		cell := &state.Capsule.Cells[i]
		text, _ := stress.Prompt(cell.Prompt)
		prompt, err := p.prompt(text, t)
		if err != nil {
			return err
		}
		if warm && s.warmUp > 0 { // once a start
			for side := range sides {
				if _, err := p.run(ctx, side, prompt, 0, s.warmUp); err != nil {
					return err
				}
			}
			warm = false
		}
		done, all := state.Done()
		side := 0
		if b {
			side = 1
		}
		line.print("%s %d of %d · %s, run %d, %s%s", bar(int64(done), int64(all)), done, all, cell.Test, round+1, sides[side], left(state.Left()))
		r, err := p.runFor(ctx, cell, side, prompt)
		if err != nil {
			return err
		}
		run := capsule.Run{Run: bench.Run{Round: round, B: b, Seconds: r.seconds, At: time.Since(state.Capsule.Made).Seconds()}, Prompt: r.prompt, Early: r.early, Late: r.late}
		if err := state.Keep(i, run, len(prompt), r.tokens); err != nil {
			return err
		}
	}
}
