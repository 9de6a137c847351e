package ref

import (
	"bytes"
	"context"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/enginetest"
	"zmlx-rewrite/graph"
)

func runGraph(t *testing.T, g *graph.Graph, inputs map[string]*graph.Literal) (map[string][]byte, error) {
	t.Helper()
	e := New()
	in := map[string]engine.Tensor{}
	for name, l := range inputs {
		in[name] = mustTensor(t, e, l.DType, l.Shape, l.Data)
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		return nil, err
	}
	got := map[string][]byte{}
	for name, x := range out {
		if got[name], err = x.Read(); err != nil {
			t.Fatal(err)
		}
	}
	return got, nil
}

// Compacting a graph and cloning it changes no bit of its results, no graph that
// inference accepts makes the engine panic, and only what a number decides (an
// index, a type that this engine lacks) is an error.
func FuzzCompact(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g, inputs := enginetest.RandomGraph(seed, 20)
		want, err := runGraph(t, g, inputs)
		c := g.Clone()
		if err := c.Compact(); err != nil {
			t.Fatal(err)
		}
		got, err2 := runGraph(t, c, inputs)
		if err2 != nil && err == nil {
			t.Fatalf("compacted: %v", err2)
		}
		if err != nil {
			return
		}
		for name := range want {
			if !bytes.Equal(got[name], want[name]) {
				t.Errorf("%s is %x, compacted %x", name, want[name], got[name])
			}
		}
	})
}
