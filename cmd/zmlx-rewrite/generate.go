package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
)

func (a *app) generateCmd() *cobra.Command {
	var o options
	var t textOptions
	var format string
	var plain bool
	c := &cobra.Command{
		Use:   "generate",
		Short: "Make text with a rewritten model",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.generate(c.Context(), &o, &t, format, plain) },
	}
	o.flags(c)
	o.dtypeFlag(c)
	o.kv.startFlag(c)
	t.flags(c, 100)
	t.samplingFlags(c)
	c.Flags().BoolVar(&plain, "no-rewrite", false, "run the unrewritten program")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

// generated is the JSON form of a generation; fields may be added, these stay.
type generated struct {
	PromptTokens  []int          `json:"prompt_tokens"`
	Tokens        []int          `json:"tokens"`
	Text          string         `json:"text"`
	FinishReason  string         `json:"finish_reason"`
	PromptTPS     float64        `json:"prompt_tps"`
	GenerationTPS float64        `json:"generation_tps"`
	TokenTimes    []float64      `json:"token_times"` // seconds from the first token to each
	Kernels       map[string]int `json:"kernels"`     // how often each ran
	KernelRuns    string         `json:"kernel_runs"`
	Rewritten     bool           `json:"rewritten"`
	Profile       string         `json:"profile,omitempty"`
	KVBits        int            `json:"kv_bits,omitempty"`
}

func (a *app) generate(ctx context.Context, o *options, t *textOptions, format string, plain bool) error {
	if format != "text" && format != "json" {
		return diag.Errorf("usage/output", diag.Pos{}, "output %q is neither text nor json", format)
	}
	texts, err := a.texts(t.prompts)
	if err != nil {
		return err
	}
	if len(texts) != 1 || o.model == "" || t.maxTokens < 1 {
		return diag.Errorf("usage/generate", diag.Pos{}, "generate needs --model, one --prompt, and --max-tokens of at least 1")
	}
	sampler, err := t.sampler()
	if err != nil {
		return err
	}
	o.dims = nil
	w, prof, all, err := a.rewriteAll(o)
	if err != nil {
		return err
	}
	s := all[0]
	defer s.close()
	before, program, err := o.kv.programs(w, prof, o, s)
	if err != nil {
		return err
	}
	if plain {
		program = before
	}
	r, err := a.runner(s.subject, w.set.Kernels)
	if err != nil {
		return err
	}
	defer r.close()
	prompt, err := r.prompt(texts[0], t)
	if err != nil {
		return err
	}
	if err := r.derive(program); err != nil {
		return err
	}
	g, done, err := r.generator(ctx, program)
	if err != nil {
		return err
	}
	defer done()
	opts := decode.Options{MaxTokens: t.maxTokens, PrefillStep: t.prefillStep, EOS: r.eos, Sampler: sampler}
	if t.ignoreEOS {
		opts.EOS = nil
	}
	stream, text := r.tok.Stream(true), ""
	emit := func(piece string) {
		text += piece
		if format == "text" {
			fmt.Fprint(a.stdout, piece)
		}
	}
	opts.OnToken = func(tok decode.Token) error { emit(stream.Next(tok.ID)); return nil }
	res, kernels, err := r.count(program, func() (*decode.Result, error) { return g.Generate(ctx, prompt, opts) })
	if err != nil {
		return err
	}
	emit(stream.Flush())
	if format == "json" {
		var times []float64
		for _, t := range res.Times {
			times = append(times, t.Seconds())
		}
		out := generated{res.Prompt, res.Tokens, text, res.Finish, res.PromptTPS(), res.TPS(), times, kernels, r.kernels(), !plain, prof.Name, o.kv.Bits}
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(out)
	}
	fmt.Fprintln(a.stdout)
	rewritten := " (not rewritten)"
	if !plain {
		rewritten = ", kernels: " + r.kernels()
		if len(kernels) > 0 {
			rewritten += " · " + printCounts(kernels)
		}
	}
	if o.kv.Bits > 0 {
		rewritten += fmt.Sprintf(" · KV cache: %s", &o.kv)
	}
	fmt.Fprintf(a.progress, "prompt: %d tokens, %.1f tokens/s · generation: %d tokens, %.1f tokens/s · %s on %s %s · profile %s%s\n",
		len(res.Prompt), res.PromptTPS(), len(res.Tokens), res.TPS(), r.engine.Name(), r.engine.Device(), r.engine.Version(), prof.Name, rewritten)
	return nil
}
