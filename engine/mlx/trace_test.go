//go:build mlx

package mlx

import (
	"bytes"
	"context"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// TestTrace: a traced step gives what a step gives, and tells of every node once, in order,
// with a time. The next step is not traced.
func TestTrace(t *testing.T) {
	e, err := New("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	g := graph.New()
	x := g.Input("x", graph.T(graph.Float32, graph.Sym("batch"), graph.N(64)))
	v := x
	ops := []string{"exp", "sigmoid", "negative"}
	for _, op := range ops {
		out, err := g.Add(graph.LookupOp(op), "", []graph.ValueID{v})
		if err != nil {
			t.Fatal(err)
		}
		v = out[0]
	}
	g.Output("out", v)
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var data []float64
	for i := range 2 * 64 {
		data = append(data, float64(i)/50-1)
	}
	in := map[string]engine.Tensor{"x": literal(t, e, elems(graph.Float32, []int{2, 64}, data...))}
	read := func(out map[string]engine.Tensor, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer out["out"].Release()
		b, err := out["out"].Read()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := read(s.Step(context.Background(), in, nil))
	var told []engine.Traced
	each := func(x engine.Traced) { told = append(told, x) }
	if got := read(s.(engine.Tracer).Trace(context.Background(), in, nil, each)); !bytes.Equal(got, want) {
		t.Error("a traced step gives another result")
	}
	if len(told) != len(ops) {
		t.Fatalf("%d nodes told of, %d are there", len(told), len(ops))
	}
	for i, x := range told {
		if x.Node.Op.Name != ops[i] || x.Time <= 0 || x.Env["batch"] != 2 || x.Graph == nil {
			t.Errorf("node %d: %s, %v, %v", i, x.Node.Op.Name, x.Time, x.Env)
		}
	}
	read(s.Step(context.Background(), in, nil))
	if len(told) != len(ops) {
		t.Error("a step that was not to be traced was")
	}
}
