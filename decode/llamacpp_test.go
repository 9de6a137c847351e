//go:build mlx

package decode_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/models"
)

const smollm2 = "../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"

// llamaRun is a run in testdata/llamacpp.json: see scripts/oracle/llamacpp_goldens.py.
type llamaRun struct {
	Text           string
	Parts          int
	Prompt, Tokens []int
	Margins        []float64
}

// nearTie bounds what the two engines may disagree on. Over the 640 steps of the
// golden file the margins of mlx-lm and of llama.cpp differ by 0.0276 at most
// (median 0.0008): both compute in float32, but MLX rounds embeddings to float16,
// and they add up in different orders. Tokens can part only where the margin is
// less than that; the bound is twice it, for CPUs on which MLX adds up otherwise.
const nearTie = 0.055

// An engine that has nothing in common with MLX gives the same tokens, and nearly
// the same margins, from the same weights.
func TestSmolLM2IsLlamaCpp(t *testing.T) {
	if _, err := os.Stat(smollm2); errors.Is(err, fs.ErrNotExist) {
		t.Skip("SmolLM2 is not in .cache/models: scripts/setup-model.sh fetches it")
	}
	text, err := os.ReadFile("testdata/llamacpp.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct{ Runs []llamaRun }
	if err := json.Unmarshal(text, &goldens); err != nil {
		t.Fatal(err)
	}
	runs, n := goldens.Runs, 128
	if os.Getenv("ZMLX_SOAK") == "" {
		runs, n = runs[:2], 48
	}
	ctx := context.Background()
	m, err := models.Load(smollm2)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e, err := mlx.New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := e.Load(ctx, m.Program, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g, err := decode.New(ctx, e, s, m.Program)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, r := range runs {
		g.Reset()
		worst, i := 0.0, 0
		parted := errors.New("parted")
		_, err := g.Generate(ctx, r.Prompt, decode.Options{MaxTokens: n, Logits: true, OnToken: func(tok decode.Token) error {
			margin := decode.Margin(tok.Logits)
			if tok.ID != r.Tokens[i] {
				// What comes after is another text.
				if margin > nearTie || r.Margins[i] > nearTie {
					t.Errorf("%q: token %d is %d by a margin of %.4g; llama.cpp's is %d by %.4g", r.Text, i, tok.ID, margin, r.Tokens[i], r.Margins[i])
				} else {
					t.Logf("%q: a tie at token %d: %d by a margin of %.4g; llama.cpp's is %d by %.4g", r.Text, i, tok.ID, margin, r.Tokens[i], r.Margins[i])
				}
				return parted
			}
			worst = max(worst, math.Abs(margin-r.Margins[i]))
			i++
			return nil
		}})
		if err != nil && !errors.Is(err, parted) {
			t.Fatal(err)
		}
		if err == nil && i != n {
			t.Errorf("%q: %d tokens in place of %d", r.Text, i, n)
		}
		t.Logf("%q: %d tokens are llama.cpp's; margins differ by %.4g at most", r.Text, i, worst)
		if worst > nearTie {
			t.Errorf("%q: margins differ by %.4g", r.Text, worst)
		}
	}
}
