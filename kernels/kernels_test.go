package kernels

import (
	"slices"
	"testing"

	"zmlx-rewrite/graph"
)

// TestEmbedded reads every spec that ships.
func TestEmbedded(t *testing.T) {
	c, issues := Load()
	for _, i := range issues {
		t.Error(i)
	}
	if len(c.All()) == 0 {
		t.Fatal("no kernels")
	}
}

// TestUntried: the kernels that ship say of each dimension what lengths are tried.
func TestUntried(t *testing.T) {
	c, issues := Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, s := range c.All() {
		if list := s.Untried(); len(list) > 0 {
			t.Errorf("%s: nothing is said of %v", s.Name, list)
		}
	}
	s := c.Spec("swiglu")
	bare := *s
	bare.Trials = &Trials{}
	if got := bare.Untried(); !slices.Equal(got, []string{"rows", "n"}) {
		t.Errorf("without check, %v are untried", got)
	}
	tried := bare.Trying(map[string][]int64{"n": {64}, "other": {3}})
	if got := tried.Untried(); !slices.Equal(got, []string{"rows"}) || !slices.Equal(tried.checkDim("n").Values, []int64{64, 1}) || len(bare.Trials.Dims) > 0 {
		t.Errorf("with lengths for n, %v are untried; it has %v", got, tried.Trials.Dims)
	}
	matrix := graph.T(graph.Float32, graph.Sym(graph.SymBatch), graph.N(8))
	if got := s.Lengths([]graph.Type{matrix, matrix}); len(got) != 1 || got["n"] != 8 {
		t.Errorf("the lengths of a call are %v", got)
	}
}
