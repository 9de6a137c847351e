package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
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
	texts, err := a.texts(t.prompts)
	if err != nil {
		return err
	}
	if len(texts) == 0 {
		texts = defaultPrompts
	}
	if o.model == "" || t.maxTokens < 1 {
		return diag.Errorf("usage/validate", diag.Pos{}, "validate needs --model, and --max-tokens of at least 1")
	}
	o.dims = nil
	w, prof, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	s := all[0]
	defer s.close()
	plain, rewritten, err := o.kv.programs(w, prof, o, s)
	if err != nil {
		return err
	}
	r, err := a.runner(s.subject, w.set.Kernels)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.derive(rewritten, plain); err != nil {
		return err
	}
	before, doneBefore, err := r.generator(ctx, plain)
	if err != nil {
		return err
	}
	defer doneBefore()
	after, doneAfter, err := r.generator(ctx, rewritten)
	if err != nil {
		return err
	}
	defer doneAfter()
	if format == "text" {
		fmt.Fprintf(a.stdout, "%s · profile %s · %s on %s %s · kernels: %s", s.name, prof.Name, r.engine.Name(), r.engine.Device(), r.engine.Version(), r.kernels())
		if o.kv.Bits > 0 {
			fmt.Fprintf(a.stdout, " · KV cache: %s", &o.kv)
		}
		fmt.Fprintln(a.stdout)
	}
	differ := 0
	for _, text := range texts {
		prompt, err := r.prompt(text, t)
		if err != nil {
			return err
		}
		opts := decode.Options{MaxTokens: t.maxTokens, PrefillStep: t.prefillStep, EOS: r.eos, Logits: true}
		if t.ignoreEOS {
			opts.EOS = nil
		}
		ra, sa, err := steps(ctx, before, prompt, opts)
		if err != nil {
			return err
		}
		var sb []decode.Step
		rb, counts, err := r.count(rewritten, func() (res *decode.Result, err error) {
			res, sb, err = steps(ctx, after, prompt, opts)
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
		return isFalse("%d of %d prompts give other tokens after the rewrite", differ, len(texts))
	}
	return nil
}

func steps(ctx context.Context, g *decode.Generator, prompt []int, o decode.Options) (*decode.Result, []decode.Step, error) {
	var list []decode.Step
	o.OnToken = func(t decode.Token) error { list = append(list, decode.Step(t)); return nil }
	g.Reset()
	r, err := g.Generate(ctx, prompt, o)
	return r, list, err
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
