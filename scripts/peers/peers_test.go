package main

import (
	"fmt"
	"testing"

	"zmlx-rewrite/rewrite"
)

// TestSites: what must match does, and nothing else; each refusal has its reason.
func TestSites(t *testing.T) {
	cfg, err := config()
	if err != nil {
		t.Fatal(err)
	}
	for _, layers := range sizes {
		g := build(layers)
		p, err := g.program(cfg)
		if err != nil {
			t.Fatal(err)
		}
		res, err := rewrite.Run(p, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Program.Verify(); err != nil {
			t.Fatal(err)
		}
		must, mustNot, missed, wrong := g.judge(matched(res))
		if must != layers*3 || mustNot != layers {
			t.Errorf("%d layers: %d sites must match and %d must not", layers, must, mustNot)
		}
		if len(missed) > 0 || len(wrong) > 0 {
			t.Errorf("%d layers: missed %v, wrongly matched %v", layers, missed, wrong)
		}
		if layers > 48 {
			continue
		}
		// The codes of refusals of whole matches and near misses.
		codes := map[string]map[string]bool{}
		for _, r := range cfg.Rules {
			codes[r.Short()] = map[string]bool{}
			for _, no := range res.Cases[0].Refusals(r) {
				codes[r.Short()][no.Code] = true
			}
		}
		for rule, want := range map[string][]string{
			"rms":        {"match/bound", "match/escape-output", "plan/overlap"}, // a layer norm has one in it
			"layer_norm": {"match/op"},
			"pair":       {"match/convex", "match/escape", "match/no-reader"},
			"swiglu":     {"match/bound", "match/escape"},
		} {
			for _, code := range want {
				if !codes[rule][code] {
					t.Errorf("no site of %s is refused by %s: %v", rule, code, codes[rule])
				}
			}
		}
	}
}

// TestJudge: a site that is missed and one that is wrongly matched are told.
func TestJudge(t *testing.T) {
	g := build(8)
	var all, none []string
	for _, s := range g.Sites {
		all = append(all, s.Rule+" "+s.Param)
	}
	must, mustNot, missed, wrong := g.judge(all)
	if must != 24 || mustNot != 8 || len(missed) != 0 || len(wrong) != 8 {
		t.Errorf("all matched: %d, %d, %v, %v", must, mustNot, missed, wrong)
	}
	_, _, missed, wrong = g.judge(none)
	if len(missed) != 24 || len(wrong) != 0 {
		t.Errorf("none matched: %v, %v", missed, wrong)
	}
	whys := map[string]bool{}
	for _, s := range g.Sites {
		if s.Match == (s.Why != "") {
			t.Errorf("%+v", s)
		}
		whys[s.Why] = true
	}
	for _, w := range []string{whyEscape, whyOutput, whySwapped, whyName, whyX, whyCycle} {
		if !whys[w] {
			t.Errorf("no site has %q", w)
		}
	}
}

// BenchmarkPeers is ours alone.
func BenchmarkPeers(b *testing.B) {
	cfg, err := config()
	if err != nil {
		b.Fatal(err)
	}
	for _, layers := range sizes {
		g := build(layers)
		p, err := g.program(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(layers), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rewrite.Run(p, cfg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
