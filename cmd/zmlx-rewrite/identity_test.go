//go:build mlx

package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"slices"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/upcycle"
	"zmlx-rewrite/verify/whole"
)

const (
	smollm2File   = "../../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
	mixtureFolder = "../../.cache/models/SmolLM2-135M-MoE"
)

// nearTie is a margin in float32 that another order of summation may turn around.
const nearTie = 1e-3

// TestTokenIdentity is the promise, kept by the kernels themselves: in float32 on the
// CPU, SmolLM2 and the mixture made of it give the same tokens before the rewrite, where
// MLX's ops run, and after it, where kernels do. The tokens before are mlx-lm's
// (scripts/oracle/float32_goldens.py). Every kernel of the plan was launched, by the
// engine's own count, as often as the plan says.
func TestTokenIdentity(t *testing.T) {
	if _, err := os.Stat(smollm2File); err != nil {
		t.Skip("SmolLM2 is not in .cache/models: scripts/setup-model.sh fetches it")
	}
	if err := upcycle.Ensure(smollm2File, mixtureFolder, 0); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../testdata/float32.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens struct {
		Models map[string][]identityRun
	}
	if err := json.Unmarshal(text, &goldens); err != nil {
		t.Fatal(err)
	}
	prompts, tokens := 2, 48
	switch {
	case testing.Short():
		prompts, tokens = 1, 8
	case os.Getenv("ZMLX_SOAK") != "":
		prompts, tokens = 5, 256
	}
	for _, m := range []struct {
		name, path string
		kernels    []string // of the decode step
	}{
		{"smollm2", smollm2File, []string{"add_rms_norm", "qk_rope", "qmv", "qmv_swiglu"}},
		{"mixture", mixtureFolder, []string{"add_rms_norm", "gather_qmm_combine", "gather_qmm_swiglu", "qk_rope", "qmv", "router_topk_softmax_first"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			p := newIdentity(t, m.path, "inference", "float32")
			perStep := kernelCalls(p.rewritten, []int{1}, 1)
			for _, k := range m.kernels {
				if perStep[k] == 0 {
					t.Errorf("no %s in a decode step: %v", k, perStep)
				}
			}
			for _, g := range goldens.Models[m.name][:prompts] {
				p.run(t, &g, tokens, perStep)
			}
		})
	}
}

// identityRun is a run in testdata/float32.json.
type identityRun struct {
	Text           string
	Prompt, Tokens []int
	Margins        []float64
}

// identity is a model before and after the rewrite, both ready to run.
type identity struct {
	r             *runner
	rewritten     *programs
	before, after *decode.Generator
}

func newIdentity(t *testing.T, path, preset, dtype string) *identity {
	t.Helper()
	return rewriteIdentity(t, &options{model: path, dtype: dtype, preset: preset, target: "cpu"})
}

func rewriteIdentity(t *testing.T, o *options) *identity {
	t.Helper()
	ctx := context.Background()
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	w, prof, all, err := a.rewriteAll(o)
	if err != nil {
		t.Fatal(err)
	}
	s := all[0]
	t.Cleanup(s.close)
	before, after, err := o.kv.programs(w, prof, o, s)
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(w.set.Kernels, a.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	p := &identity{r: &runner{engine: e, model: s.model, catalog: w.set.Kernels, warn: &testLog{t}, ran: map[*kernels.Spec]string{}}, rewritten: after}
	if err := p.r.derive(after, before); err != nil {
		t.Fatal(err)
	}
	load := func(q *programs) *decode.Generator {
		g, done, err := p.r.generator(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		return g
	}
	p.before, p.after = load(before), load(after)
	for s, where := range p.r.ran {
		if where != "cpu" {
			t.Errorf("kernel %s runs as %s", s.Name, where)
		}
	}
	return p
}

// testLog is where warnings go, such as that a kernel cannot be launched.
type testLog struct{ t *testing.T }

func (l *testLog) Write(b []byte) (int, error) { l.t.Logf("%s", b); return len(b), nil }

func (p *identity) run(t *testing.T, g *identityRun, n int, perStep map[string]int) {
	t.Helper()
	ctx := context.Background()
	opts := decode.Options{MaxTokens: n, Logits: true}
	ra, sa, err := whole.Steps(ctx, p.before, g.Prompt, opts)
	if err != nil {
		t.Fatal(err)
	}
	var sb []decode.Step
	rb, counts, err := p.r.count(p.rewritten, func() (r *decode.Result, err error) {
		r, sb, err = whole.Steps(ctx, p.after, g.Prompt, opts)
		return r, err
	})
	if err != nil {
		t.Fatal(err)
	}

	// Until a near-tie, the tokens before are mlx-lm's on any CPU.
	for i, id := range ra.Tokens {
		if id == g.Tokens[i] {
			continue
		}
		if g.Margins[i] >= nearTie {
			t.Errorf("%q: token %d is %d, mlx-lm's is %d by a margin of %v", g.Text, i, id, g.Tokens[i], g.Margins[i])
		}
		break
	}
	c := decode.Compare(sa, sb)
	if c.First >= 0 {
		t.Errorf("%q: tokens part at step %d: %d before, %d after; the margin was %v, the largest logit error %v", g.Text, c.First, c.A, c.B, c.Margin, c.MaxError)
	}
	if c.Steps != n {
		t.Errorf("%q: %d tokens in place of %d", g.Text, c.Steps, n)
	}
	// What the prompt's call computes of its last layer nobody asks for, so that it is
	// not launched; all of a decode step is.
	calls := kernelCalls(p.rewritten, rb.Calls, rb.Plain)
	if slices.Max(rb.Calls[1:]) > 1 || len(rb.Calls) != n+1 {
		t.Fatalf("calls of %v tokens", rb.Calls)
	}
	prompt := kernelCalls(p.rewritten, rb.Calls[:1], rb.Plain)
	for name, most := range calls {
		least := most - prompt[name]
		if got := counts[name]; got < least || got > most || got == 0 {
			t.Errorf("%q: kernel %s was launched %d times; %d times while decoding, and %d in all calls", g.Text, name, got, least, most)
		}
	}
	t.Logf("%q: %d tokens equal, smallest margin %.4g, largest logit error %.3g; %.2f tokens/s before, %.2f after; %s",
		g.Text, c.Steps, c.Margin, c.MaxError, ra.TPS(), rb.TPS(), printCounts(counts))
}
