package ref

import (
	"bytes"
	"context"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

func TestEveryOpHasAnEmitter(t *testing.T) {
	known := map[string]bool{}
	for _, op := range graph.Ops() {
		known[op.Name] = true
		if !op.IsLeaf() && (emitters[op.Name] == nil) != (op.Results > 1 && manyEmitters[op.Name] != nil) {
			t.Errorf("op %s has no function: add one to emitters in ops.go", op.Name)
		}
	}
	for name := range manyEmitters {
		if !known[name] {
			t.Errorf("function for %s, which is not in the op table", name)
		}
	}
	for name := range emitters {
		if !known[name] {
			t.Errorf("function for %s, which is not in the op table", name)
		}
	}
}

// appendGraph is a cache of 4 rows of 2 elements to which one row is added.
func appendGraph(t *testing.T, readTwice bool) *graph.Graph {
	t.Helper()
	g := graph.New()
	cache := g.Input("cache", graph.T(graph.Float32, graph.N(1), graph.N(1), graph.Sym("cap"), graph.N(2)))
	row := g.Input("row", graph.T(graph.Float32, graph.N(1), graph.N(1), graph.N(1), graph.N(2)))
	at := g.Input("at", graph.T(graph.Int32))
	out, err := g.Add(graph.LookupOp("kv_append"), "", []graph.ValueID{cache, row, at})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("cache", out[0])
	if readTwice {
		g.Output("before", cache)
	}
	return g
}

func floats(v ...float64) []byte {
	var b []byte
	for _, x := range v {
		b = graph.AppendElem(b, graph.Float32, x)
	}
	return b
}

func mustTensor(t *testing.T, e engine.Engine, dt graph.DType, shape []int, data []byte) engine.Tensor {
	t.Helper()
	x, err := e.NewTensor(dt, shape, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A cache that is handed over is written in place; one that is lent, or that the
// graph reads elsewhere, is not.
func TestKVAppendOwnership(t *testing.T) {
	e := New()
	for _, c := range []struct {
		name            string
		take, readTwice bool
		inPlace         bool
	}{{"taken", true, false, true}, {"lent", false, false, false}, {"taken and read", true, true, false}} {
		t.Run(c.name, func(t *testing.T) {
			g := appendGraph(t, c.readTwice)
			cache := mustTensor(t, e, graph.Float32, []int{1, 1, 4, 2}, make([]byte, 32))
			data := &cache.(*tensor).a.data[0]
			in := map[string]engine.Tensor{
				"cache": cache,
				"row":   mustTensor(t, e, graph.Float32, []int{1, 1, 1, 2}, floats(1, 2)),
				"at":    mustTensor(t, e, graph.Int32, nil, []byte{2, 0, 0, 0}),
			}
			if c.take {
				in["cache"] = engine.Take(cache)
			}
			out, err := engine.Run(context.Background(), e, g, nil, in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := out["cache"].Read()
			if err != nil || !bytes.Equal(got, floats(0, 0, 0, 0, 1, 2, 0, 0)) {
				t.Errorf("cache is %v (%v)", got, err)
			}
			if same := &out["cache"].(*tensor).a.data[0] == data; same != c.inPlace {
				t.Errorf("in place: %v, want %v", same, c.inPlace)
			}
			old, err := cache.Read()
			if c.take && err == nil {
				t.Error("a tensor that was handed over can still be read")
			}
			if !c.take && (err != nil || !bytes.Equal(old, make([]byte, 32))) {
				t.Errorf("a lent cache was changed: %v (%v)", old, err)
			}
			if c.readTwice {
				if b, _ := out["before"].Read(); !bytes.Equal(b, make([]byte, 32)) {
					t.Errorf("the graph's other reader sees %v", b)
				}
			}
		})
	}
}

func TestKVAppendBeyondTheCapacity(t *testing.T) {
	e := New()
	for _, at := range []byte{4, 255} {
		_, err := engine.Run(context.Background(), e, appendGraph(t, false), nil, map[string]engine.Tensor{
			"cache": mustTensor(t, e, graph.Float32, []int{1, 1, 4, 2}, make([]byte, 32)),
			"row":   mustTensor(t, e, graph.Float32, []int{1, 1, 1, 2}, floats(1, 2)),
			"at":    mustTensor(t, e, graph.Int32, nil, []byte{at, 0, 0, 0}),
		}, nil)
		if err == nil {
			t.Errorf("a row was written at %d of 4", at)
		}
	}
}

func TestIndexOutsideTheAxis(t *testing.T) {
	g := graph.New()
	a, i := g.Input("a", graph.T(graph.Float32, graph.N(3))), g.Input("i", graph.T(graph.Int32))
	out, err := g.Add(graph.LookupOp("take"), "", []graph.ValueID{a, i}, graph.N(0))
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	e := New()
	for index, ok := range map[float64]bool{-4: false, -3: true, 2: true, 3: false} {
		_, err := engine.Run(context.Background(), e, g, nil, map[string]engine.Tensor{
			"a": mustTensor(t, e, graph.Float32, []int{3}, floats(1, 2, 3)),
			"i": mustTensor(t, e, graph.Int32, nil, graph.AppendElem(nil, graph.Int32, index)),
		}, nil)
		if (err == nil) != ok {
			t.Errorf("index %v: %v", index, err)
		}
	}
}
