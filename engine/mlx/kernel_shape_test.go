//go:build mlx

package mlx

import (
	"context"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Two by three rows, then three by two: a kernel sees six rows both times, and its result
// must have the shape of each call.
func TestKernelFollowsShapes(t *testing.T) {
	catalog, issues := kernels.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	e, err := New("cpu", catalog)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := catalog.Spec("swiglu")
	if err := e.(engine.KernelRunner).RunsKernel(s); err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	typ := graph.T(graph.Float32, graph.Sym(graph.SymBatch), graph.Sym(graph.SymSeqLen), graph.N(4))
	y, err := g.Add(s.Op(), "", []graph.ValueID{g.Input("gate", typ), g.Input("up", typ)})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("y", y[0])
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	session, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, shape := range [][]int{{2, 3, 4}, {3, 2, 4}, {2, 3, 4}} {
		in := map[string]engine.Tensor{}
		for _, name := range []string{"gate", "up"} {
			var data []byte
			for i := range 24 {
				data = graph.AppendElem(data, graph.Float32, float64(i))
			}
			if in[name], err = e.NewTensor(graph.Float32, shape, data); err != nil {
				t.Fatal(err)
			}
			defer in[name].Release()
		}
		out, err := session.Step(context.Background(), in, nil)
		if err != nil {
			t.Fatalf("%v: %v", shape, err)
		}
		if got := out["y"].Shape(); !slices.Equal(got, shape) {
			t.Errorf("%v: the result is %v", shape, got)
		}
		out["y"].Release()
	}
}
