package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels/author"
	"zmlx-rewrite/models"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// options are the flags by which a rewrite is chosen; several subcommands share them.
type options struct {
	profile, preset, model, target string
	home, replay                   string
	rules, only, exclude, force    []string
	kernels                        []string
	dims                           []string
	dtype                          string    // of commands that run a model
	adapter                        string    // a folder, of commands that make text or show a plan
	kv                             kvOptions // of commands that look at the program with a quantized cache
	unproven                       bool      // plan as the profile says, whatever was found on this device
	unmeasured                     bool      // likewise, but for what failed
	none                           bool      // no rules at all
	flagsGiven                     string    // of what something is compared with: the flags that say it
	batch                          int       // sequences side by side, of bench; 0: one
	first                          bool      // of commands that look at the rules of a model that was never run here
}

func (o *options) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.profile, "profile", "", "`profile`: which rules to use; chosen from the model if left out; \"all\" is every rule file")
	f.StringVar(&o.preset, "preset", "inference", "inference, training, minimal (exact rules only) or all (also rules that are off)")
	f.StringArrayVar(&o.rules, "rules", nil, "rule `file or folder` to use over the built-in ones, by name; may be repeated")
	f.StringArrayVar(&o.only, "only", nil, "use only this `rule`; may be repeated")
	f.StringArrayVar(&o.exclude, "exclude", nil, "leave this `rule` out; may be repeated")
	f.StringArrayVar(&o.force, "force", nil, "turn on this `rule` though the profile has it off; may be repeated")
	f.StringVar(&o.model, "model", "", "`model`: a Hugging Face or MLX folder, a hub id in the local cache, a .gguf, config.json, .mlxfn or .zg file, or a reference configuration such as Qwen3-30B-A3B-4bit")
	f.StringSliceVar(&o.dims, "dims", nil, "`symbols` of the call, such as batch=1,seq_len=1; only the case that they select is shown")
	f.StringVar(&o.target, "target", defaultTarget(), "metal, cuda or cpu")
	f.BoolVar(&o.unmeasured, "no-ledger", false, "use the rules that the profile has on, whatever smart measured on this device")
	f.StringVar(&o.home, "home", "", "`folder` to take rules/, profiles/ and kernels/ from, in place of the working folder")
	f.StringArrayVar(&o.kernels, "kernels", nil, "`folder` of kernels to use over the built-in ones; may be repeated")
}

// dtypeFlag is for commands that run a model.
func (o *options) dtypeFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.dtype, "dtype", "", "convert all floating-point parameters to this `type`, so that activations have it: float32, float16 or bfloat16")
}

// adapterFlag is for commands that make text or show a plan.
func (o *options) adapterFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.adapter, "adapter-path", "", "`folder` of an adapter that mlx_lm.lora wrote: LoRA, DoRA, or whole weights")
}

// workspace is the rules, kernels and profiles that a command works with.
type workspace struct {
	set      *rules.Set
	profiles []*profiles.Profile
	notes    []string // for people: which files of the working folder are used
	known    *found   // what was found on this machine; see workspace.asFound
}

func (a *app) workspace(o *options) (*workspace, error) {
	dirs := o.kernels
	home := "."
	if o.home != "" {
		if info, err := os.Stat(o.home); err != nil || !info.IsDir() {
			return nil, diag.Errorf("home/missing", diag.Pos{File: o.home}, "is not a folder").WithHint("--home names a folder that has rules/, profiles/ or kernels/ in it")
		}
		home = o.home
		if info, err := os.Stat(home + "/kernels"); err == nil && info.IsDir() {
			dirs = append([]string{home + "/kernels"}, dirs...)
		}
	}
	catalog, issues := author.Load(dirs...)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	set, issues := rules.Load(home, o.rules, catalog)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	profs, issues := profiles.Load(home)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	w := &workspace{set: set, profiles: profs}
	for _, f := range set.Files {
		a.log.Debug("rules", "file", f.Path, "hash", f.Hash[:12])
	}
	for _, f := range set.Files {
		if !f.Builtin {
			w.notes = append(w.notes, fmt.Sprintf("rules from %s (%s)", f.Path, f.Hash[:12]))
		}
	}
	for _, p := range profs {
		if !p.Builtin {
			w.notes = append(w.notes, fmt.Sprintf("profile from %s (%s)", p.Source, p.Hash[:12]))
		}
	}
	for _, s := range catalog.All() {
		if !strings.HasPrefix(s.Source, "builtin/") {
			w.notes = append(w.notes, fmt.Sprintf("kernel from %s (%s)", s.Source, s.Hash[:12]))
		}
	}
	return w, nil
}

