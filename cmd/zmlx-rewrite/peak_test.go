//go:build mlx

package main

import (
	"context"
	"io"
	"log/slog"
	"math"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph/kvquant"
)

// TestPeakAlone: what a program needs is what it takes if it is the only one that is loaded,
// whether the other one ran before it, and kept something, or not.
func TestPeakAlone(t *testing.T) {
	for _, c := range []struct{ model, preset string }{{"qwen3_moe", "inference"}, {"gpt_oss", "all"}} {
		t.Run(c.model, func(t *testing.T) { peakAlone(t, "../../testdata/trained/"+c.model, c.preset) })
	}
}

func peakAlone(t *testing.T, model, preset string) {
	a := &app{stdout: io.Discard, progress: &testLog{t}, log: slog.New(slog.DiscardHandler)}
	pairOf := func() *pair {
		o := &options{model: model, dtype: "float32", preset: preset, target: engineTarget()}
		o.kv = kvOptions{Options: kvquant.Options{GroupSize: 64}, beside: true, flags: a.benchCmd()}
		p, err := a.pair(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	tokens := randomTokens(1, 100, 50)
	var want [2]int64
	for side := range sides {
		p := pairOf()
		// Only this one: all sessions are closed, and its own is loaded again.
		for _, done := range p.done[2:] {
			done()
		}
		p.done = p.done[:2]
		meter, ok := p.engine.(engine.MemoryMeter)
		if !ok {
			t.Fatal("MLX does not tell")
		}
		begin, err := (&peaks{engine: p.engine, meter: meter}).now()
		if err != nil {
			t.Fatal(err)
		}
		if begin > 1<<16 {
			t.Fatalf("%d bytes are in use before anything is loaded", begin)
		}
		g, done, err := p.generator(t.Context(), p.runs[side])
		if err != nil {
			t.Fatal(err)
		}
		if err := meter.ResetPeak(); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Generate(context.Background(), tokens, decode.Options{MaxTokens: 40}); err != nil {
			t.Fatal(err)
		}
		peak, err := meter.PeakMemory()
		if err != nil {
			t.Fatal(err)
		}
		want[side] = int64(peak) - begin
		done()
		p.close()
	}
	p := pairOf()
	defer p.close()
	m := p.memory
	t.Logf("parameters: %d bytes, %d rewritten", m.params[0], m.params[1])
	for _, side := range []int{0, 1, 0, 1, 1, 0} {
		got, err := m.of(side, func() error {
			p.gens[side].Reset()
			_, err := p.gens[side].Generate(t.Context(), tokens, decode.Options{MaxTokens: 40})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		off := float64(int64(got)-want[side]) / float64(want[side])
		t.Logf("%s: %d bytes, alone %d: %+.3f %%", sides[side], got, want[side], 100*off)
		// MLX's CPU backend counts a buffer that it uses again with all of its size, which may be
		// more than was asked for: these figures are of models whose parameters are a third of all.
		if math.Abs(off) > 0.05 {
			t.Errorf("%s: %d bytes, alone it takes %d", sides[side], got, want[side])
		}
	}
}
