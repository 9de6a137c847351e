package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rewrite"
)

func (a *app) applyCmd() *cobra.Command {
	var o options
	var out []string
	var format string
	c := &cobra.Command{
		Use:   "apply",
		Short: "Plan and apply the rules of a profile; say what matched, and why the rest did not",
		Long: "Apply rewrites a model, or without --model the reference configurations of the profile, and\n" +
			"prints for each case how often each rule matched. It fails if a rule matches more or less\n" +
			"often than the profile expects, or if no rule matches at all.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.apply(&o, format, out) },
	}
	o.flags(c)
	o.adapterFlag(c)
	o.kv.kvFlags(c)
	c.Flags().StringVar(&o.replay, "replay", "", "journal `file` of an earlier rewrite: apply the rules that it names, and fail at the first difference")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json (one object per model and case, one a line)")
	c.Flags().StringArrayVar(&out, "out", nil, "`file` to write the result to: .zg, .mlxfn or .journal.json; may be repeated")
	return c
}

// rewritten is one subject after its rewrite.
type rewritten struct {
	*subject
	cfg   *rewrite.Config
	res   *rewrite.Result
	plans []*report.Plan // of the selected cases
}

// rewriteAll rewrites all subjects of a command. Close them when done.
func (a *app) rewriteAll(o *options) (*workspace, *profiles.Profile, []*rewritten, error) {
	return a.rewriteEach(o, func(*workspace, *profiles.Profile, *subject) error { return nil })
}

// rewriteToRun is rewriteAll for a model that is to be run: if it never was on this device,
// its rules are looked at first.
func (a *app) rewriteToRun(ctx context.Context, o *options) (*workspace, *profiles.Profile, []*rewritten, error) {
	return a.rewriteEach(o, func(w *workspace, prof *profiles.Profile, s *subject) error { return a.firstUse(ctx, w, prof, s, o) })
}

func (a *app) rewriteEach(o *options, first func(*workspace, *profiles.Profile, *subject) error) (*workspace, *profiles.Profile, []*rewritten, error) {
	w, err := a.workspace(o)
	if err != nil {
		return nil, nil, nil, err
	}
	env, err := o.symbols()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := o.kv.check(); err != nil {
		return nil, nil, nil, err
	}
	prof, list, err := a.subjects(w, o)
	if err != nil {
		return nil, nil, nil, err
	}
	prof = o.kv.settle(prof)
	var all []*rewritten
	for _, s := range list {
		err := first(w, prof, s)
		start := time.Now()
		var r *rewritten
		if err == nil {
			err = o.kv.change(s)
		}
		if err == nil {
			r, err = rewriteOne(w, prof, o, s, env)
		}
		a.log.Debug("rewritten", "model", s.name, "took", time.Since(start))
		if err != nil {
			for _, s := range list {
				s.close()
			}
			return nil, nil, nil, err
		}
		all = append(all, r)
	}
	return w, prof, all, nil
}

func rewriteOne(w *workspace, prof *profiles.Profile, o *options, s *subject, env map[string]int64) (*rewritten, error) {
	cfg, err := w.config(prof, o)
	if err != nil {
		return nil, err
	}
	res, err := runOrReplay(s.program, cfg, o.replay)
	if err != nil {
		return nil, err
	}
	off := cfg.Off
	res, known, err := w.asFound(s.program, prof, cfg, o, res)
	if err != nil {
		return nil, err
	}
	if err := res.Program.Verify(); err != nil {
		return nil, fmt.Errorf("%s: the rewritten program is broken, a bug in this program: %w", s.name, err)
	}
	r := &rewritten{s, cfg, res, nil}
	chosen, err := selected(res, env)
	if err != nil {
		return nil, err
	}
	// Expectations hold for the case that their own dimensions select, and with all rules.
	contract := -1
	if s.expect != nil && maps.Equal(cfg.Off, off) && o.kv.Bits == 0 && o.preset == "inference" && len(o.only)+len(o.exclude)+len(o.force) == 0 {
		if one, err := selected(res, s.expect.Dims); err == nil {
			contract = one[0]
		}
	}
	for _, i := range chosen {
		var expect *profiles.Expectation
		if i == contract {
			expect = s.expect
		}
		p := report.NewPlan(res, &res.Cases[i], cfg, s.name, prof.Name, o.preset, expect)
		p.KVCache = o.kv.account(s.program)
		known.states(p, cfg.Rules)
		r.plans = append(r.plans, p)
	}
	return r, nil
}

