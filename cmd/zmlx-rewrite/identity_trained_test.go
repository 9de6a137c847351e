//go:build mlx

package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/verify/whole"
)

// nearTieHalf is a margin in bfloat16 that another order of summation may turn around.
const nearTieHalf = 0.25

// TestTrainedIdentity is TestTokenIdentity for the small trained models of
// testdata/trained, which write words: mlx-lm, the unrewritten and the rewritten model
// make the same 256 tokens of ten prompts, in float32. In bfloat16 both make mlx-lm's up to
// the first near-tie. The short form takes 48 tokens of two prompts.
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
			perStep := kernelCalls(p.rewritten, []int{1})
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
			for _, r := range goldens.Runs["bfloat16"][:prompts] {
				half.untilNearTie(t, &r, n)
			}
			if words := tok.Decode(runs[0].Tokens, true); strings.Count(words, " ") < 40 {
				t.Errorf("256 tokens make few words: %q", words)
			}
		})
	}
}

// untilNearTie compares the tokens before and after the rewrite with mlx-lm's.
func (p *identity) untilNearTie(t *testing.T, g *identityRun, n int) {
	t.Helper()
	for _, m := range []struct {
		what string
		g    *decode.Generator
	}{{"unrewritten", p.before}, {"rewritten", p.after}} {
		r, _, err := whole.Steps(context.Background(), m.g, g.Prompt, decode.Options{MaxTokens: n, Logits: true})
		if err != nil {
			t.Fatal(err)
		}
		equal := 0
		for equal < n && r.Tokens[equal] == g.Tokens[equal] {
			equal++
		}
		if equal < n && g.Margins[equal] >= nearTieHalf {
			t.Errorf("%s, %q: token %d is %d, mlx-lm's is %d by a margin of %v", m.what, g.Text, equal, r.Tokens[equal], g.Tokens[equal], g.Margins[equal])
		}
		t.Logf("bfloat16, %s, %q: %d of %d tokens are mlx-lm's", m.what, g.Text, equal, n)
	}
}
