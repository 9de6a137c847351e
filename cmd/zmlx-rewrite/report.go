package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/stress"
	"zmlx-rewrite/report/figures"
	"zmlx-rewrite/rewrite"
)

func (a *app) reportCmd() *cobra.Command {
	var o options
	var format, out string
	var verify, still bool
	c := &cobra.Command{
		Use:   "report CAPSULE...",
		Short: "Print capsules, compare several, or find out whether one still holds",
		Long: "Report prints what capsules of bench and stress hold, and several side by side. As html it is one\n" +
			"file with its drawings in it, which asks nothing of any network. With --verify it holds a capsule\n" +
			"against this machine: its schema, its journal replayed with the rules of today, the kernels' hashes,\n" +
			"the weights' hash, and the tokens, which are made again. Exit code 1: something differs.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			if verify {
				for _, f := range files {
					if err := a.verifyCapsule(c.Context(), &o, f, !still); err != nil {
						return err
					}
				}
				return nil
			}
			return a.report(files, format, out)
		},
	}
	f := c.Flags()
	f.StringVarP(&format, "output", "o", "md", "md, csv, json (one row a line) or html")
	f.StringVar(&out, "out", "", "`file` to write to, in place of standard output")
	f.BoolVar(&verify, "verify", false, "say whether the capsule still reproduces")
	f.BoolVar(&still, "no-run", false, "with --verify: do not make the tokens again")
	f.StringVar(&o.model, "model", "", "with --verify: the `model`, if it is not where the capsule says")
	f.StringVar(&o.home, "home", "", "with --verify: `folder` to take rules/, profiles/ and kernels/ from, in place of the working folder")
	f.StringArrayVar(&o.rules, "rules", nil, "with --verify: rule `file or folder` to use over the built-in ones")
	f.StringArrayVar(&o.kernels, "kernels", nil, "with --verify: `folder` of kernels to use over the built-in ones")
	return c
}

func capsules(files []string) ([]figures.Named, error) {
	var all []figures.Named
	var issues diag.List
	for _, f := range files {
		c, err := capsule.Read(f)
		var issue *diag.Issue
		if errors.As(err, &issue) {
			issues = append(issues, issue)
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, figures.Named{File: f, Capsule: c})
	}
	return all, issues.Err()
}

func (a *app) report(files []string, format, out string) error {
	if err := oneOf("output", format, "md", "csv", "json", "html"); err != nil {
		return err
	}
	all, err := capsules(files)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if format == "csv" || format == "json" {
		var rows []figures.Row
		for _, n := range all {
			rows = append(rows, figures.Rows(n.File, n.Capsule)...)
		}
		if format == "csv" {
			err = figures.CSV(&b, rows)
		} else {
			err = figures.JSON(&b, rows)
		}
	} else if format == "html" {
		err = figures.HTML(&b, all)
	} else {
		figures.Report(&b, all)
	}
	if err != nil {
		return err
	}
	return a.put(out, b.Bytes())
}

// put writes to a file, whole, or to standard output if there is none.
func (a *app) put(file string, data []byte) error {
	if file != "" {
		return writeFile(file, data)
	}
	_, err := a.stdout.Write(data)
	return err
}

