package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
)

func (a *app) cachePromptCmd() *cobra.Command {
	var o options
	var t textOptions
	var plain bool
	var out, format string
	c := &cobra.Command{
		Use:   "cache-prompt",
		Short: "Process a prompt once, and keep the caches in a file to go on from",
		Long: "Cache-prompt writes what a model keeps of a prompt to a file, in the layout of mlx_lm.cache_prompt:\n" +
			"generate and chat of either go on from it with --prompt-cache-file.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.cachePrompt(c.Context(), &o, &t, out, format, plain)
		},
	}
	o.flags(c)
	o.dtypeFlag(c)
	o.adapterFlag(c)
	o.kv.startFlag(c)
	t.promptFlags(c)
	c.Flags().StringArrayVarP(&t.prompts, "prompt", "p", nil, "`text` to process; - reads standard input")
	c.Flags().StringVar(&out, "prompt-cache-file", "", "`file` to write, as safetensors")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	c.Flags().BoolVar(&plain, "no-rewrite", false, "run the unrewritten program")
	return c
}

// cachedPrompt is what was kept of a prompt, as JSON.
type cachedPrompt struct {
	File      string  `json:"file" jsonschema:"that was written"`
	Tokens    int     `json:"tokens" jsonschema:"of the prompt"`
	TPS       float64 `json:"prompt_tps" jsonschema:"tokens a second"`
	Rewritten bool    `json:"rewritten" jsonschema:"whether the rewritten program read it"`
	Profile   string  `json:"profile" jsonschema:"of rules"`
}

func (a *app) cachePrompt(ctx context.Context, o *options, t *textOptions, out, format string, plain bool) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	texts, err := a.texts(t.prompts)
	if err != nil {
		return err
	}
	switch {
	case o.model == "":
		return needsModel("cache-prompt")
	case len(texts) != 1:
		return diag.Errorf("usage/cache-prompt", diag.Pos{}, "cache-prompt needs one --prompt, and %d are given", len(texts)).WithHint("--prompt TEXT, or --prompt - for standard input")
	case out == "":
		return diag.Errorf("usage/cache-prompt", diag.Pos{}, "cache-prompt needs --prompt-cache-file").WithHint("name the file to write: --prompt-cache-file FILE.safetensors")
	}
	m, err := a.open(ctx, o, t, plain)
	if err != nil {
		return err
	}
	defer m.close()
	rendered, ok, err := m.render(texts[0], t, true)
	if err != nil {
		return err
	}
	prompt, err := nonEmpty(m.tok.Encode(rendered, !ok))
	if err != nil {
		return err
	}
	line, told := a.promptLine()
	defer line.clear()
	res, err := m.gen.Generate(ctx, prompt, decode.Options{PrefillStep: t.prefillStep, Whole: true, OnPrompt: told})
	line.clear()
	if err != nil {
		return err
	}
	if err := m.gen.Save(out, map[string]string{"model": o.model, "tokenizer_config": "{}"}); err != nil {
		return err
	}
	if format == "json" {
		return a.json(cachedPrompt{out, len(prompt), res.PromptTPS(), !m.plain, m.prof.Name})
	}
	fmt.Fprintf(a.progress, "%s: %d tokens, %.1f tokens/s\n", out, len(prompt), res.PromptTPS())
	return nil
}
