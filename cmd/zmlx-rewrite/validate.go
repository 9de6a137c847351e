package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
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
	o.kv.startFlag(c)
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
	Verdict      string  `json:"verdict"` // bit-exact, token-identical, closer-to-fp32, near-tie, differs
	FirstDiff    int     `json:"first_difference"`
	Margin       float64 `json:"margin"` // at the first difference, else the smallest
	MarginStep   int     `json:"margin_step"`
	MaxError     float64 `json:"max_logit_error"`
	TPS          float64 `json:"generation_tps"`
	RewrittenTPS float64 `json:"rewritten_generation_tps"`

	KernelRuns string         `json:"kernel_runs"`
	Kernels    map[string]int `json:"kernels"` // how often each ran in the rewritten model

	// Where tokens part in a half type: what float32 says.
	OwnError  float64    `json:"original_error,omitempty"` // largest of a logit at the first difference
	RMS       float64    `json:"original_rms_error,omitempty"`
	Rewritten float64    `json:"rewritten_rms_error,omitempty"`
	Rechunked *rechunked `json:"rechunked,omitempty"`
}

// rechunked is the unrewritten model against itself, the prompt cut elsewhere.
type rechunked struct {
	First    int     `json:"first_difference"`
	Margin   float64 `json:"margin"`
	OwnError float64 `json:"original_error"`
	RMS      float64 `json:"rms_error"`
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
		fmt.Fprintf(a.stdout, "%s · profile %s · %s on %s %s · kernels: %s", d.s.name, d.prof.Name, r.engine.Name(), r.engine.Device(), r.engine.Version(), r.kernels())
		if o.kv.Bits > 0 {
			fmt.Fprintf(a.stdout, " · KV cache: %s", &o.kv)
		}
		fmt.Fprintln(a.stdout)
	}
	var exact *decode.Generator // the model in float32, loaded once tokens part in another type
	doneExact := func() {}
	defer func() { doneExact() }()
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
		rb, counts, err := r.count(d.rewritten, func() (res *decode.Result, err error) {
			res, sb, err = whole.Steps(ctx, d.after, prompt, opts)
			return res, err
		})
		if err != nil {
			return err
		}
		c := decode.Compare(sa, sb)
		v := validated{Prompt: text, PromptTokens: len(prompt), Tokens: c.Steps, Verdict: "token-identical", FirstDiff: c.First, Margin: c.Margin, MarginStep: c.MarginStep,
			MaxError: c.MaxError, TPS: ra.TPS(), RewrittenTPS: rb.TPS(), KernelRuns: r.kernels(), Kernels: counts}
		switch {
		case c.First < 0 && c.Exact:
			v.Verdict = "bit-exact"
		case c.First >= 0 && !inFloat32(d.s.program):
			if exact == nil {
				if exact, doneExact, err = r.truth(ctx, o.model, o.dtype); err != nil {
					return err
				}
			}
			if err := v.judge(ctx, prompt, sa, way{d.before, opts}, way{d.after, opts}, sb, way{exact, opts}); err != nil {
				return err
			}
		case c.First >= 0:
			v.Verdict = string(whole.Compare(sa, sb, nil).Verdict)
		}
		if v.Verdict == string(whole.Differs) {
			differ++
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

// judge says what it means that tokens part, by float32 (whole.CompareLed). For
// comparison it does the same with the unrewritten model and another chunking of the prompt.
func (v *validated) judge(ctx context.Context, prompt []int, sa []decode.Step, before, after way, sb []decode.Step, exact way) error {
	f, err := hold(ctx, prompt, sa, after, sb, exact)
	if err != nil {
		return err
	}
	v.OwnError, v.RMS, v.Rewritten = f.StepError, f.Stock, f.Error
	v.Verdict = string(f.Verdict)
	if f.Verdict == whole.NearTie && f.Closer() {
		v.Verdict = "closer-to-fp32"
	}
	cut, ok := before.rechunked(prompt)
	if !ok {
		return nil
	}
	_, sc, err := cut.free(ctx, prompt)
	if err != nil {
		return err
	}
	if f, err = hold(ctx, prompt, sa, cut, sc, exact); err != nil {
		return err
	}
	v.Rechunked = &rechunked{f.First, f.Margin, f.StepError, f.Error}
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
	rewritten     *programs
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
	if err := d.load(ctx, a, o); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *duel) load(ctx context.Context, a *app, o *options) (err error) {
	plain, rewritten, err := o.kv.programs(d.w, d.prof, o, d.s)
	if err != nil {
		return err
	}
	d.rewritten = rewritten
	if d.r, err = a.runner(d.s.subject, d.w.set.Kernels); err != nil {
		return err
	}
	d.closers = append(d.closers, d.r.close)
	if err := d.r.derive(rewritten, plain); err != nil {
		return err
	}
	for _, x := range []struct {
		g **decode.Generator
		p *programs
	}{{&d.before, plain}, {&d.after, rewritten}} {
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
		v.printFloat32(a.stdout)
	} else {
		fmt.Fprintf(a.stdout, "  %d tokens equal · smallest margin (top1 − top2) %.4g at step %d · largest logit error %.3g\n", c.Steps, c.Margin, c.MarginStep, c.MaxError)
	}
	fmt.Fprintf(a.stdout, "  unrewritten %.2f tokens/s · rewritten %.2f tokens/s\n", v.TPS, v.RewrittenTPS)
	if len(v.Kernels) > 0 {
		fmt.Fprintf(a.stdout, "  kernels: %s · %s\n", v.KernelRuns, printCounts(v.Kernels))
	}
}

// printFloat32 says how both compare with float32.
func (v *validated) printFloat32(w io.Writer) {
	if v.RMS == 0 {
		return
	}
	fmt.Fprintf(w, "  against float32: the unrewritten model's own largest error there is %.4g · root mean square of all %.4g, rewritten %.4g\n", v.OwnError, v.RMS, v.Rewritten)
	switch r := v.Rechunked; {
	case r == nil:
	case r.First < 0:
		fmt.Fprintf(w, "  unrewritten, the prompt cut in two: the same tokens · %.4g\n", r.RMS)
	default:
		fmt.Fprintf(w, "  unrewritten, the prompt cut in two: tokens part at step %d, margin %.4g, own error %.4g · %.4g\n", r.First, r.Margin, r.OwnError, r.RMS)
	}
}
