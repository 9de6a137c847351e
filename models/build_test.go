package models

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

func buildReference(t testing.TB, name string) *graph.Program {
	t.Helper()
	c, ok := ReferenceConfig(name)
	if !ok {
		t.Fatalf("no reference configuration %s", name)
	}
	p, err := Build(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// summary prints a program's shape: per case its condition, signature and the
// operations of each scope, with layers that look alike on one line.
func summary(p *graph.Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d parameters\n", p.Name, len(p.Params))
	for _, c := range p.Cases {
		g := c.Graph
		fmt.Fprintf(&b, "\ncase %s when %s: %d nodes, %d launches\n", c.Name, c.When, g.NumNodes(), g.Launches())
		for i, id := range g.Inputs() {
			if i < 4 || i >= len(g.Inputs())-2 {
				fmt.Fprintf(&b, "  in  %s %s\n", g.InputName(id), g.Type(id))
			}
		}
		for i, o := range g.Outputs() {
			if i < 3 || i >= len(g.Outputs())-2 {
				fmt.Fprintf(&b, "  out %s %s\n", o.Name, g.Type(o.Value))
			}
		}
		var scopes []string
		ops := map[string][]string{}
		for i := range g.NumNodes() {
			n := g.Node(graph.NodeID(i))
			if n.Op.IsLeaf() {
				continue
			}
			if ops[n.Scope] == nil {
				scopes = append(scopes, n.Scope)
			}
			ops[n.Scope] = append(ops[n.Scope], n.Op.Name)
		}
		var lines []string
		count := map[string][]string{}
		for _, s := range scopes {
			slices.Sort(ops[s])
			var parts []string
			for i := 0; i < len(ops[s]); {
				j := i
				for j < len(ops[s]) && ops[s][j] == ops[s][i] {
					j++
				}
				parts = append(parts, fmt.Sprintf("%d %s", j-i, ops[s][i]))
				i = j
			}
			parts = append([]string{layerless(s) + ":"}, parts...)
			line := strings.Join(parts, " ")
			if count[line] == nil {
				lines = append(lines, line)
			}
			count[line] = append(count[line], s)
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "  %d x %s\n", len(count[l]), l)
		}
	}
	return b.String()
}

// layerless replaces the number of a layer by N.
func layerless(scope string) string {
	parts := strings.Split(scope, ".")
	for i := range parts {
		if i > 0 && parts[i-1] == "layers" {
			parts[i] = "N"
		}
	}
	return strings.Join(parts, ".")
}

// TestReferencePrograms compares every reference model with its golden summary.
// UPDATE_GOLDEN=1 writes them.
func TestReferencePrograms(t *testing.T) {
	for _, name := range ReferenceNames() {
		t.Run(name, func(t *testing.T) {
			p := buildReference(t, name)
			got, file := summary(p), filepath.Join("testdata", "summary", name+".txt")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if err := p.Verify(); err != nil {
				t.Error(err)
			}
			for _, c := range p.Cases {
				for i := range c.Graph.NumNodes() {
					if n := c.Graph.Node(graph.NodeID(i)); !n.Op.IsLeaf() && n.Scope == "" {
						t.Errorf("case %s: node %d, %s, has no scope", c.Name, i, n.Op.Name)
					}
				}
			}
		})
	}
}

// TestCasesCoverEveryCall checks that exactly one case applies to any call, and
// that it is the one mlx-lm would take.
func TestCasesCoverEveryCall(t *testing.T) {
	for _, k := range []int{0, 1, 2, 3, 8, 63, 64, 65} {
		shapes := caseShapes(k)
		for batch := int64(1); batch <= 70; batch++ {
			for seqLen := int64(1); seqLen <= 70; seqLen++ {
				env := map[string]int64{graph.SymBatch: batch, graph.SymSeqLen: seqLen}
				want := "prefill"
				if seqLen == 1 {
					want = "decode"
				}
				if k > 0 && batch*seqLen*int64(k) >= 64 {
					want += "_sorted"
				}
				var got []string
				for _, s := range shapes {
					ok, err := s.when.Eval(env)
					if err != nil {
						t.Fatal(err)
					}
					if ok {
						got = append(got, s.name)
					}
				}
				if len(got) != 1 || got[0] != want {
					t.Fatalf("k=%d %v: cases %v, want %s", k, env, got, want)
				}
			}
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, name := range []string{"Qwen3-0.6B", "Qwen3-30B-A3B-4bit"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buildReference(b, name)
			}
		})
	}
}
