package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/graph/kvquant"
	"zmlx-rewrite/graph/kvring"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rewrite"
)

// kvOptions are mlx-lm's flags for a quantized cache of keys and values.
type kvOptions struct {
	kvquant.Options
	start int
	size  int            // rows of rings; 0: caches grow
	flags *cobra.Command // whose flags they are; nil: the command has none
	// beside says that the program with plain caches runs first, as in mlx-lm. Commands
	// that only look take the one with quantized caches in its place.
	beside bool
	// replay is the journal by which the program with quantized caches is rewritten, if any.
	replay string
	// file is a prompt cache; one that is quantized says how.
	file *cache.File
}

// kvFlags are for commands that look at a program.
func (k *kvOptions) kvFlags(c *cobra.Command) {
	k.flags = c
	f := c.Flags()
	f.IntVar(&k.Bits, "kv-bits", 0, "quantize the cache of keys and values to `n` bits, such as 8 or 4; 0 keeps it plain; the profile says what is without the flag")
	f.IntVar(&k.GroupSize, "kv-group-size", profiles.KVGroupSize, "`elements` of a row that share a scale: 32, 64 or 128")
	f.IntVar(&k.size, "max-kv-size", 0, "keep only the first 4 and the last tokens, `n` in all; 0 keeps all")
}

// startFlag is for commands that run one.
func (k *kvOptions) startFlag(c *cobra.Command) {
	k.beside = true
	k.kvFlags(c)
	c.Flags().IntVar(&k.start, "quantized-kv-start", profiles.KVStart, "with --kv-bits, quantize the cache once it holds this many `tokens`")
}

// check reports values without a meaning.
func (k *kvOptions) check() error {
	switch f := k.file; {
	case k.flags == nil:
	case f != nil && f.Bits > 0 && (k.flags.Flags().Changed("kv-bits") && k.Bits != f.Bits || k.flags.Flags().Changed("kv-group-size") && k.GroupSize != f.GroupSize):
		return diag.Errorf("prompt-cache/kv", diag.Pos{File: f.Path}, "is quantized to %d bits in groups of %d, not to %d in groups of %d", f.Bits, f.GroupSize, k.Bits, k.GroupSize).
			WithHint("leave --kv-bits and --kv-group-size out")
	case k.Bits != 0 && !slices.Contains(profiles.KVBits, k.Bits):
		return diag.Errorf("usage/kv", diag.Pos{}, "--kv-bits %d is none of %s", k.Bits, list(profiles.KVBits)).WithHint("leave it out for a cache that is not quantized")
	case !slices.Contains(profiles.KVGroupSizes, k.GroupSize):
		return diag.Errorf("usage/kv", diag.Pos{}, "--kv-group-size %d is none of %s", k.GroupSize, list(profiles.KVGroupSizes)).WithHint("it is 64 if left out")
	case k.size < 0:
		return diag.Errorf("usage/kv", diag.Pos{}, "--max-kv-size %d is below 0", k.size).WithHint("it is how many tokens the cache keeps; 0, or nothing, keeps all")
	case k.start < 0:
		return diag.Errorf("usage/kv", diag.Pos{}, "--quantized-kv-start %d is below 0", k.start).WithHint("it is the token from which on the cache is quantized: --quantized-kv-start 0 for all")
	}
	return nil
}

// checkKV reports what no run can have written into a capsule.
func checkKV(kv *capsule.KV) error {
	if kv.Bits != 0 && (!slices.Contains(profiles.KVBits, kv.Bits) || !slices.Contains(profiles.KVGroupSizes, kv.GroupSize)) || kv.Start < 0 || kv.Size < 0 {
		return diag.Errorf("capsule/invalid", diag.Pos{}, "a cache of %d bits in groups of %d from token %d on, of %d rows", kv.Bits, kv.GroupSize, kv.Start, kv.Size)
	}
	return nil
}

func list(numbers []int) string {
	text := ""
	for i, n := range numbers {
		switch {
		case i == 0:
		case i == len(numbers)-1:
			text += " and "
		default:
			text += ", "
		}
		text += fmt.Sprint(n)
	}
	return text
}

// settle takes what the profile says where no flag does, and returns the profile for
// what is to be: with the rules for quantized caches if there are any.
func (k *kvOptions) settle(prof *profiles.Profile) *profiles.Profile {
	if k.flags == nil {
		return prof
	}
	changed := k.flags.Flags().Changed
	if k.file != nil && k.file.Bits > 0 {
		k.Bits, k.GroupSize = k.file.Bits, k.file.GroupSize
		return prof.Quantized()
	}
	if kv := prof.KV; kv != nil && kv.Bits > 0 && k.beside && !changed("kv-bits") {
		k.Bits = kv.Bits
		if !changed("kv-group-size") {
			k.GroupSize = kv.GroupSize
		}
		if !changed("quantized-kv-start") {
			k.start = kv.Start
		}
	}
	if k.Bits == 0 {
		return prof
	}
	return prof.Quantized()
}

