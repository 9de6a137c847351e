//go:build mlx

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"zmlx-rewrite/graph/kvquant"
)

// TestQuantizedCacheIdentity: with quantized caches, too, a rewrite keeps mlx-lm's tokens,
// and one kernel is all of a token's attention. The prompts of testdata/kv.json that mlx-lm
// feeds in one chunk, in float32.
func TestQuantizedCacheIdentity(t *testing.T) {
	text, err := os.ReadFile("../../testdata/kv.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct {
		Runs []struct {
			Model          string
			Bits, Start    int
			Chunk          int
			GroupSize      int `json:"group_size"`
			Prompt, Tokens []int
			Margins        []float64
		}
	}
	if err := json.Unmarshal(text, &goldens); err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, g := range goldens.Runs {
		if !strings.Contains(g.Model, "-f32") || g.Chunk < len(g.Prompt) || len(g.Prompt) < 2 || g.Start > 1000 {
			continue
		}
		tested++
		t.Run(g.Model, func(t *testing.T) {
			dir := filepath.Join("../../.cache/oracle/tiny", g.Model)
			if _, err := os.Stat(dir); err != nil {
				t.Skip("the tiny models are not in .cache/oracle/tiny: scripts/oracle/tiny_models.py makes them")
			}
			o := &options{model: dir, dtype: "float32", preset: "inference", target: "cpu"}
			o.kv = kvOptions{Options: kvquant.Options{Bits: g.Bits, GroupSize: g.GroupSize}, start: g.Start, flags: &cobra.Command{}, beside: true}
			p := rewriteIdentity(t, o)
			perStep := kernelCalls(p.rewritten, []int{1}, 0)
			if perStep["sdpa_decode_quantized"] == 0 {
				t.Errorf("no sdpa_decode_quantized in a decode step: %v", perStep)
			}
			p.run(t, &identityRun{g.Model, g.Prompt, g.Tokens, g.Margins}, len(g.Tokens), perStep)
		})
	}
	if tested < 2 {
		t.Errorf("%d runs", tested)
	}
}