// profile returns the profile that was asked for, or the one for a program.
func (w *workspace) profile(name string, p *graph.Program) (*profiles.Profile, error) {
	if name == "all" {
		all := &profiles.Profile{Name: "all", Doc: "every rule of every file"}
		for _, r := range w.set.Rules() {
			all.Rules = append(all.Rules, profiles.Use{Rule: r.Name})
		}
		return all, nil
	}
	var names []string
	for _, prof := range w.profiles {
		if prof.Name == name || name == "" && p != nil && slices.Contains(prof.Models, p.Name) {
			return prof, prof.Check(w.set).Err()
		}
		names = append(names, prof.Name)
	}
	hint := "profiles: " + strings.Join(names, ", ") + "; --profile all uses every rule"
	if name == "" {
		what := "no --profile and no --model is given"
		if p != nil {
			what = fmt.Sprintf("no profile is for models of type %s", p.Name)
		}
		return nil, diag.Errorf("profile/none", diag.Pos{}, "%s", what).WithHint("%s", hint)
	}
	if near := diag.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return nil, diag.Errorf("profile/unknown", diag.Pos{}, "no profile %q", name).WithHint("%s", hint)
}

// config chooses the rules for one rewrite.
func (w *workspace) config(prof *profiles.Profile, o *options) (*rewrite.Config, error) {
	if !slices.Contains(profiles.Presets, o.preset) {
		return nil, oneOf("preset", o.preset, profiles.Presets...)
	}
	if !slices.Contains([]string{"metal", "cuda", "cpu"}, o.target) {
		return nil, oneOf("target", o.target, "metal", "cuda", "cpu")
	}
	choice := prof.Choose(w.set, o.preset, o.target, o.force)
	for _, list := range [][]string{o.only, o.exclude, o.force} {
		for _, s := range list {
			if !slices.ContainsFunc(choice.Rules, func(r *rules.Rule) bool { return named([]string{s}, r) }) {
				var names []string
				for _, r := range choice.Rules {
					names = append(names, r.Name)
				}
				return nil, diag.Errorf("usage/rule", diag.Pos{}, "profile %s has no rule %q", prof.Name, s).WithHint("its rules: %s", strings.Join(names, ", "))
			}
		}
	}
	cfg := &rewrite.Config{Set: w.set, Setting: guard.Setting{Target: o.target, Training: o.preset == "training", TPSize: 1}, Off: choice.Off}
	for _, r := range choice.Rules {
		if o.none || len(o.only) > 0 && !named(o.only, r) || named(o.exclude, r) {
			continue
		}
		cfg.Rules = append(cfg.Rules, r)
	}
	return cfg, nil
}

// named reports whether a list of a flag names a rule, with or without its family.
func named(list []string, r *rules.Rule) bool {
	return slices.ContainsFunc(list, func(s string) bool { return s == r.Name || s == r.Short() })
}

// subject is one program to rewrite, with how often its rules are expected to match.
type subject struct {
	name    string
	program *graph.Program
	model   *models.Model // nil for reference configurations, .zg and .mlxfn
	expect  *profiles.Expectation
}

