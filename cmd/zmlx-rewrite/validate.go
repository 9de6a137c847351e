package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/verify/whole"
)

func (a *app) validateCmd() *cobra.Command {
	var o options
	var t textOptions
	var format string
	c := &cobra.Command{
		Use:   "validate [MODEL]",
		Short: "Compare the rewritten model with the unrewritten one: tokens, margins, logits, speed",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && o.model == "" {
				o.model = args[0]
			}
			return a.validate(c.Context(), &o, &t, format)
		},
	}
	o.flags(c)
	o.dtypeFlag(c)
	t.flags(c, 48)
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

// defaultPrompts are used where validate is given none.
var defaultPrompts = []string{
	"What is the capital of France?",
	"Write a function in Go that reverses a string.",
}

// validated is the JSON form of one prompt's comparison.
type validated struct {
	Prompt       string  `json:"prompt"`
	PromptTokens int     `json:"prompt_tokens"`
	Tokens       int     `json:"tokens"`
	Verdict      string  `json:"verdict"` // bit-exact, token-identical, differs
	FirstDiff    int     `json:"first_difference"`
	Margin       float64 `json:"margin"` // at the first difference, else the smallest
	MarginStep   int     `json:"margin_step"`
	MaxError     float64 `json:"max_logit_error"`
	TPS          float64 `json:"generation_tps"`
	RewrittenTPS float64 `json:"rewritten_generation_tps"`

	KernelRuns string         `json:"kernel_runs"`
	Kernels    map[string]int `json:"kernels"` // how often each ran in the rewritten model
}

func (a *app) validate(ctx context.Context, o *options, t *textOptions, format string) error {
	if format != "text" && format != "json" {
		return diag.Errorf("usage/output", diag.Pos{}, "output %q is neither text nor json", format)
	}
	d, err := a.duel(ctx, o, t, "validate")
	if err != nil {
		return err
	}
	defer d.close()
	r := d.r
	if format == "text" {
		fmt.Fprintf(a.stdout, "%s · profile %s · %s on %s %s · kernels: %s\n", d.s.name, d.prof.Name, r.engine.Name(), r.engine.Device(), r.engine.Version(), r.kernels())
	}
	differ := 0
	for _, text := range d.texts {
		prompt, err := r.prompt(text, t)
		if err != nil {
			return err
		}
		opts := d.options(t)
		ra, sa, err := whole.Steps(ctx, d.before, prompt, opts)
		if err != nil {
			return err
		}
		var sb []decode.Step
		rb, counts, err := r.count(d.s.res.Program, func() (res *decode.Result, err error) {
			res, sb, err = whole.Steps(ctx, d.after, prompt, opts)
			return res, err
		})
		if err != nil {
			return err
		}
		c := decode.Compare(sa, sb)
		v := validated{text, len(prompt), c.Steps, "token-identical", c.First, c.Margin, c.MarginStep, c.MaxError, ra.TPS(), rb.TPS(), r.kernels(), counts}
		switch {
		case c.First >= 0:
			v.Verdict = "differs"
			differ++
		case c.Exact:
			v.Verdict = "bit-exact"
		}
		if math.IsInf(v.Margin, 0) {
			v.Margin = 0
		}
		if format == "json" {
			enc := json.NewEncoder(a.stdout)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(v); err != nil {
				return err
			}
			continue
		}
		a.printVerdict(&v, c, r.tok.Decode(rb.Tokens, true))
	}
	if differ > 0 {
		return isFalse("%d of %d prompts give other tokens after the rewrite", differ, len(d.texts))
	}
	return nil
}

// duel is a model that is ready to run unrewritten and rewritten: what validate and verify
// share.
type duel struct {
	w             *workspace
	prof          *profiles.Profile
	s             *rewritten
	r             *runner
	texts         []string
	before, after *decode.Generator
	closers       []func()
}

func (d *duel) close() {
	for _, f := range slices.Backward(d.closers) {
		f()
	}
}

// duel loads a model both ways.
func (a *app) duel(ctx context.Context, o *options, t *textOptions, command string) (*duel, error) {
	texts, err := a.texts(t.prompts)
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		texts = defaultPrompts
	}
	if o.model == "" || t.maxTokens < 1 {
		return nil, diag.Errorf("usage/"+command, diag.Pos{}, "%s needs --model, and --max-tokens of at least 1", command)
	}
	o.dims = nil
	w, prof, all, err := a.rewriteAll(o)
	if err != nil {
		return nil, err
	}
	d := &duel{w: w, prof: prof, s: all[0], texts: texts, closers: []func(){all[0].close}}
	if command == "verify" {
		measureInFloat32(d.s.program)
	}
	if err := d.load(ctx, a); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *duel) load(ctx context.Context, a *app) (err error) {
	if d.r, err = a.runner(d.s.subject, d.w.set.Kernels); err != nil {
		return err
	}
	d.closers = append(d.closers, d.r.close)
	if err := d.r.derive(d.s.res.Program, d.s.program); err != nil {
		return err
	}
	for _, x := range []struct {
		g **decode.Generator
		p *graph.Program
	}{{&d.before, d.s.program}, {&d.after, d.s.res.Program}} {
		g, done, err := d.r.generator(ctx, x.p)
		if err != nil {
			return err
		}
		*x.g, d.closers = g, append(d.closers, done)
	}
	return nil
}

func (d *duel) options(t *textOptions) decode.Options {
	o := decode.Options{MaxTokens: t.maxTokens, PrefillStep: t.prefillStep, EOS: d.r.eos, Logits: true}
	if t.ignoreEOS {
		o.EOS = nil
	}
	return o
}

func (a *app) printVerdict(v *validated, c *decode.Comparison, text string) {
	fmt.Fprintf(a.stdout, "%q: %s\n", v.Prompt, v.Verdict)
	fmt.Fprintf(a.stdout, "  %q\n", text)
	if c.First >= 0 {
		fmt.Fprintf(a.stdout, "  tokens part at step %d (%d before, %d after): the margin there was %.4g, the largest logit error so far %.3g\n", c.First, c.A, c.B, c.Margin, c.MaxError)
	} else {
		fmt.Fprintf(a.stdout, "  %d tokens equal · smallest margin (top1 − top2) %.4g at step %d · largest logit error %.3g\n", c.Steps, c.Margin, c.MarginStep, c.MaxError)
	}
	fmt.Fprintf(a.stdout, "  unrewritten %.2f tokens/s · rewritten %.2f tokens/s\n", v.TPS, v.RewrittenTPS)
	if len(v.Kernels) > 0 {
		fmt.Fprintf(a.stdout, "  kernels: %s · %s\n", v.KernelRuns, printCounts(v.Kernels))
	}
}