// planGCPercent is GOGC while a plan is made: nearly all that it allocates lives as long as
// the plan, and looking for garbage took as long as planning.
const planGCPercent = 400

// runOrReplay rewrites by the chosen rules, or as a journal says.
func runOrReplay(p *graph.Program, cfg *rewrite.Config, journal string) (*rewrite.Result, error) {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(planGCPercent))
	}
	if journal == "" {
		return rewrite.Run(p, cfg)
	}
	data, err := readLimited(journal, maxText)
	if err != nil {
		return nil, err
	}
	j, err := rewrite.ReadJournal(journal, data)
	if err != nil {
		return nil, err
	}
	res, err := j.Replay(p, cfg)
	var issue *diag.Issue
	switch {
	case errors.As(err, &issue):
		return nil, isFalse("%s: %v", journal, issue)
	case err != nil:
		return nil, err
	}
	return res, nil
}

func (a *app) apply(o *options, format string, out []string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	for _, path := range out {
		if outputKind(path) == "" {
			return diag.Errorf("usage/out", diag.Pos{File: path}, "the ending says nothing about the format").WithHint("use .zg, .mlxfn or .journal.json")
		}
	}
	w, prof, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	if len(out) > 0 && len(all) > 1 {
		return diag.Errorf("usage/out", diag.Pos{}, "--out writes one program, and profile %s has %d reference models", prof.Name, len(all)).WithHint("name one with --model")
	}
	if format == "text" {
		if o.profile == "" {
			fmt.Fprintf(a.stdout, "profile %s, chosen for model type %s\n", prof.Name, all[0].program.Name)
		}
		for _, n := range w.notes {
			fmt.Fprintln(a.stdout, n)
		}
	}
	var unmet []string
	for _, r := range all {
		defer r.close()
		matches := 0
		for _, p := range r.plans {
			if format == "json" {
				if err := p.JSON(a.stdout); err != nil {
					return err
				}
			} else {
				p.Text(a.stdout)
			}
			matches += p.Matches()
			unmet = append(unmet, p.Unmet()...)
		}
		if matches == 0 {
			text := r.name + ": no rule matches"
			if m := nearest(r.plans); m != "" {
				text += "; nearest miss: " + m
			}
			unmet = append(unmet, text)
		}
		for _, path := range out {
			if err := a.write(path, r, o); err != nil {
				return err
			}
		}
	}
	if len(unmet) > 0 {
		return isFalse("%s", strings.Join(unmet, "\n"))
	}
	return nil
}

func nearest(plans []*report.Plan) string {
	best := ""
	most := -1.0
	for _, p := range plans {
		for _, r := range p.Rules {
			for i := range r.NearMisses {
				m := &r.NearMisses[i]
				if share := float64(m.Matched) / float64(max(1, m.Of)); share > most {
					best, most = r.Name+" at "+m.String(), share
				}
			}
		}
	}
	return best
}

func outputKind(path string) string {
	for _, end := range []string{".journal.json", ".zg", ".mlxfn"} {
		if strings.HasSuffix(path, end) {
			return end
		}
	}
	return ""
}

// write writes the result of a rewrite, whole or not at all.
func (a *app) write(path string, r *rewritten, o *options) error {
	switch outputKind(path) {
	case ".journal.json":
		data, err := r.res.Journal(r.cfg).Bytes()
		if err != nil {
			return err
		}
		return writeFile(path, data)
	case ".zg":
		return writeFile(path, r.res.Program.Text())
	}
	_, err := exportProgram(path, r.res.Program, r.cfg.Set.Kernels, o)
	return err
}
