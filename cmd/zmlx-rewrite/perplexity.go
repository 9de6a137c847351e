package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
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
	Samples       int      `json:"samples" jsonschema:"of the text, that the figures are of"`
	Tokens        int      `json:"tokens" jsonschema:"of these, that were predicted"`
	Perplexity    float64  `json:"perplexity" jsonschema:"of the unrewritten program"`
	Error         float64  `json:"standard_error" jsonschema:"of the perplexity, as mlx-lm estimates it"`
	Rewritten     *float64 `json:"rewritten_perplexity,omitempty" jsonschema:"of the rewritten program; absent if ctrl-C came before it had read a sample"`
	RewrittenErr  *float64 `json:"rewritten_standard_error,omitempty" jsonschema:"of that"`
	RelativeDelta *float64 `json:"relative_difference,omitempty" jsonschema:"of the rewritten perplexity to the other: 0 if they are equal"`
	Profile       string   `json:"profile" jsonschema:"of rules"`
	KernelRuns    string   `json:"kernel_runs" jsonschema:"where kernels run: the device, reference, or both"`
	Cut           bool     `json:"interrupted,omitempty" jsonschema:"ctrl-C came before both programs had read all: the figures are of the first samples"`
	Of            int      `json:"of_samples,omitempty" jsonschema:"if interrupted: samples that were to be read"`
	Share         float64  `json:"share_of_text,omitempty" jsonschema:"if interrupted: of the tokens of the whole text that the figures are of"`
	All           float64  `json:"perplexity_of_all,omitempty" jsonschema:"if interrupted: of the unrewritten program over all samples, where it had read them"`
	AllErr        float64  `json:"standard_error_of_all,omitempty" jsonschema:"of that"`
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
	// measure returns the perplexities of the first n samples, for those n that a batch ends with.
	measure := func(what string, p *programs) (map[int]*decode.Perplexity, error) {
		upTo := map[int]*decode.Perplexity{}
		program, session, err := r.load(ctx, p.plain)
		if err != nil {
			return upTo, err
		}
		defer session.Close()
		line, begun := a.statusLine(), time.Now()
		defer line.clear()
		_, err = decode.Measure(ctx, r.engine, session, program, rows, t.batch, func(done int, of *decode.Perplexity) {
			upTo[done] = of
			line.progress(begun, int64(done), int64(len(rows)), "%s, %d of %d samples", what, done, len(rows))
		})
		return upTo, err
	}
	x, err := measure("unrewritten", before)
	var y map[int]*decode.Perplexity
	if err == nil {
		y, err = measure("rewritten", after)
	}
	cut := err != nil && ctx.Err() != nil
	if err != nil && !cut {
		return err
	}
	out := compared(x, y, len(rows))
	if out == nil {
		return &exitError{130, "interrupted before any sample was read; there is nothing to print"}
	}
	out.Profile, out.KernelRuns = prof.Name, r.kernels()
	if out.Cut = cut; cut {
		out.Of, out.Share = len(rows), float64(out.Samples*t.length)/float64(len(ids))
	}
	for _, v := range []*float64{&out.Perplexity, &out.Error, out.Rewritten, out.RewrittenErr, out.RelativeDelta} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			text := fmt.Sprintf("the perplexity is %v before", out.Perplexity)
			if out.Rewritten != nil {
				text += fmt.Sprintf(" and %v after", *out.Rewritten)
			}
			return isFalse("%s the rewrite", text)
		}
	}
	if err := a.printPerplexities(out, t, s.name); err != nil || !cut {
		return err
	}
	by := "by both programs"
	if out.Rewritten == nil {
		by = "by the unrewritten program alone"
	}
	return &exitError{130, fmt.Sprintf("interrupted; the figures are of the first %d of %d samples, %.3g %% of the text, read %s", out.Samples, out.Of, 100*out.Share, by)}
}

// compared makes figures of the perplexities of the first samples, by their number, before and
// after the rewrite. Both are of the same samples, so what the rewritten program has not read is left
// out, unless it has read none; nil if nobody has read any.
func compared(before, after map[int]*decode.Perplexity, all int) *perplexities {
	read := before
	if len(after) > 0 {
		read = after
	}
	if len(read) == 0 {
		return nil
	}
	n := slices.Max(slices.Collect(maps.Keys(read)))
	x, y := before[n], after[n]
	out := &perplexities{Samples: n, Tokens: x.Tokens, Perplexity: x.Value, Error: x.Error}
	if y != nil {
		delta := y.Value/x.Value - 1
		out.Rewritten, out.RewrittenErr, out.RelativeDelta = &y.Value, &y.Error, &delta
	}
	if z := before[all]; z != nil && n < all {
		out.All, out.AllErr = z.Value, z.Error
	}
	return out
}

func (a *app) printPerplexities(out *perplexities, t *perplexityOptions, model string) error {
	if t.format == "json" {
		return a.json(out)
	}
	samples := strconv.Itoa(out.Samples)
	if out.Cut {
		samples = fmt.Sprintf("interrupted: %d of %d", out.Samples, out.Of)
	}
	fmt.Fprintf(a.stdout, "%s · %s samples of %d tokens · profile %s · kernels: %s\n", model, samples, t.length, out.Profile, out.KernelRuns)
	fmt.Fprintf(a.stdout, "unrewritten  %.3f ± %.3f\n", out.Perplexity, out.Error)
	if out.Rewritten != nil {
		fmt.Fprintf(a.stdout, "rewritten    %.3f ± %.3f (%+.4f %%)\n", *out.Rewritten, *out.RewrittenErr, 100**out.RelativeDelta)
	}
	if out.All > 0 {
		fmt.Fprintf(a.stdout, "unrewritten  %.3f ± %.3f over all %d samples\n", out.All, out.AllErr, out.Of)
	}
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