// subjects returns what a command works on: the model that was named, or the
// reference configurations of the profile. Close their models when done.
func (a *app) subjects(w *workspace, o *options) (*profiles.Profile, []*subject, error) {
	if o.model == "" {
		prof, err := w.profile(o.profile, nil)
		if err != nil {
			return nil, nil, err
		}
		var list []*subject
		expect := prof.Expected(o.target)
		if prof.Name == "all" {
			for _, p := range w.profiles {
				expect = append(expect, p.Expected(o.target)...)
			}
		}
		for i := range expect {
			s, err := referenceSubject(expect[i].Model, &expect[i])
			if err != nil {
				return nil, nil, err
			}
			if prof.Name == "all" {
				s.expect = nil
			}
			list = append(list, s)
		}
		if len(list) == 0 {
			return nil, nil, diag.Errorf("profile/no-reference", diag.Pos{File: prof.Source}, "profile %s has no reference models", prof.Name).WithHint("name a model with --model")
		}
		return prof, list, nil
	}
	s, err := a.loadAs(o.model, o.dtype, o.adapter, w)
	if err != nil {
		return nil, nil, err
	}
	prof, err := w.profile(o.profile, s.program)
	if err != nil {
		s.close()
		return nil, nil, err
	}
	for _, e := range prof.Expected(o.target) {
		if p, err := reference(e.Model); err == nil && sameShapes(p, s.program) {
			s.expect = &e
		}
	}
	return prof, []*subject{s}, nil
}

func (s *subject) close() {
	if s.model != nil {
		s.model.Close()
	}
}

// referenceSubject is a reference configuration as a subject.
func referenceSubject(name string, expect *profiles.Expectation) (*subject, error) {
	p, err := reference(name)
	if err != nil {
		return nil, err
	}
	return &subject{name: name, program: p, expect: expect}, nil
}

func reference(name string) (*graph.Program, error) {
	if err := models.ReferenceError(name); err != nil {
		return nil, err
	}
	cfg, ok := models.ReferenceConfig(name)
	if !ok {
		return nil, noReference(name, models.ReferenceNames())
	}
	return models.Build(cfg, nil)
}

func noReference(name string, known []string) error {
	issue := diag.Errorf("profile/unknown-model", diag.Pos{}, "no reference model %q", name)
	if near := diag.Nearest(name, known); near != "" {
		return issue.WithHint("did you mean %s?", near)
	}
	return issue.WithHint("reference models: %s", strings.Join(known, ", "))
}

// sameShapes reports whether two programs are the same model up to element types:
// that is when the reference's expectations hold for it.
func sameShapes(a, b *graph.Program) bool {
	return a.Name == b.Name && slices.EqualFunc(a.Params, b.Params, func(x, y *graph.Param) bool {
		return x.Name == y.Name && slices.Equal(x.Type.Shape, y.Type.Shape)
	})
}

// symbols reads --dims.
func (o *options) symbols() (map[string]int64, error) {
	env := map[string]int64{}
	for _, d := range o.dims {
		name, text, ok := strings.Cut(d, "=")
		n, err := strconv.ParseInt(text, 10, 32)
		if !ok || err != nil || n < 1 || name == "" {
			return nil, diag.Errorf("usage/dims", diag.Pos{}, "%q is not symbol=number", d).WithHint("for one token of one sequence: --dims batch=1,seq_len=1")
		}
		env[name] = n
	}
	return env, nil
}

// selected reports whether --dims selects a case: the first whose condition holds. A
// call of which no kv_len is said is the first one: it sees its own tokens.
func selected(res *rewrite.Result, env map[string]int64) ([]int, error) {
	var all []int
	if n, ok := env[graph.SymSeqLen]; ok && env[graph.SymKVLen] == 0 {
		env = maps.Clone(env)
		env[graph.SymKVLen] = n
	}
	env = res.Program.WithWindow(env)
	for i, c := range res.Cases {
		if len(env) == 0 {
			all = append(all, i)
			continue
		}
		ok, err := c.When.Eval(env)
		if err != nil {
			return nil, diag.Errorf("usage/dims", diag.Pos{}, "case %s needs %s: %v", c.Name, c.When, err).WithHint("give the symbol in --dims")
		}
		if ok {
			return []int{i}, nil
		}
	}
	if len(all) == 0 {
		return nil, diag.Errorf("usage/dims", diag.Pos{}, "no case applies for %v", slices.Sorted(maps.Keys(env))).WithHint("for one token of one sequence: --dims batch=1,seq_len=1")
	}
	return all, nil
}

func defaultTarget() string { return cmp.Or(os.Getenv("ZMLX_TARGET"), engineTarget()) }
