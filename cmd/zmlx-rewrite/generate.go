package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
)

func (a *app) generateCmd() *cobra.Command {
	var o options
	var t textOptions
	var d draftOptions
	var format string
	var plain bool
	c := &cobra.Command{
		Use:   "generate",
		Short: "Make text with a rewritten model",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.generate(c.Context(), &o, &t, &d, format, plain) },
	}
	o.flags(c)
	o.first = true
	o.dtypeFlag(c)
	o.adapterFlag(c)
	o.kv.startFlag(c)
	t.flags(c, 100)
	t.samplingFlags(c)
	t.cacheFlag(c)
	t.mlxLMFlags(c)
	d.flags(c)
	c.Flags().Bool("use-default-chat-template", false, "taken and without effect, as in mlx-lm 0.32")
	said := c.Flags().VarPF(verbosity{a}, "verbose", "v", "False prints the text alone, as --quiet; True is as if left out; without a `value`, say what is read and how long steps take")
	said.NoOptDefVal = bareVerbose
	c.Flags().StringVar(&t.prefill, "prefill-response", "", "`text` with which the answer begins")
	c.Flags().BoolVar(&plain, "no-rewrite", false, "run the unrewritten program")
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

// generated is the JSON form of a generation; fields may be added, these stay.
type generated struct {
	PromptTokens  []int          `json:"prompt_tokens" jsonschema:"ids"`
	Tokens        []int          `json:"tokens" jsonschema:"ids of what was made"`
	Text          string         `json:"text" jsonschema:"of the tokens"`
	FinishReason  string         `json:"finish_reason" jsonschema:"stop: an end token or a text of --stop came; length: --max-tokens were made; interrupted: ctrl-C came"`
	PromptTPS     float64        `json:"prompt_tps" jsonschema:"tokens of the prompt a second"`
	GenerationTPS float64        `json:"generation_tps" jsonschema:"tokens a second behind the first"`
	TokenTimes    []float64      `json:"token_times" jsonschema:"seconds from the first token to each"`
	Kernels       map[string]int `json:"kernels" jsonschema:"how often each ran"`
	KernelRuns    string         `json:"kernel_runs" jsonschema:"where kernels run: the device, reference, or both; empty if there was no rewrite"`
	Rewritten     bool           `json:"rewritten" jsonschema:"false with --no-rewrite"`
	Profile       string         `json:"profile,omitempty" jsonschema:"of rules"`
	KVBits        int            `json:"kv_bits,omitempty" jsonschema:"of a quantized cache of keys and values"`
	CachedTokens  int            `json:"cached_tokens,omitempty" jsonschema:"that came from a prompt cache"`
	FromDraft     int            `json:"from_draft,omitempty" jsonschema:"tokens that --draft-model had guessed"`
}

func (a *app) generate(ctx context.Context, o *options, t *textOptions, d *draftOptions, format string, plain bool) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	for i, text := range t.prompts { // mlx_lm.generate does this, its other commands do not
		t.prompts[i] = strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(text)
	}
	texts, err := a.texts(t.prompts)
	if err != nil {
		return err
	}
	if o.model == "" && t.cacheFile == "" {
		return needsModel("generate")
	}
	if len(texts) != 1 {
		return diag.Errorf("usage/generate", diag.Pos{}, "generate needs one --prompt, and %d are given", len(texts)).WithHint("--prompt TEXT, or --prompt - for standard input; validate takes several, chat asks for them")
	}
	if err := t.checkLength("generate"); err != nil {
		return err
	}
	sampler, err := t.sampler()
	if err != nil {
		return err
	}
	if err := d.check(o, t); err != nil {
		return err
	}
	m, err := a.open(ctx, o, t, plain)
	if err != nil {
		return err
	}
	defer m.close()
	if err := d.open(ctx, a, o, m); err != nil {
		return err
	}
	turn := m.prompt
	if m.file != nil {
		turn = m.query
	}
	prompt, err := turn(texts[0], t)
	if err != nil {
		return err
	}
	emit := func(string) {}
	if format == "text" {
		emit = func(piece string) { fmt.Fprint(a.stdout, piece) }
	}
	out, res, cut := m.say(ctx, prompt, t, m.options(t, sampler), emit)
	if out == nil {
		return cut
	}
	out.KVBits = o.kv.Bits
	if m.file != nil {
		out.CachedTokens = m.file.Offset()
	}
	if format == "json" {
		return cmp.Or(a.json(out), cut)
	}
	fmt.Fprintln(a.stdout)
	fmt.Fprintln(a.progress, m.account(out, res, o))
	return cut
}

func (a *app) json(x any) error { return writeJSON(a.stdout, x) }

func writeJSON(w io.Writer, x any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(x)
}

// account says in one line what a text took.
func (m *opened) account(out *generated, res *decode.Result, o *options) string {
	rewritten := " (not rewritten)"
	if !m.plain {
		rewritten = ", kernels: " + m.kernels()
		if len(out.Kernels) > 0 {
			rewritten += " · " + printCounts(out.Kernels)
		}
	}
	if o.kv.Bits > 0 {
		rewritten += fmt.Sprintf(" · KV cache: %s", &o.kv)
	}
	if m.draft != nil {
		rewritten += fmt.Sprintf(" · %d of %d tokens from the draft", res.FromDraft, len(res.Tokens))
	}
	return fmt.Sprintf("prompt: %d tokens, %.1f tokens/s · generation: %d tokens, %.1f tokens/s · %s on %s %s · profile %s%s",
		len(res.Prompt), res.PromptTPS(), len(res.Tokens), res.TPS(), m.engine.Name(), m.engine.Device(), m.engine.Version(), m.prof.Name, rewritten)
}
