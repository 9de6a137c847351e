package convert

import (
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
)

// A primitive that the op table names is one that MLX can write to a file.
func TestPrimsAreInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, p := range mlxfn.Primitives() {
		known[p.Name] = true
	}
	for _, op := range graph.Ops() {
		for _, prim := range op.Prims {
			if name, _, _ := strings.Cut(prim, ":"); !known[name] {
				t.Errorf("%s: MLX serializes no primitive %s; see graph/mlxfn/table.go", op.Name, name)
			}
		}
	}
}
