package main

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/models"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// foreignBound is how far logits of about 10 may move in float32 by sums in another order.
const foreignBound = 1e-3

// TestForeignRules runs the rules of all families on the tiny models of all others: where
// a rule matches in a family that it was not written for, the model still computes the
// same. Rules that lose to others get another turn without these.
func TestForeignRules(t *testing.T) {
	onceEnough(t)
	if testing.Short() {
		t.Skip("short: every rule on every tiny model takes a minute")
	}
	folders, err := filepath.Glob("../../.cache/oracle/tiny/*-f32*")
	if err != nil || len(folders) == 0 {
		t.Skip("the tiny models are not in .cache/oracle/tiny: scripts/oracle/tiny_models.py makes them")
	}
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	w, err := a.workspace(&options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, err := models.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			own, err := w.profile("", m.Program)
			if err != nil {
				t.Fatal(err)
			}
			var foreign []*rules.Rule
			for _, r := range w.set.Rules() {
				if !slices.ContainsFunc(own.Rules, func(u profiles.Use) bool { return u.Rule == r.Name }) {
					foreign = append(foreign, r)
				}
			}
			want := tinyLogits(t, m, m.Program)
			for len(foreign) > 0 {
				res, err := rewrite.Run(m.Program, &rewrite.Config{Set: w.set, Rules: foreign, Setting: guard.Setting{Target: "cuda", TPSize: 1}})
				if err != nil {
					t.Fatal(err)
				}
				var applied, lost []*rules.Rule
				for _, r := range foreign {
					switch {
					case slices.ContainsFunc(res.Cases, func(c rewrite.CaseResult) bool { return c.Matches(r.Name) > 0 }):
						applied = append(applied, r)
					case slices.ContainsFunc(res.Cases, func(c rewrite.CaseResult) bool {
						return slices.ContainsFunc(c.Refusals(r), func(f *rewrite.Refusal) bool { return f.Code == rewrite.CodeOverlap })
					}):
						lost = append(lost, r)
					}
				}
				if len(applied) == 0 {
					break
				}
				if err := models.Derive(res.Program, m.Weights); err != nil {
					t.Fatal(err)
				}
				plain, err := w.set.Kernels.Expand(res.Program, nil)
				if err != nil {
					t.Fatal(err)
				}
				worst := 0.0
				for i, x := range tinyLogits(t, m, plain) {
					worst = max(worst, math.Abs(x-want[i]))
					if math.IsNaN(x) {
						worst = math.Inf(1)
					}
				}
				var names []string
				for _, r := range applied {
					names = append(names, r.Name)
				}
				if worst > foreignBound {
					t.Errorf("a logit moves by %.3g with %s", worst, strings.Join(names, ", "))
				}
				t.Logf("%.2g with %s", worst, strings.Join(names, ", "))
				foreign = lost
			}
		})
	}
}

// tinyLogits are those of a prompt of five tokens and of two steps behind it, on the
// reference engine.
func tinyLogits(t *testing.T, m *models.Model, p *graph.Program) []float64 {
	t.Helper()
	ctx := context.Background()
	e := ref.New()
	defer e.Close()
	s, err := e.Load(ctx, p, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := cache.New(e, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Reset()
	var all []float64
	for _, tokens := range [][]uint32{{5, 17, 42, 7, 99}, {3}, {250}} {
		var data []byte
		for _, id := range tokens {
			data = binary.LittleEndian.AppendUint32(data, id)
		}
		in, err := e.NewTensor(graph.Int32, []int{1, len(tokens)}, data)
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Step(ctx, s, engine.Take(in), len(tokens))
		if err != nil {
			t.Fatal(err)
		}
		logits := out["logits"]
		data, err = logits.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(data); i += logits.DType().Size() {
			all = append(all, graph.DecodeElem(logits.DType(), data[i:]))
		}
		logits.Release()
	}
	return all
}
