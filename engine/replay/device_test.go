package replay

import (
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// A function is kept by its source's key: whatever its text depends on is in it.
func TestSourceKey(t *testing.T) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	one := func() *Source {
		return &Source{
			Spec:    catalog.Spec("qmv"),
			Values:  &kernels.Values{Ints: []graph.Dim{graph.N(1), graph.N(12), graph.Sym(graph.SymKVCap)}, Floats: []float64{1e-5}, Types: []graph.DType{graph.BFloat16, graph.Uint32}},
			Results: []graph.DType{graph.BFloat16},
			Ahead:   []MoveShape{{16, [4]int64{1, 2, 3, 4}}},
		}
	}
	if a, b := one().key(), one().key(); a != b {
		t.Errorf("the same source has the keys %q and %q", a, b)
	}
	seen := map[string]string{one().key(): "as it is"}
	for what, change := range map[string]func(*Source){
		"another kernel":           func(s *Source) { s.Spec = catalog.Spec("qmv_add") },
		"another number":           func(s *Source) { s.Values.Ints[1] = graph.N(13) },
		"numbers of other digits":  func(s *Source) { s.Values.Ints[0], s.Values.Ints[1] = graph.N(11), graph.N(2) },
		"a number for a symbol":    func(s *Source) { s.Values.Ints[2] = graph.N(256) },
		"another symbol":           func(s *Source) { s.Values.Ints[2] = graph.Sym(graph.SymKVLen) },
		"one number less":          func(s *Source) { s.Values.Ints = s.Values.Ints[:2] },
		"another float":            func(s *Source) { s.Values.Floats[0] = 1e-6 },
		"no float":                 func(s *Source) { s.Values.Floats = nil },
		"another type":             func(s *Source) { s.Values.Types[0] = graph.Float16 },
		"an operand less":          func(s *Source) { s.Values.Types[1] = graph.NoDType },
		"a result of another type": func(s *Source) { s.Results[0] = graph.Float32 },
		"two results":              func(s *Source) { s.Results = append(s.Results, graph.BFloat16) },
		"no moves":                 func(s *Source) { s.Ahead = nil },
		"two moves":                func(s *Source) { s.Ahead = append(s.Ahead, s.Ahead[0]) },
		"a move of other units":    func(s *Source) { s.Ahead[0].Unit = 8 },
		"a move of another shape":  func(s *Source) { s.Ahead[0].Shape = [4]int64{1, 2, 4, 3} },
		"early":                    func(s *Source) { s.Early = true },
	} {
		s := one()
		change(s)
		if other, ok := seen[s.key()]; ok {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[s.key()] = what
	}
}
