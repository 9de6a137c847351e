package main

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/measure/routing"
	"zmlx-rewrite/models"
)

// TestRoutingIsFound: in a reference model of every type with experts (in all of them with
// ZMLX_SOAK=1), as built and as rewritten, every mixture is found with its weights, the same ones in all cases; in the
// others there is none.
func TestRoutingIsFound(t *testing.T) {
	onceEnough(t)
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	mixtures, types := 0, map[string]bool{}
	targets := []string{"cuda"} // on which more is fused
	if os.Getenv("ZMLX_SOAK") != "" {
		targets = append(targets, "cpu", "metal")
	}
	for _, name := range models.ReferenceNames() {
		if models.ReferenceError(name) != nil {
			continue
		}
		if kind := models.ReferenceType(name); types[kind] && os.Getenv("ZMLX_SOAK") == "" {
			continue
		} else {
			types[kind] = true
		}
		before := -1
		for _, target := range targets {
			_, _, all, err := a.rewriteAll(&options{model: name, target: target, preset: "inference"})
			if err != nil {
				if strings.Contains(err.Error(), "profile/none") {
					break
				}
				t.Fatalf("%s: %v", name, err)
			}
			for side, p := range []*graph.Program{all[0].program, all[0].res.Program} {
				marked, layers, err := routing.Mark(p)
				if err != nil {
					t.Errorf("%s on %s, %s: %v", name, target, sides[side], err)
					continue
				}
				if side == 1 {
					if err := marked.Verify(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				if before >= 0 && len(layers) != before {
					t.Errorf("%s on %s, %s: %d mixtures, %d unrewritten", name, target, sides[side], len(layers), before)
				}
				before = len(layers)
				scopes := map[string]bool{}
				for _, l := range layers {
					if scopes[routing.Short(l.Scope)] || l.Weights == graph.None {
						t.Errorf("%s on %s, %s: %s: weights %v, twice %v", name, target, sides[side], l.Scope, l.Weights, scopes[routing.Short(l.Scope)])
					}
					scopes[routing.Short(l.Scope)] = true
				}
			}
			all[0].close()
		}
		if moe := hasExperts(t, name); moe != (before > 0) && before >= 0 {
			t.Errorf("%s has experts: %v, mixtures found: %d", name, moe, before)
		}
		if before > 0 {
			mixtures++
		}
	}
	if mixtures < 8 {
		t.Errorf("only %d models have mixtures", mixtures)
	}
}

// hasExperts reports whether a model has parameters of three dimensions in a switch_mlp.
func hasExperts(t *testing.T, name string) bool {
	p, err := reference(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range p.Params {
		if q.Type.Rank() == 3 && (strings.Contains(q.Name, "switch_mlp") || strings.Contains(q.Name, ".experts.")) {
			return true
		}
	}
	return false
}
