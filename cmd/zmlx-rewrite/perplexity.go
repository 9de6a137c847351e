package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
)

// perplexityOptions are mlx_lm.perplexity's.
type perplexityOptions struct {
	length, samples, batch int
	format                 string
}

func (a *app) perplexityCmd() *cobra.Command {
	var o options
	var t perplexityOptions
	c := &cobra.Command{
		Use:   "perplexity MODEL FILE",
		Short: "Say how well a model predicts a text, before and after the rewrite",
		Long: "Perplexity computes what mlx_lm.perplexity does: the exponential of the mean cross entropy of all\n" +
			"tokens but the first of each sample. The text (- is standard input) is cut into samples in order; what\n" +
			"is left at its end is not used.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			o.model = args[0]
			return a.perplexity(c.Context(), &o, &t, args[1])
		},
	}
	o.flags(c)
	o.dtypeFlag(c)
	o.adapterFlag(c)
	c.Flags().IntVar(&t.length, "sequence-length", 512, "`tokens` of a sample")
	c.Flags().IntVar(&t.samples, "num-samples", -1, "use the first `n` samples; -1 uses all")
	c.Flags().IntVar(&t.batch, "batch-size", 8, "samples that are computed at once")
	c.Flags().StringVarP(&t.format, "output", "o", "text", "text or json")
	return c
}

// perplexities is the JSON form; fields may be added, these stay.
type perplexities struct {
	Samples       int     `json:"samples" jsonschema:"of the text"`
	Tokens        int     `json:"tokens" jsonschema:"that were predicted"`
	Perplexity    float64 `json:"perplexity" jsonschema:"of the unrewritten program"`
	Error         float64 `json:"standard_error" jsonschema:"of the perplexity, as mlx-lm estimates it"`
	Rewritten     float64 `json:"rewritten_perplexity" jsonschema:"of the rewritten program"`
	RewrittenErr  float64 `json:"rewritten_standard_error" jsonschema:"of that"`
	RelativeDelta float64 `json:"relative_difference" jsonschema:"of the rewritten perplexity to the other: 0 if they are equal"`
	Profile       string  `json:"profile" jsonschema:"of rules"`
	KernelRuns    string  `json:"kernel_runs" jsonschema:"where kernels run: the device, reference, or both"`
}

func (a *app) perplexity(ctx context.Context, o *options, t *perplexityOptions, file string) error {
	if err := oneOf("output", t.format, "text", "json"); err != nil {
		return err
	}
	if t.length < 2 || t.batch < 1 || t.samples == 0 || t.samples < -1 {
		return diag.Errorf("usage/perplexity", diag.Pos{}, "perplexity needs --sequence-length of at least 2, and --batch-size and --num-samples of at least 1").WithHint("leave them out for --sequence-length 512 --batch-size 8 and all samples")
	}
	text, err := a.textOf(file)
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
	r, err := a.runner(s.subject, w.set.Kernels)
	if err != nil {
		return err
	}
	defer r.close()
	ids := r.tok.Encode(text, true)
	var rows [][]int
	for at := 0; at+t.length <= len(ids) && (t.samples < 0 || len(rows) < t.samples); at += t.length {
		rows = append(rows, ids[at:at+t.length])
	}
	if len(rows) == 0 {
		return diag.Errorf("usage/perplexity", diag.Pos{File: file}, "has %d tokens, fewer than one sample of %d", len(ids), t.length).WithHint("--sequence-length %d uses them", max(2, len(ids)))
	}
	before, after := &programs{plain: s.program}, &programs{plain: s.res.Program}
	if err := r.derive(after, before); err != nil {
		return err
	}
	measure := func(what string, p *programs) (*decode.Perplexity, error) {
		program, session, err := r.load(ctx, p.plain)
		if err != nil {
			return nil, err
		}
		defer session.Close()
		line, begun := a.statusLine(), time.Now()
		defer line.clear()
		return decode.Measure(ctx, r.engine, session, program, rows, t.batch, func(done int) {
			line.progress(begun, int64(done), int64(len(rows)), "%s, %d of %d samples", what, done, len(rows))
		})
	}
	x, err := measure("unrewritten", before)
	if err != nil {
		return err
	}
	y, err := measure("rewritten", after)
	if err != nil {
		return err
	}
	out := perplexities{len(rows), x.Tokens, x.Value, x.Error, y.Value, y.Error, y.Value/x.Value - 1, prof.Name, r.kernels()}
	for _, v := range []*float64{&out.Perplexity, &out.Error, &out.Rewritten, &out.RewrittenErr, &out.RelativeDelta} {
		if math.IsNaN(*v) || math.IsInf(*v, 0) {
			return isFalse("the perplexity is %v before and %v after the rewrite", x.Value, y.Value)
		}
	}
	if t.format == "json" {
		return a.json(out)
	}
	fmt.Fprintf(a.stdout, "%s · %d samples of %d tokens · profile %s · kernels: %s\n", s.name, len(rows), t.length, prof.Name, r.kernels())
	fmt.Fprintf(a.stdout, "unrewritten  %.3f ± %.3f\n", x.Value, x.Error)
	fmt.Fprintf(a.stdout, "rewritten    %.3f ± %.3f (%+.4f %%)\n", y.Value, y.Error, 100*out.RelativeDelta)
	return nil
}

// textOf reads a text; - is standard input.
func (a *app) textOf(file string) (string, error) {
	if file != "-" {
		data, err := readLimited(file, maxText)
		return string(data), err
	}
	data, err := io.ReadAll(io.LimitReader(a.stdin, maxText))
	if err != nil {
		return "", diag.Errorf("file/read", diag.Pos{File: "standard input"}, "%v", err)
	}
	return string(data), nil
}
