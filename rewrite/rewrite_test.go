package rewrite

import (
	"fmt"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
	"zmlx-rewrite/rules"
)

func load(t testing.TB) *rules.Set {
	c, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	s, issues := rules.Load("", nil, c)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return s
}

func reference(t testing.TB, name string) *graph.Program {
	cfg, ok := models.ReferenceConfig(name)
	if !ok {
		t.Fatalf("no reference configuration %s among %v", name, models.ReferenceNames())
	}
	p, err := models.Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDump(t *testing.T) {
	set := load(t)
	for _, name := range models.ReferenceNames() {
		p := reference(t, name)
		res, err := Run(p, &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
		if err != nil {
			t.Fatal(name, err)
		}
		fmt.Println(name, res.Stop)
		for _, c := range res.Cases {
			fmt.Printf("  %s when %s: launches %d -> %d, nodes %d -> %d\n", c.Name, c.When, c.Before.Launches(), c.After.Launches(), c.Before.NumNodes(), c.After.NumNodes())
			for _, r := range set.Rules() {
				miss := map[string]int{}
				for i := range c.Refusals {
					if x := &c.Refusals[i]; x.Rule == r {
						e, o := x.Detail()
						miss[fmt.Sprintf("%s %s %d/%d: expected %s, observed %s", x.Code, x.Guard, x.Matched, x.Of, e, o)]++
					}
				}
				fmt.Printf("    %-30s %d\n", r.Name, c.Matches(r.Name))
				k := 0
				for m, n := range miss {
					if k++; k < 4 {
						fmt.Printf("        %d x %s\n", n, m)
					}
				}
			}
		}
		if err := res.Program.Verify(); err != nil {
			t.Error(name, err)
		}
	}
}

func BenchmarkQwen3MoE(b *testing.B) {
	set := load(b)
	var name string
	for _, n := range models.ReferenceNames() {
		if n == "Qwen3-30B-A3B" || n == "Qwen3-30B-A3B-4bit" {
			name = n
		}
	}
	p := reference(b, name)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Run(p, &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}}); err != nil {
			b.Fatal(err)
		}
	}
}
