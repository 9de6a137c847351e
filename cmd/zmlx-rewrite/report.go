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
	sides := []*recordedSide{{rewrite: &c.Rewrite, model: &c.Model}}
	if c.Against != nil {
		sides = append(sides, &recordedSide{rewrite: &c.Against.Rewrite, whose: " of what it is against"})
	}
	for _, x := range sides {
		if err := x.read(file); err != nil {
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
	one.dtype = c.Model.DType
	sides[0].o = &one
	if c.Against != nil {
		if sides[1].o, err = one.against(c.Against.Flags); err != nil {
			return err
		}
	}
	ok := true
	for _, x := range sides {
		if err := x.settle(); err != nil {
			return err
		}
		again, err := a.verifyRewrite(x, say)
		if err != nil {
			return err
		}
		ok = ok && again
		if run && x.quantized == nil && x.o.kv.Bits > 0 {
			run = false
			fmt.Fprintln(a.stdout, "note    tokens: not made again, since the capsule does not have the programs with a quantized cache")
		}
	}
	if run && ok {
		if err := a.verifyTokens(ctx, sides, c, say); err != nil {
			return err
		}
	}
	if bad > 0 {
		return isFalse("%s does not reproduce here: %d of its statements differ", file, bad)
	}
	return nil
}

// recordedSide is a rewrite that a capsule has, and the options by which it is made again.
type recordedSide struct {
	rewrite          *capsule.Rewrite
	model            *capsule.Model // whose weights are looked at; nil for what runs on those of the other side
	whose            string         // behind what is said of it
	o                *options
	plain, quantized *recorded
}

func (x *recordedSide) read(file string) error {
	r := x.rewrite
	x.plain = &recorded{which: x.whose, before: r.Before, after: r.After}
	if err := x.plain.read(file, r.Unpack); err != nil {
		return err
	}
	q := r.Quantized
	if q == nil {
		return nil
	}
	if r.KV == nil || r.KV.Bits == 0 {
		return diag.Errorf("capsule/invalid", diag.Pos{File: file}, "has programs with a quantized cache, and does not say how it was quantized")
	}
	x.quantized = &recorded{which: " with a quantized cache" + x.whose, before: q.Before, after: q.After}
	return x.quantized.read(file, q.Unpack)
}

// settle makes the options those of the capsule.
func (x *recordedSide) settle() error {
	r, o := x.rewrite, x.o
	o.profile, o.preset, o.target = r.Profile, r.Preset, r.Target
	o.only, o.exclude, o.force = nil, nil, nil // the journal says which
	o.kv = kvOptions{}
	if kv := r.KV; kv != nil {
		if err := checkKV(kv); err != nil {
			return err
		}
		o.kv.Bits, o.kv.GroupSize, o.kv.start, o.kv.size, o.kv.beside = kv.Bits, kv.GroupSize, kv.Start, kv.Size, true
	}
	return nil
}

// verifyRewrite looks at the weights, makes a rewrite again by its journals, and looks at its
// kernels. It reports whether that could be done.
func (a *app) verifyRewrite(x *recordedSide, say func(bool, string, string, ...any)) (ok bool, err error) {
	w, err := a.workspace(x.o)
	if err != nil {
		return false, err
	}
	s, err := a.loadAs(x.o.model, x.o.dtype, w)
	if err != nil {
		return false, err
	}
	defer s.close()
	if x.model != nil {
		if s.model == nil || s.model.Weights == nil {
			return false, diag.Errorf("model/no-weights", diag.Pos{File: x.o.model}, "has no weights").WithHint("name the model's folder with --model")
		}
		sha, of, err := capsule.Identify(s.model.Path)
		if err != nil {
			return false, err
		}
		say(sha == x.model.SHA256, "model", "sha256 %.12s of %s, the capsule says %.12s", sha, of, x.model.SHA256)
	}
	if err := x.o.kv.withRings(s); err != nil {
		return false, err
	}
	cfg := &rewrite.Config{Set: w.set}
	cfg.Setting.TPSize, cfg.Setting.Training = 1, x.rewrite.Preset == "training"
	if ok, err = x.plain.replay(s.program, cfg, say); err != nil {
		return false, err
	}
	if x.quantized != nil {
		q := &subject{name: s.name, program: s.program, model: s.model}
		if err := x.o.kv.withCache(q); err != nil {
			return false, err
		}
		too, err := x.quantized.replay(q.program, cfg, say)
		if err != nil {
			return false, err
		}
		ok = ok && too
	}
	x.kernels(w.set.Kernels, say)
	return ok, nil
}

// kernels holds the kernels of a capsule against those that there are.
func (x *recordedSide) kernels(catalog *kernels.Catalog, say func(bool, string, string, ...any)) {
	list := x.rewrite.Kernels
	for _, r := range []*recorded{x.plain, x.quantized} {
		for _, name := range slices.Sorted(maps.Keys(r.kernels(catalog))) {
			if list[name] == "" {
				say(false, "kernel "+name, "is in the rewritten program%s, and not in the capsule", r.which)
			}
		}
	}
	same := 0
	for _, name := range slices.Sorted(maps.Keys(list)) {
		k := catalog.Spec(name)
		if k == nil {
			say(false, "kernel "+name+x.whose, "is not there any more")
		} else if k.ContentHash != list[name] {
			say(false, "kernel "+name+x.whose, "is %.12s, the capsule says %.12s", k.ContentHash, list[name])
		} else {
			same++
		}
	}
	say(same == len(list), "kernels"+x.whose, "%d of %d are the same", same, len(list))
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
func (a *app) verifyTokens(ctx context.Context, sides []*recordedSide, c *capsule.Capsule, say func(bool, string, string, ...any)) error {
	dir, err := os.MkdirTemp("", "zmlx-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, x := range sides {
		for _, f := range []struct {
			name string
			r    *recorded
			at   *string
		}{{"journal", x.plain, &x.o.replay}, {"quantized", x.quantized, &x.o.kv.replay}} {
			if f.r == nil {
				continue
			}
			*f.at = filepath.Join(dir, fmt.Sprintf("%s%d.json", f.name, i))
			if err := os.WriteFile(*f.at, f.r.data, 0o600); err != nil {
				return err
			}
		}
	}
	var other *options
	if len(sides) > 1 {
		other = sides[1].o
	}
	p, err := a.pairAgainst(ctx, sides[0].o, other, nil)
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
			say(got == want, fmt.Sprintf("tokens of %s, %s", cell.Name(), p.side(side)), "%d tokens, sha256 %.12s, the capsule says %.12s", len(t.tokens), got, want)
		}
	}
	return nil
}