// verifyCapsule says of each thing that a capsule promises whether it holds here and now.
func (a *app) verifyCapsule(ctx context.Context, o *options, file string, run bool) error {
	c, err := capsule.Read(file)
	if err != nil {
		return err
	}
	plain := &recorded{before: c.Rewrite.Before, after: c.Rewrite.After}
	if err := plain.read(file, c.Rewrite.Unpack); err != nil {
		return err
	}
	var quantized *recorded
	if q := c.Rewrite.Quantized; q != nil {
		quantized = &recorded{which: " with a quantized cache", before: q.Before, after: q.After}
		if err := quantized.read(file, q.Unpack); err != nil {
			return err
		}
	}
	bad := 0
	say := func(ok bool, what, format string, args ...any) {
		mark := "ok      "
		if !ok {
			mark = "differs "
			bad++
		}
		fmt.Fprintf(a.stdout, "%s%s: %s\n", mark, what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(a.stdout, "%s\n", file)
	say(true, "schema", "version %d", c.Version)
	one := *o
	if one.model == "" {
		one.model = c.Model.Name
	}
	one.profile, one.preset, one.target, one.dtype = c.Rewrite.Profile, c.Rewrite.Preset, c.Rewrite.Target, c.Model.DType
	w, err := a.workspace(&one)
	if err != nil {
		return err
	}
	s, err := a.loadAs(one.model, one.dtype, w)
	if err != nil {
		return err
	}
	defer s.close()
	if s.model == nil || s.model.Weights == nil {
		return diag.Errorf("model/no-weights", diag.Pos{File: one.model}, "has no weights").WithHint("name the model's folder with --model")
	}
	if kv := c.Rewrite.KV; kv != nil {
		if err := checkKV(kv); err != nil {
			return err
		}
		one.kv.Bits, one.kv.GroupSize, one.kv.start, one.kv.size, one.kv.beside = kv.Bits, kv.GroupSize, kv.Start, kv.Size, true
		if err := one.kv.withRings(s); err != nil {
			return err
		}
		if kv.Bits > 0 && quantized == nil && run {
			run = false
			fmt.Fprintln(a.stdout, "note    tokens: not made again, since the capsule does not have the programs with a quantized cache")
		}
	}
	if quantized != nil && one.kv.Bits == 0 {
		return diag.Errorf("capsule/invalid", diag.Pos{File: file}, "has programs with a quantized cache, and does not say how it was quantized")
	}
	sha, of, err := capsule.Identify(s.model.Path)
	if err != nil {
		return err
	}
	say(sha == c.Model.SHA256, "model", "sha256 %.12s of %s, the capsule says %.12s", sha, of, c.Model.SHA256)
	cfg := &rewrite.Config{Set: w.set}
	cfg.Setting.TPSize, cfg.Setting.Training = 1, c.Rewrite.Preset == "training"
	ok, err := plain.replay(s.program, cfg, say)
	if err != nil {
		return err
	}
	if quantized != nil {
		q := &subject{name: s.name, program: s.program, model: s.model}
		if err := one.kv.withCache(q); err != nil {
			return err
		}
		too, err := quantized.replay(q.program, cfg, say)
		if err != nil {
			return err
		}
		ok = ok && too
	}
	for _, r := range []*recorded{plain, quantized} {
		for _, name := range slices.Sorted(maps.Keys(r.kernels(w.set.Kernels))) {
			if c.Rewrite.Kernels[name] == "" {
				say(false, "kernel "+name, "is in the rewritten program%s, and not in the capsule", r.which)
			}
		}
	}
	same := 0
	for _, name := range slices.Sorted(maps.Keys(c.Rewrite.Kernels)) {
		k := w.set.Kernels.Spec(name)
		if k == nil {
			say(false, "kernel "+name, "is not there any more")
		} else if k.ContentHash != c.Rewrite.Kernels[name] {
			say(false, "kernel "+name, "is %.12s, the capsule says %.12s", k.ContentHash, c.Rewrite.Kernels[name])
		} else {
			same++
		}
	}
	say(same == len(c.Rewrite.Kernels), "kernels", "%d of %d are the same", same, len(c.Rewrite.Kernels))
	if run && ok {
		if err := a.verifyTokens(ctx, &one, c, plain, quantized, say); err != nil {
			return err
		}
	}
	if bad > 0 {
		return isFalse("%s does not reproduce here: %d of its statements differ", file, bad)
	}
	return nil
}

// recorded is what a capsule says of a program and its rewrite.
type recorded struct {
	which         string // behind "journal"
	before, after string // hashes
	data          []byte
	journal       *rewrite.Journal
	program       *graph.Program // rewritten again, if that could be done
}

func (r *recorded) read(file string, unpack func() ([]byte, error)) (err error) {
	if r.data, err = unpack(); err == nil {
		r.journal, err = rewrite.ReadJournal(file, r.data)
	}
	return err
}

// kernels are those of the program, by name.
func (r *recorded) kernels(catalog *kernels.Catalog) map[string]string {
	if r == nil || r.program == nil {
		return nil
	}
	return kernelHashes(catalog, r.program)
}

// replay rewrites the program again, and reports whether that could be done.
func (r *recorded) replay(p *graph.Program, cfg *rewrite.Config, say func(bool, string, string, ...any)) (bool, error) {
	res, err := r.journal.Replay(p, cfg)
	var issue *diag.Issue
	if errors.As(err, &issue) {
		say(false, "journal"+r.which, "%v", issue)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.program = res.Program
	say(true, "journal"+r.which, "replayed, %d rules give program %.12s", len(r.journal.Rules), res.Program.Hash().String())
	if before, after := p.Hash().String(), res.Program.Hash().String(); before != r.before || after != r.after {
		say(false, "programs"+r.which, "%.12s → %.12s, the capsule says %.12s → %.12s", before, after, r.before, r.after)
	}
	return true, nil
}

// verifyTokens makes the tokens of each cell again, with both programs.
func (a *app) verifyTokens(ctx context.Context, o *options, c *capsule.Capsule, plain, quantized *recorded, say func(bool, string, string, ...any)) error {
	dir, err := os.MkdirTemp("", "zmlx-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.replay = filepath.Join(dir, "journal.json")
	if err := os.WriteFile(o.replay, plain.data, 0o600); err != nil {
		return err
	}
	if quantized != nil {
		o.kv.replay = filepath.Join(dir, "quantized.json")
		if err := os.WriteFile(o.kv.replay, quantized.data, 0o600); err != nil {
			return err
		}
	}
	p, err := a.pair(ctx, o, nil)
	if err != nil {
		return err
	}
	defer p.close()
	if as := p.kernels(); as != c.Rewrite.RunsAs {
		say(false, "kernels ran", "%s here, the capsule says %s", as, c.Rewrite.RunsAs)
	}
	if v := p.engine.Version(); v != c.Device.Version || p.engine.Device() != c.Device.Device {
		fmt.Fprintf(a.stdout, "note    device: %s %s here, %s %s in the capsule; tokens may differ\n", p.engine.Device(), v, c.Device.Device, c.Device.Version)
	}
	for i := range c.Cells {
		cell := &c.Cells[i]
		var tokens []int
		if cell.Prompt == "" {
			tokens = randomTokens(cell.Seed, cell.Depth+cell.Fed+1, p.vocab)[:cell.Depth+cell.Fed]
		} else {
			if p.tok == nil {
				if p.tok, err = p.model.Tokenizer(); err != nil {
					return err
				}
			}
			text, ok := stress.Prompt(cell.Prompt)
			if !ok {
				say(false, "tokens of "+cell.Name(), "this program has no prompt of kind %s", cell.Prompt)
				continue
			}
			if tokens, err = p.prompt(text, &textOptions{}); err != nil {
				return err
			}
		}
		for side, want := range [2]string{cell.StreamA, cell.StreamB} {
			t, err := p.run(ctx, side, tokens, cell.Depth, cell.Made)
			if err != nil {
				return err
			}
			got := capsule.Stream(t.tokens)
			say(got == want, fmt.Sprintf("tokens of %s, %s", cell.Name(), sides[side]), "%d tokens, sha256 %.12s, the capsule says %.12s", len(t.tokens), got, want)
		}
	}
	return nil
}
