package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rules/draft"
	"zmlx-rewrite/verify/proof"
)

// TestRulesNewEverywhere begins a rule at every scope of a layer of each fourth small model,
// or of all with ZMLX_SOAK. What
// it writes must be read, fit the place that it was made from, and its replacement have
// the types of what it replaces.
func TestRulesNewEverywhere(t *testing.T) {
	onceEnough(t)
	models, err := proof.Programs()
	if err != nil {
		t.Fatal(err)
	}
	done, all := map[string]bool{}, 0
	for k, m := range models {
		if os.Getenv("ZMLX_SOAK") == "" && k%4 > 0 {
			continue
		}
		for i := range m.Program.Cases {
			c := &m.Program.Cases[i]
			scopes := map[string]int{}
			for id := range graph.NodeID(c.Graph.NumNodes()) {
				if n := c.Graph.Node(id); n.Op.Launches > 0 && strings.Contains(n.Scope, ".1.") {
					scopes[n.Scope]++
				}
			}
			for _, scope := range slices.Sorted(maps.Keys(scopes)) {
				part, err := draft.Select(m.Program, c.Name, scope, "")
				if err != nil {
					t.Fatal(err)
				}
				d, err := draft.Write(part, "tried", "here", true)
				if err != nil {
					t.Errorf("%s %s %s: %v", m.Name, c.Name, scope, err)
					continue
				}
				_, body, _ := strings.Cut(d.Rules, "match:")
				if done[body] {
					continue
				}
				done[body] = true
				all++
				if _, _, _, err := drafted(part, "tried", m.Name); err != nil {
					t.Errorf("%s %s %s: %v", m.Name, c.Name, scope, err)
				}
			}
		}
	}
	t.Logf("%d different parts", all)
	if all < 50 {
		t.Errorf("only %d different parts", all)
	}
}
