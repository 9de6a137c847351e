package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/stress"
	"zmlx-rewrite/rewrite"
)

// verification says of each thing that a capsule promises whether it holds here and now.
type verification struct {
	*app
	file string
	json bool
	bad  int // that do not
}

// statement is the JSON form of what it says.
type statement struct {
	Capsule string `json:"capsule" jsonschema:"file"`
	Verdict string `json:"verdict" jsonschema:"ok: it holds; differs: it does not; note: something that explains it"`
	What    string `json:"what" jsonschema:"that the capsule states: schema, model, journal, programs, kernels, tokens of a test"`
	Detail  string `json:"detail" jsonschema:"what is found here, and what the capsule says"`
}

// What a statement may be.
const (
	holds   = "ok"
	differs = "differs"
	noted   = "note"
)

func (v *verification) say(ok bool, what, format string, args ...any) {
	if ok {
		v.tell(holds, what, format, args...)
		return
	}
	v.bad++
	v.tell(differs, what, format, args...)
}

func (v *verification) tell(verdict, what, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	if v.json {
		v.app.json(statement{v.file, verdict, what, detail}) // its only error is standard output's, which run looks at
		return
	}
	fmt.Fprintf(v.stdout, "%-7s %s: %s\n", verdict, what, detail)
}

func (v *verification) capsule(ctx context.Context, o *options, run bool) error {
	file := v.file
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
	if !v.json {
		fmt.Fprintf(v.stdout, "%s\n", file)
	}
	v.say(true, "schema", "version %d", c.Version)
	if c.Means != nil {
		v.say(c.Summed(), "means", "%d, and how combinations drifted, computed again from the raw times", len(c.Means))
	}
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
		again, err := v.rewrite(ctx, x)
		if err != nil {
			return err
		}
		ok = ok && again
		if run && x.quantized == nil && x.o.kv.Bits > 0 {
			run = false
			v.tell(noted, "tokens", "not made again, since the capsule does not have the programs with a quantized cache")
		}
	}
	if run && ok {
		if err := v.tokens(ctx, sides, c); err != nil {
			return err
		}
	}
	if v.bad > 0 {
		return isFalse("%s does not reproduce here: %d of its statements differ", file, v.bad)
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

// rewrite looks at the weights, makes a rewrite again by its journals, and looks at its kernels.
// It reports whether that could be done.
func (v *verification) rewrite(ctx context.Context, x *recordedSide) (ok bool, err error) {
	w, err := v.workspace(x.o)
	if err != nil {
		return false, err
	}
	s, err := v.loadAs(x.o.model, x.o.dtype, x.o.adapter, w)
	if err != nil {
		return false, err
	}
	defer s.close()
	if x.model != nil {
		if s.model == nil || s.model.Weights == nil {
			return false, diag.Errorf("model/no-weights", diag.Pos{File: x.o.model}, "has no weights").WithHint("name the model's folder with --model")
		}
		sha, err := v.modelSum(ctx, s.model.Path, x.model.Of)
		if err != nil {
			return false, err
		}
		v.say(sha == x.model.SHA256, "model", "sha256 %.12s of %s, the capsule says %.12s", sha, x.model.Of, x.model.SHA256)
	}
	if err := x.o.kv.withRings(s); err != nil {
		return false, err
	}
	cfg := &rewrite.Config{Set: w.set}
	cfg.Setting.TPSize, cfg.Setting.Training = 1, x.rewrite.Preset == "training"
	if ok, err = x.plain.replay(s.program, cfg, v); err != nil {
		return false, err
	}
	if x.quantized != nil {
		q := &subject{name: s.name, program: s.program, model: s.model}
		if err := x.o.kv.withCache(q); err != nil {
			return false, err
		}
		too, err := x.quantized.replay(q.program, cfg, v)
		if err != nil {
			return false, err
		}
		ok = ok && too
	}
	x.kernels(w.set.Kernels, v)
	return ok, nil
}

// kernels holds the kernels of a capsule against those that there are.
func (x *recordedSide) kernels(catalog *kernels.Catalog, v *verification) {
	list := x.rewrite.Kernels
	for _, r := range []*recorded{x.plain, x.quantized} {
		for _, name := range slices.Sorted(maps.Keys(r.kernels(catalog))) {
			if list[name] == "" {
				v.say(false, "kernel "+name, "is in the rewritten program%s, and not in the capsule", r.which)
			}
		}
	}
	same := 0
	for _, name := range slices.Sorted(maps.Keys(list)) {
		k := catalog.Spec(name)
		if k == nil {
			v.say(false, "kernel "+name+x.whose, "is not there any more")
		} else if k.ContentHash != list[name] {
			v.say(false, "kernel "+name+x.whose, "is %.12s, the capsule says %.12s", k.ContentHash, list[name])
		} else {
			same++
		}
	}
	v.say(same == len(list), "kernels"+x.whose, "%d of %d are the same", same, len(list))
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
func (r *recorded) replay(p *graph.Program, cfg *rewrite.Config, v *verification) (bool, error) {
	res, err := r.journal.Replay(p, cfg)
	var issue *diag.Issue
	if errors.As(err, &issue) {
		v.say(false, "journal"+r.which, "%v", issue)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.program = res.Program
	v.say(true, "journal"+r.which, "replayed, %d rules give program %.12s", len(r.journal.Rules), res.Program.Hash().String())
	if before, after := p.Hash().String(), res.Program.Hash().String(); before != r.before || after != r.after {
		v.say(false, "programs"+r.which, "%.12s → %.12s, the capsule says %.12s → %.12s", before, after, r.before, r.after)
	}
	return true, nil
}

// tokens makes the tokens of each cell again, with both programs.
func (v *verification) tokens(ctx context.Context, sides []*recordedSide, c *capsule.Capsule) error {
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
	for i := range c.Cells { // all have the same
		sides[0].o.batch = c.Cells[i].Batch
	}
	p, err := v.pairAgainst(ctx, sides[0].o, other, nil)
	if err != nil {
		return err
	}
	defer p.close()
	if as := p.kernels(); as != c.Rewrite.RunsAs {
		v.say(false, "kernels ran", "%s here, the capsule says %s", as, c.Rewrite.RunsAs)
	}
	if mlx := p.engine.Version(); mlx != c.Device.Version || p.engine.Device() != c.Device.Device {
		v.tell(noted, "device", "%s %s here, %s %s in the capsule; tokens may differ", p.engine.Device(), mlx, c.Device.Device, c.Device.Version)
	}
	if here := libraryOf(p.engine); c.Device.Library != "" && here != c.Device.Library {
		v.tell(noted, "library of CPU kernels", "sha256 %.12s here, %.12s in the capsule; tokens may differ", cmp.Or(here, "none"), c.Device.Library)
	}
	line, begun := v.statusLine(), time.Now()
	defer line.clear()
	for i := range c.Cells {
		cell := &c.Cells[i]
		var tokens []int
		if cell.Prompt == "" {
			tokens = randomTokensOf(cell, p.vocab)
		} else {
			if p.tok == nil {
				if p.tok, err = p.model.Tokenizer(); err != nil {
					return err
				}
			}
			text, ok := stress.Prompt(cell.Prompt)
			if !ok {
				v.say(false, "tokens of "+cell.Name(), "this program has no prompt of kind %s", cell.Prompt)
				continue
			}
			if tokens, err = p.prompt(text, &textOptions{}); err != nil {
				return err
			}
		}
		for side, want := range [2]string{cell.StreamA, cell.StreamB} {
			line.last = time.Time{}
			line.progress(begun, int64(len(p.gens)*i+side), int64(len(p.gens)*len(c.Cells)), "%s, %s: %d tokens again", cell.Name(), p.side(side), cell.Made)
			t, err := p.runCell(ctx, cell, side, tokens)
			line.clear() // what is found may go to the same terminal
			if err != nil {
				return err
			}
			got := capsule.Stream(t.tokens)
			v.say(got == want, fmt.Sprintf("tokens of %s, %s", cell.Name(), p.side(side)), "%d tokens, sha256 %.12s, the capsule says %.12s", len(t.tokens), got, want)
		}
	}
	return nil
}
