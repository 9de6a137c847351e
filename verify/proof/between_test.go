package proof

import (
	"context"
	"slices"
	"testing"
	"time"

	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rules"
)

// TestShippedTogether looks at the rules of each profile on each target.
func TestShippedTogether(t *testing.T) {
	set := shipped(t)
	all := instances(t, set)
	programs, err := Programs()
	if err != nil {
		t.Fatal(err)
	}
	list, issues := profiles.Load("")
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	targets := Targets
	if testing.Short() {
		list, targets = list[:1], targets[:1]
	}
	for _, p := range list {
		for _, target := range targets {
			f := &Together{Name: p.Name + ", " + target, Target: target}
			choice := p.Choose(set, "inference", target, nil)
			f.Rules = slices.DeleteFunc(choice.Rules, func(r *rules.Rule) bool { return choice.Off[r.Name] != "" })
			for _, m := range programs {
				if slices.Contains(p.Models, m.Program.Name) {
					f.Models = append(f.Models, m)
				}
			}
			start := time.Now()
			for _, v := range Between(context.Background(), set, f, all) {
				t.Logf("%s %s %s (%d) %v", v.Status, v.Code, v.Detail, v.Count, time.Since(start).Round(time.Millisecond))
				if v.Method == "overlapping" {
					for _, w := range v.Why {
						t.Log("    ", w)
					}
				}
				if v.Status != Tested || v.Code != "" {
					t.Errorf("%s: %s", v.Code, v.Detail)
				}
			}
		}
	}
}
