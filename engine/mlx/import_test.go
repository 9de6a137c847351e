//go:build mlx

package mlx

import (
	"bytes"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// testdata/pair.mlxfn has x @ x and x + bias.
func TestRunFile(t *testing.T) {
	e := newEngine(t)
	x := literal(t, e, elems(graph.Float32, []int{3, 3}, 1, 2, 3, 4, 5, 6, 7, 8, 9))
	bias := literal(t, e, graph.ScalarLiteral(graph.Float32, 0.5))
	out, err := RunFile(e, "testdata/pair.mlxfn", []engine.Tensor{x}, map[string]engine.Tensor{"bias": bias})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float64{{30, 36, 42, 66, 81, 96, 102, 126, 150}, {1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5}} {
		if got, err := out[i].Read(); err != nil || !bytes.Equal(got, elems(graph.Float32, nil, want...).Data) {
			t.Errorf("result %d is %v (%v)", i, got, err)
		}
		out[i].Release()
	}
	for name, f := range map[string]func() ([]engine.Tensor, error){
		"no such file": func() ([]engine.Tensor, error) { return RunFile(e, "testdata/none.mlxfn", nil, nil) },
		"no bias":      func() ([]engine.Tensor, error) { return RunFile(e, "testdata/pair.mlxfn", []engine.Tensor{x}, nil) },
		"other engine": func() ([]engine.Tensor, error) { return RunFile(ref.New(), "testdata/pair.mlxfn", nil, nil) },
		"released": func() ([]engine.Tensor, error) {
			bias.Release()
			return RunFile(e, "testdata/pair.mlxfn", []engine.Tensor{x}, map[string]engine.Tensor{"bias": bias})
		},
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
