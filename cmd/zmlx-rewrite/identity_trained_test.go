//go:build mlx

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTrainedIdentity is TestTokenIdentity for the small trained models of
// testdata/trained, which write words: mlx-lm, the unrewritten and the rewritten model
// make the same 256 tokens of ten prompts, in float32. The short form takes 48 of two.
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
			p := newIdentity(t, dir, "inference")
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
			if words := tok.Decode(runs[0].Tokens, true); strings.Count(words, " ") < 40 {
				t.Errorf("256 tokens make few words: %q", words)
			}
		})
	}
}
