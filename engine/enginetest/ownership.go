package enginetest

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// appendGraph adds one row to a cache of cap rows of 2 elements. readTwice makes
// the cache as it was before a result too.
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

// Float32 makes a row-major float32 literal.
func Float32(shape []int, v ...float64) *graph.Literal {
	l := &graph.Literal{DType: graph.Float32, Shape: shape}
	for _, x := range v {
		l.Data = graph.AppendElem(l.Data, graph.Float32, x)
	}
	return l
}

func appendInputs(t *testing.T, e engine.Engine, at float64) map[string]engine.Tensor {
	return map[string]engine.Tensor{
		"cache": newTensor(t, e, Float32([]int{1, 1, 4, 2}, 0, 0, 0, 0, 0, 0, 0, 0)),
		"row":   newTensor(t, e, Float32([]int{1, 1, 1, 2}, 1, 2)),
		"at":    newTensor(t, e, graph.ScalarLiteral(graph.Int32, at)),
	}
}

// runOwnership: handing a cache over or lending it gives the same result, only a
// lent one can be used afterwards, and nothing that somebody holds is changed.
func runOwnership(t *testing.T, e engine.Engine) {
	zero := make([]byte, 32)
	want := Float32(nil, 0, 0, 0, 0, 1, 2, 0, 0).Data
	for _, c := range []struct {
		name                  string
		take, readTwice, fail bool
	}{
		{name: "taken", take: true}, {name: "lent"}, {name: "taken, read twice", take: true, readTwice: true},
		{name: "lent, read twice", readTwice: true}, {name: "taken by a step that fails", take: true, fail: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := appendInputs(t, e, 2)
			cache := in["cache"]
			if c.take {
				in["cache"] = engine.Take(cache)
			}
			if c.fail {
				in["row"] = newTensor(t, e, graph.ScalarLiteral(graph.Float32, 1))
			}
			out, err := engine.Run(context.Background(), e, appendGraph(t, c.readTwice), nil, in, nil)
			if c.fail != (err != nil) {
				t.Fatalf("error: %v", err)
			}
			if !c.fail {
				if got, err := out["cache"].Read(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("cache is %v (%v)", got, err)
				}
			}
			if c.readTwice {
				if got, err := out["before"].Read(); err != nil || !bytes.Equal(got, zero) {
					t.Errorf("the other reader sees %v (%v)", got, err)
				}
			}
			if old, err := cache.Read(); c.take && err == nil {
				t.Error("a tensor that was handed over can still be read")
			} else if !c.take && (err != nil || !bytes.Equal(old, zero)) {
				t.Errorf("a lent cache is %v (%v)", old, err)
			}
			for _, x := range out {
				x.Release()
			}
		})
	}
	t.Run("zeros", func(t *testing.T) { runZeros(t, e) })
	t.Run("many steps", func(t *testing.T) {
		p, err := engine.Program(appendGraph(t, false))
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.Load(context.Background(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := appendInputs(t, e, 0)
		for i := range 4 {
			in["cache"] = engine.Take(in["cache"])
			in["at"] = engine.Take(newTensor(t, e, graph.ScalarLiteral(graph.Int32, float64(i))))
			out, err := s.Step(context.Background(), in, nil)
			if err != nil {
				t.Fatal(err)
			}
			in["cache"] = out["cache"]
			if err := e.AsyncEval(in["cache"]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// The result outlives the session.
		if err := e.Eval(context.Background(), in["cache"]); err != nil {
			t.Fatal(err)
		}
		if got, err := in["cache"].Read(); err != nil || !bytes.Equal(got, Float32(nil, 1, 2, 1, 2, 1, 2, 1, 2).Data) {
			t.Errorf("cache is %v (%v)", got, err)
		}
		if _, err := s.Step(context.Background(), appendInputs(t, e, 0), nil); err == nil {
			t.Error("a closed session made a step")
		}
	})
	t.Run("one tensor for two inputs", func(t *testing.T) {
		g := graph.New()
		a, b := g.Input("a", graph.T(graph.Float32, graph.N(2))), g.Input("b", graph.T(graph.Float32, graph.N(2)))
		out, err := g.Add(graph.LookupOp("add"), "", []graph.ValueID{a, b})
		if err != nil {
			t.Fatal(err)
		}
		g.Output("a", a) // an input as a result
		g.Output("sum", out[0])
		g.Output("again", out[0])
		x := newTensor(t, e, Float32([]int{2}, 1, 2))
		res, err := engine.Run(context.Background(), e, g, nil, map[string]engine.Tensor{"a": x, "b": x}, nil)
		if err != nil {
			t.Fatal(err)
		}
		x.Release()
		res["sum"].Release()
		for name, want := range map[string][]byte{"a": Float32(nil, 1, 2).Data, "again": Float32(nil, 2, 4).Data} {
			if got, err := res[name].Read(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is %v (%v)", name, got, err)
			}
			res[name].Release()
		}
	})
}

// runZeros: zeros are as those that NewTensor makes of bytes, and one cache of them is not another.
func runZeros(t *testing.T, e engine.Engine) {
	for _, dt := range []graph.DType{graph.Float32, graph.BFloat16, graph.Int32, graph.Uint8} {
		for _, shape := range [][]int{nil, {0}, {2, 0, 3}, {1}, {3, 5}, {2, 300, 7}} {
			n, err := engine.NumBytes(dt, shape)
			if err != nil {
				t.Fatal(err)
			}
			x, err := e.Zeros(dt, shape)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := x.Read(); err != nil || !bytes.Equal(got, make([]byte, n)) || x.DType() != dt || !slices.Equal(x.Shape(), shape) {
				t.Errorf("zeros %s%v are %s%v: %v (%v)", dt, shape, x.DType(), x.Shape(), got, err)
			}
			x.Release()
		}
	}
	var caches [2]engine.Tensor
	for i := range caches {
		var err error
		if caches[i], err = e.Zeros(graph.Float32, []int{1, 1, 4, 2}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Eval(context.Background(), caches[:]...); err != nil { // then each has memory, which is written in place
		t.Fatal(err)
	}
	in := appendInputs(t, e, 2)
	in["cache"].Release()
	in["cache"] = engine.Take(caches[0])
	out, err := engine.Run(context.Background(), e, appendGraph(t, false), nil, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []engine.Tensor{out["cache"], caches[1]} {
		want := [][]byte{Float32(nil, 0, 0, 0, 0, 1, 2, 0, 0).Data, make([]byte, 32)}[i]
		if got, err := x.Read(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("cache %d is %v (%v)", i, got, err)
		}
		x.Release()
	}
}

// runInputs: what the signature does not allow is an error, never a panic.
func runInputs(t *testing.T, e engine.Engine) {
	p, err := engine.Program(appendGraph(t, false))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	scalar := func(dt graph.DType) engine.Tensor { return newTensor(t, e, graph.ScalarLiteral(dt, 0)) }
	for name, change := range map[string]func(map[string]engine.Tensor){
		"missing":      func(in map[string]engine.Tensor) { delete(in, "at") },
		"one too many": func(in map[string]engine.Tensor) { in["more"] = in["at"] },
		"nil":          func(in map[string]engine.Tensor) { in["at"] = nil },
		"type":         func(in map[string]engine.Tensor) { in["at"] = scalar(graph.Int64) },
		"rank":         func(in map[string]engine.Tensor) { in["row"] = scalar(graph.Float32) },
		"shape": func(in map[string]engine.Tensor) {
			in["row"] = newTensor(t, e, Float32([]int{1, 1, 1, 3}, 0, 0, 0))
		},
		"released": func(in map[string]engine.Tensor) { in["at"].Release() },
	} {
		in := appendInputs(t, e, 0)
		change(in)
		if _, err := s.Step(context.Background(), in, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Step(ctx, appendInputs(t, e, 0), nil); err == nil {
		t.Error("a cancelled step gave no error")
	}
	for _, shape := range [][]int{{2, -1}, {3}, {1 << 40, 1 << 40}} {
		if _, err := e.NewTensor(graph.Float32, shape, make([]byte, 8)); err == nil {
			t.Errorf("shape %v took 8 bytes", shape)
		}
	}
	for _, shape := range [][]int{{2, -1}, {1 << 40, 1 << 40}} {
		if _, err := e.Zeros(graph.Float32, shape); err == nil {
			t.Errorf("zeros of shape %v were made", shape)
		}
	}
	if _, err := e.Zeros(graph.NoDType, nil); err == nil {
		t.Error("zeros of no type were made")
	}
	if _, err := e.NewTensor(graph.NoDType, nil, nil); err == nil {
		t.Error("a tensor of no type was made")
	}
	for _, shape := range [][]int{nil, {0}, {2, 0, 3}, {1}} {
		n := 4
		if slices.Contains(shape, 0) {
			n = 0
		}
		x, err := e.NewTensor(graph.Float32, shape, make([]byte, n))
		if err != nil {
			t.Errorf("shape %v: %v", shape, err)
			continue
		}
		if b, err := x.Read(); err != nil || len(b) != n {
			t.Errorf("shape %v: read %d bytes (%v)", shape, len(b), err)
		}
		x.Release()
	}
}
