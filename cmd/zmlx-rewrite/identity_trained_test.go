//go:build mlx

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/verify/whole"
)

// TestTrainedIdentity is TestTokenIdentity for the small trained models of
// testdata/trained, which write words: mlx-lm, the unrewritten and the rewritten model
// make the same 256 tokens of ten prompts, in float32. In bfloat16 they part, if at all,
// where the first one's margin is not above its own error against float32. The short form
// takes 48 tokens of two prompts.
func TestTrainedIdentity(t *testing.T) {
	files, err := filepath.Glob("../../testdata/trained/*/config.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no trained models: %v", err)
	}
	prompts, n := 2, 48
	if os.Getenv("ZMLX_SOAK") != "" {
		prompts, n = 10, 256
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(dir + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var goldens struct {
				Runs map[string][]identityRun
			}
			if err := json.Unmarshal(text, &goldens); err != nil {
				t.Fatal(err)
			}
			p := newIdentity(t, dir, "inference", "float32")
			tok, err := p.r.model.Tokenizer()
			if err != nil {
				t.Fatal(err)
			}
			perStep := kernelCalls(p.rewritten, []int{1}, 1)
			if len(perStep) == 0 {
				t.Error("no kernel in a decode step")
			}
			runs := goldens.Runs["float32"]
			if len(runs) < prompts {
				t.Fatalf("%d prompts", len(runs))
			}
			for _, r := range runs[:prompts] {
				if got := tok.Encode(r.Text, true); !slices.Equal(got, r.Prompt) {
					t.Errorf("%q: tokens %v, those of Hugging Face's tokenizers are %v", r.Text, got, r.Prompt)
				}
				p.run(t, &r, n, perStep)
			}
			half := newIdentity(t, dir, "inference", "bfloat16")
			truth, done, err := half.r.truth(t.Context(), dir, "bfloat16", "")
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			var sum halves
			for _, r := range goldens.Runs["bfloat16"][:prompts] {
				half.untilNearTie(t, &r, n, truth, &sum)
			}
			t.Logf("bfloat16: of %d runs %d part after the rewrite, %d with the prompt cut in two; root mean square of logit errors against float32 %.4g, rewritten %.4g, prompt cut %.4g",
				prompts, sum.parted, sum.cutParted, sum.rms(0), sum.rms(1), sum.rms(2))
			if sum.rms(1) > sum.rms(0) { // kernels on a CPU add up in float32, MLX in bfloat16
				t.Error("bfloat16: the rewritten model is further from float32")
			}
			if words := tok.Decode(runs[0].Tokens, true); strings.Count(words, " ") < 40 {
				t.Errorf("256 tokens make few words: %q", words)
			}
		})
	}
}

// halves sums up runs in bfloat16.
type halves struct {
	parted, cutParted, runs int
	squares                 [3]float64
}

func (h *halves) rms(i int) float64 { return math.Sqrt(h.squares[i] / float64(h.runs)) }

// untilNearTie holds three ways in bfloat16 against mlx-lm's tokens or against each other:
// the unrewritten model, the rewritten one, and the unrewritten one with the prompt cut
// in two. Where two part, the margin of the first is not above its own error: the largest
// difference of a logit, over the whole vocabulary, from the same step in float32.
func (p *identity) untilNearTie(t *testing.T, g *identityRun, n int, float32s *decode.Generator, sum *halves) {
	t.Helper()
	ctx, opts := t.Context(), decode.Options{MaxTokens: n, Logits: true}
	before, after, truth := way{p.before, opts}, way{p.after, opts}, way{float32s, opts}
	must := func(list []decode.Step, err error) []decode.Step {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	free := func(w way) []decode.Step {
		_, list, err := w.free(ctx, g.Prompt)
		return must(list, err)
	}
	sa := free(before)

	// mlx-lm's logits are not in the golden file, its margins are.
	golden := make([]decode.Step, n)
	for i, id := range g.Tokens[:n] {
		golden[i].ID = id
	}
	if c := decode.Compare(golden, sa); c.First >= 0 {
		c.Margin = g.Margins[c.First]
		own := decode.MeasureErrors(must(before.led(ctx, g.Prompt, golden)), must(truth.led(ctx, g.Prompt, golden)))
		t.Logf("bfloat16, unrewritten, %q: token %d is %d, mlx-lm's is %d by a margin of %.4g; own error %.4g", g.Text, c.First, c.B, c.A, c.Margin, own.Steps[c.First])
		if !whole.Tied(c.Margin, own.Steps[c.First]) {
			t.Errorf("%q: token %d of the unrewritten model is not mlx-lm's, and no near-tie", g.Text, c.First)
		}
	}

	f, err := hold(ctx, g.Prompt, sa, after, free(after), truth)
	if err != nil {
		t.Fatal(err)
	}
	cut, ok := before.rechunked(g.Prompt)
	if !ok {
		t.Fatalf("%q is too short", g.Text)
	}
	stock, err := hold(ctx, g.Prompt, sa, cut, free(cut), truth)
	if err != nil {
		t.Fatal(err)
	}
	if sum.runs++; f.First >= 0 {
		sum.parted++
	}
	if stock.First >= 0 {
		sum.cutParted++
	}
	for i, rms := range []float64{f.Stock, f.Error, stock.Error} {
		sum.squares[i] += rms * rms
	}
	t.Logf("bfloat16, %q: rewritten %s; prompt cut in two %s; logit errors against float32 %.4g, rewritten %.4g, prompt cut %.4g",
		g.Text, parts(f), parts(stock), f.Stock, f.Error, stock.Error)
	if f.Verdict == whole.Differs {
		t.Errorf("%q: rewritten %s: %s", g.Text, parts(f), f.Why)
	}
	if !stock.Tie {
		t.Errorf("%q: prompt cut in two %s", g.Text, parts(stock))
	}
}

// parts says where two ways part.
func parts(f *whole.Comparison) string {
	if f.First < 0 {
		return fmt.Sprintf("the same %d tokens", f.Steps)
	}
	return fmt.Sprintf("parts at step %d by a margin of %.4g, own error %.4g", f.First, f.Margin, f.StepError)
}
