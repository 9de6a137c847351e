//go:build mlx

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/verify/whole"
)

// TestLatentIdentity is TestTinyIdentity over caches that are long enough to be attended
// to in parts: all of their rows, or those that an indexer chose. The tokens before are
// those of MLX's own ops.
func TestLatentIdentity(t *testing.T) {
	for _, m := range []struct {
		name   string
		prompt int    // tokens
		topk   string // in the place of the model's index_topk
	}{
		{"glm4_moe_lite-f32-4bit", 2060, ""},
		{"deepseek_v32-f32", 1040, "1024"},
	} {
		t.Run(m.name, func(t *testing.T) {
			dir := filepath.Join("../../.cache/oracle/tiny", m.name)
			if _, err := os.Stat(dir); err != nil {
				t.Skip("the tiny models are not in .cache/oracle/tiny: scripts/oracle/tiny_models.py makes them")
			}
			if m.topk != "" {
				dir = withTopK(t, dir, m.topk)
			}
			p := newIdentity(t, dir, "inference", "float32")
			prompt := make([]int, m.prompt)
			for i := range prompt {
				prompt[i] = 1 + (i*i*7+i*13)%319
			}
			ctx, opts := context.Background(), decode.Options{MaxTokens: 6, Logits: true}
			_, before, err := whole.Steps(ctx, p.before, prompt, opts)
			if err != nil {
				t.Fatal(err)
			}
			var after []decode.Step
			_, counts, err := p.r.count(p.rewritten, func() (r *decode.Result, err error) {
				r, after, err = whole.Steps(ctx, p.after, prompt, opts)
				return r, err
			})
			if err != nil {
				t.Fatal(err)
			}
			c := decode.Compare(before, after)
			if c.First >= 0 || c.Steps != 6 {
				t.Errorf("tokens part at step %d of %d: %d before, %d after; the margin was %v, the largest logit error %v", c.First, c.Steps, c.A, c.B, c.Margin, c.MaxError)
			}
			if c.MaxError > 1e-4 {
				t.Errorf("a logit is off by %g", c.MaxError)
			}
			for _, kernel := range []string{"mla_decode_split", "sdpa_merge"} {
				if counts[kernel] < 3*6 { // layers, tokens
					t.Errorf("kernel %s was launched %d times", kernel, counts[kernel])
				}
			}
			t.Logf("smallest margin %.3g, largest logit error %.3g; %s", c.Margin, c.MaxError, printCounts(counts))
		})
	}
}

// withTopK copies a model's folder and changes its index_topk.
func withTopK(t *testing.T, dir, topk string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "config.json" {
			changed := bytes.Replace(b, []byte(`"index_topk": 12`), []byte(`"index_topk": `+topk), 1)
			if bytes.Equal(changed, b) {
				t.Fatal("no index_topk of 12 to change")
			}
			b = changed
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