// withRings replaces the program of a subject by the one whose caches are rings.
func (k *kvOptions) withRings(s *subject) error {
	if k.size == 0 {
		return nil
	}
	p, err := kvring.Program(s.program, k.size)
	if err != nil {
		return err
	}
	s.program, s.expect = p, nil
	return nil
}

// withCache replaces the program of a subject by the one with a quantized cache.
func (k *kvOptions) withCache(s *subject) error {
	if k.Bits == 0 {
		return nil
	}
	p, err := kvquant.Program(s.program, k.Options)
	if err != nil {
		return err
	}
	s.program = p
	return nil
}

// change replaces the program of a subject by the one with the caches that were asked for; those
// that are quantized only where no other program runs first.
func (k *kvOptions) change(s *subject) error {
	if err := k.withRings(s); err != nil || k.beside {
		return err
	}
	return k.withCache(s)
}

// account says of a program with quantized caches how they are.
func (k *kvOptions) account(p *graph.Program) *report.KVCache {
	g := p.Cases[0].Graph
	n := 0
	for _, id := range g.Inputs() {
		if name := g.InputName(id); strings.HasPrefix(name, "cache.") && strings.HasSuffix(name, kvquant.Parts[0]) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return &report.KVCache{Bits: k.Bits, GroupSize: k.GroupSize, Caches: n}
}

// programs are what runs one model: the program with plain caches, and the one that
// takes over with quantized ones, if that is to be.
type programs struct {
	plain, quantized *graph.Program
	start            int            // tokens from which on the caches are quantized
	keep             int            // rows of rings that stay
	greedy           *graph.Program // what makes the next token of logits, if it is rewritten
	by               *rewritten     // how the quantized one came to be, if it is rewritten
}

// all lists the programs.
func (p *programs) all() []*graph.Program {
	if p.quantized == nil {
		return []*graph.Program{p.plain}
	}
	return []*graph.Program{p.plain, p.quantized}
}

// loaded lists the programs, and what makes the next token of their logits.
func (p *programs) loaded() []*graph.Program {
	if p.greedy == nil {
		return p.all()
	}
	return append(p.all(), p.greedy)
}

// last is the program of the last call of a generation.
func (p *programs) last(r *decode.Result) *graph.Program {
	if r.Plain < len(r.Calls) {
		return p.quantized
	}
	return p.plain
}

// programs returns what runs a subject without a rewrite, and with it.
func (k *kvOptions) programs(w *workspace, prof *profiles.Profile, o *options, s *rewritten) (before, after *programs, err error) {
	before, after = &programs{plain: s.program}, &programs{plain: s.res.Program}
	if after.greedy, err = w.greedy(o, s.program); err != nil {
		return nil, nil, err
	}
	if k.size > 0 {
		before.keep, after.keep = kvring.Keep, kvring.Keep
	}
	if k.Bits == 0 {
		return before, after, nil
	}
	q := &subject{name: s.name, program: s.program, model: s.model}
	if err := k.withCache(q); err != nil {
		return nil, nil, err
	}
	one := *o
	one.replay = k.replay // o's is of the program with plain caches
	r, err := rewriteOne(w, prof, &one, q, nil)
	if err != nil {
		return nil, nil, err
	}
	before.quantized, before.start = q.program, k.start
	after.quantized, after.start, after.by = r.res.Program, k.start, r
	return before, after, nil
}

// String says what the cache is, for people: "8 bits in groups of 64 from token 5000 on".
func (k *kvOptions) String() string {
	if k.Bits == 0 {
		return "plain"
	}
	return fmt.Sprintf("%d bits in groups of %d from token %d on", k.Bits, k.GroupSize, k.start)
}

// greedyRules are the rules for what makes the next token. They are of no model's profile.
var greedyRules = []string{"decode.argmax_logprobs"}

// greedy returns the rewritten program that makes the next token of a model's logits, or nil
// if nothing is rewritten: one launch in place of MLX's six pays where launches are dear, and
// on a CPU as part of a replay.
func (w *workspace) greedy(o *options, p *graph.Program) (*graph.Program, error) {
	if o.none || o.target == "metal" || o.preset == "training" {
		return nil, nil
	}
	cfg := &rewrite.Config{Set: w.set, Setting: guard.Setting{Target: o.target, TPSize: 1}}
	for _, name := range greedyRules {
		if r := w.set.Rule(name); r != nil && !named(o.exclude, r) {
			cfg.Rules = append(cfg.Rules, r)
		}
	}
	g := p.Cases[0].Graph
	for _, out := range g.Outputs() {
		d, _ := g.Type(out.Value).Dim(-1)
		n, ok := d.Const()
		if out.Name != "logits" || !ok {
			continue
		}
		head, err := decode.GreedyProgram(g.Type(out.Value).DType, max(o.batch, 1), n)
		if err != nil {
			return nil, err
		}
		res, err := rewrite.Run(head, cfg)
		if err != nil {
			return nil, err
		}
		return res.Program, nil
	}
	return nil, nil
}
