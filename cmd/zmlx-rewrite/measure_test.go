//go:build mlx

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/mlx"
	"zmlx-rewrite/graph/kvquant"
	"zmlx-rewrite/measure/capsule"
)

// TestCapsuleKernels: every kernel that a run launches is among its capsule's, that of the
// quantized cache and that of the next token as well.
func TestCapsuleKernels(t *testing.T) {
	for _, c := range []struct {
		bits           int
		attends, other string
	}{{0, "sdpa_decode", "sdpa_decode_quantized"}, {8, "sdpa_decode_quantized", ""}} {
		a := &app{stdout: io.Discard, progress: &testLog{t}, log: slog.New(slog.DiscardHandler)}
		o := &options{model: "../../testdata/trained/qwen3_moe", dtype: "float32", preset: "inference", target: "cpu"}
		o.kv = kvOptions{Options: kvquant.Options{Bits: c.bits, GroupSize: 64}, start: 4, beside: true, flags: a.benchCmd()}
		p, err := a.pair(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		got, err := a.newCapsule(capsule.Bench, p)
		if err != nil {
			t.Fatal(err)
		}
		if p.engine.Device() == "cpu" {
			library, err := os.ReadFile(os.Getenv(mlx.KernelLibraryEnv))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%x", sha256.Sum256(library)); got.Device.Library != want || deviceOf(p.engine).Library != want {
				t.Errorf("library %s, the capsule says %q", want, got.Device.Library)
			}
		}
		e := p.engine.(engine.KernelRunner)
		before := e.Launches()
		if _, err := p.run(t.Context(), 1, randomTokens(1, 3, p.vocab), 0, 8); err != nil {
			t.Fatal(err)
		}
		ran := map[string]bool{}
		for name, n := range e.Launches() {
			if ran[name] = n > before[name]; ran[name] && got.Rewrite.Kernels[name] != p.catalog.Spec(name).ContentHash {
				t.Errorf("%d bits: kernel %s ran, and the capsule says %q of it", c.bits, name, got.Rewrite.Kernels[name])
			}
		}
		for _, name := range []string{c.attends, "qmv", "argmax_logprobs"} {
			if !ran[name] {
				t.Errorf("%d bits: kernel %s did not run", c.bits, name)
			}
		}
		if c.other != "" && got.Rewrite.Kernels[c.other] != "" {
			t.Errorf("%d bits: kernel %s is in the capsule, and in no program", c.bits, c.other)
		}
		q := got.Rewrite.Quantized
		if (q != nil) != (c.bits > 0) {
			t.Fatalf("%d bits: quantized %v", c.bits, q)
		}
		if q == nil {
			continue
		}
		unrewritten, rewritten := p.runs[0].quantized.Hash().String(), p.runs[1].quantized.Hash().String()
		if q.Before != unrewritten || q.After != rewritten || q.Before == got.Rewrite.Before || q.After == got.Rewrite.After {
			t.Errorf("programs %s → %s, the capsule says %s → %s", unrewritten, rewritten, q.Before, q.After)
		}
		whole := capsule.Capsule{Rewrite: capsule.Rewrite{Launches: q.Launches}}
		if b, a := whole.Rewrite.Ran(nil)[0].Sum(); b != 158 || a != 75 {
			t.Errorf("launches %d → %d", b, a)
		}
		found := false
		for _, r := range q.Replacements {
			found = found || r.Rule == "kv.sdpa_decode"
		}
		if !found {
			t.Error("what became of attention to a quantized cache is not drawn")
		}
	}
}
