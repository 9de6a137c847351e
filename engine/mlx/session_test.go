//go:build mlx

package mlx

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

func literal(t testing.TB, e engine.Engine, l *graph.Literal) engine.Tensor {
	t.Helper()
	x, err := e.NewTensor(l.DType, l.Shape, l.Data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func elems(dt graph.DType, shape []int, v ...float64) *graph.Literal {
	l := &graph.Literal{DType: dt, Shape: shape}
	for _, x := range v {
		l.Data = graph.AppendElem(l.Data, dt, x)
	}
	return l
}

// build makes a graph of one op over inputs of the literals' types.
func build(t testing.TB, op string, in []*graph.Literal, attrs ...graph.Attr) (*graph.Graph, map[string]*graph.Literal) {
	t.Helper()
	g, inputs := graph.New(), map[string]*graph.Literal{}
	var list []graph.ValueID
	for i, l := range in {
		name := string(rune('a' + i))
		inputs[name] = l
		list = append(list, g.Input(name, l.Type()))
	}
	out, err := g.Add(graph.LookupOp(op), "model.layers.3", list, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	return g, inputs
}

func run(t testing.TB, e engine.Engine, g *graph.Graph, inputs map[string]*graph.Literal, dims map[string]int64) ([]byte, error) {
	t.Helper()
	in := map[string]engine.Tensor{}
	for name, l := range inputs {
		in[name] = engine.Take(literal(t, e, l))
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, dims)
	if err != nil {
		return nil, err
	}
	defer out["out"].Release()
	return out["out"].Read()
}

// Positions that the caller gives are checked before MLX reads or writes there.
func TestPositionsOutside(t *testing.T) {
	e := newEngine(t)
	table := elems(graph.Float32, []int{3, 2}, 1, 2, 3, 4, 5, 6)
	cache := elems(graph.Float32, []int{1, 1, 4, 1}, 1, 2, 3, 4)
	rows := elems(graph.Float32, []int{1, 1, 2, 1}, 8, 9)
	vector := elems(graph.Float32, []int{4}, 1, 2, 3, 4)
	for _, c := range []struct {
		name, op string
		in       []*graph.Literal
		attrs    []graph.Attr
		want     []float64 // nil: an error
	}{
		{"take", "take", []*graph.Literal{table, elems(graph.Int32, []int{2}, 2, -3)}, []graph.Attr{graph.N(0)}, []float64{5, 6, 1, 2}},
		{"take above", "take", []*graph.Literal{table, elems(graph.Int32, []int{2}, 0, 3)}, []graph.Attr{graph.N(0)}, nil},
		{"take below", "take", []*graph.Literal{table, elems(graph.Int32, []int{2}, 0, -4)}, []graph.Attr{graph.N(0)}, nil},
		{"take uint64", "take", []*graph.Literal{table, elems(graph.Uint64, []int{1}, 1<<62)}, []graph.Attr{graph.N(0)}, nil},
		{"along", "take_along_axis", []*graph.Literal{table, elems(graph.Int32, []int{3, 1}, 0, 1, 2)}, []graph.Attr{graph.N(1)}, nil},
		{"put", "put_along_axis", []*graph.Literal{table, elems(graph.Int32, []int{1, 2}, 0, 3), elems(graph.Float32, []int{1, 2}, 0, 0)}, []graph.Attr{graph.N(0)}, nil},
		{"append", "kv_append", []*graph.Literal{cache, rows, elems(graph.Int32, nil, 2)}, nil, []float64{1, 2, 8, 9}},
		{"append above", "kv_append", []*graph.Literal{cache, rows, elems(graph.Int32, nil, 3)}, nil, nil},
		{"append below", "kv_append", []*graph.Literal{cache, rows, elems(graph.Int32, nil, -1)}, nil, nil},
		{"append far", "kv_append", []*graph.Literal{cache, rows, elems(graph.Int64, nil, 1<<32)}, nil, nil},
		{"append two", "kv_append", []*graph.Literal{cache, rows, elems(graph.Int32, []int{2}, 0, 0)}, nil, nil},
		{"update", "slice_update_dynamic", []*graph.Literal{vector, elems(graph.Float32, []int{2}, 8, 9), elems(graph.Int32, []int{1}, 2)}, []graph.Attr{graph.Dims{graph.N(0)}}, []float64{1, 2, 8, 9}},
		{"update above", "slice_update_dynamic", []*graph.Literal{vector, elems(graph.Float32, []int{2}, 8, 9), elems(graph.Int32, []int{1}, 3)}, []graph.Attr{graph.Dims{graph.N(0)}}, nil},
		{"rope far", "rope", []*graph.Literal{elems(graph.Float32, []int{1, 1, 2}, 1, 2), elems(graph.Int64, nil, 1<<40)}, []graph.Attr{graph.N(2), nil, graph.Float(1e4)}, nil},
	} {
		g, in := build(t, c.op, c.in, c.attrs...)
		got, err := run(t, e, g, in, nil)
		switch {
		case c.want == nil && err == nil:
			t.Errorf("%s: no error, but %v", c.name, got)
		case c.want == nil && !strings.Contains(err.Error(), "model.layers.3"):
			t.Errorf("%s: the error does not say where: %v", c.name, err)
		case c.want != nil && (err != nil || !bytes.Equal(got, elems(graph.Float32, nil, c.want...).Data)):
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// An offset that the graph computes is evaluated when the cache needs it.
func TestComputedOffset(t *testing.T) {
	e := newEngine(t)
	g := graph.New()
	cache := g.Input("cache", graph.T(graph.Float32, graph.N(1), graph.N(1), graph.N(4), graph.N(1)))
	rows := g.Input("rows", graph.T(graph.Float32, graph.N(1), graph.N(1), graph.N(1), graph.N(1)))
	at := g.Input("at", graph.T(graph.Int32))
	next, err := g.Add(graph.LookupOp("add"), "", []graph.ValueID{at, g.Scalar(graph.Int32, 1)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.Add(graph.LookupOp("kv_append"), "", []graph.ValueID{cache, rows, next[0]})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	for at, want := range map[float64][]float64{0: {1, 9, 3, 4}, 2: {1, 2, 3, 9}, 3: nil} {
		got, err := run(t, e, g, map[string]*graph.Literal{
			"cache": elems(graph.Float32, []int{1, 1, 4, 1}, 1, 2, 3, 4), "rows": elems(graph.Float32, []int{1, 1, 1, 1}, 9), "at": elems(graph.Int32, nil, at)}, nil)
		if (err != nil) != (want == nil) || err == nil && !bytes.Equal(got, elems(graph.Float32, nil, want...).Data) {
			t.Errorf("at %v: %v, %v", at, got, err)
		}
	}
}

// A window wider than the cache masks as causal does.
func TestWideWindow(t *testing.T) {
	e := newEngine(t)
	var v []float64
	for i := range 4 * 2 {
		v = append(v, math.Sin(float64(i)))
	}
	x := elems(graph.Float32, []int{1, 1, 4, 2}, v...)
	var results [2][]byte
	for i, attrs := range [][]graph.Attr{
		{graph.Float(1), graph.Str("causal")}, {graph.Float(1), graph.Str("window"), graph.N(math.MaxInt32)},
	} {
		g, in := build(t, "sdpa", []*graph.Literal{x, x, x}, attrs...)
		var err error
		if results[i], err = run(t, e, g, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Errorf("%v and %v", results[0], results[1])
	}
}

func TestKernelIsRefused(t *testing.T) {
	e := newEngine(t)
	swiglu := &graph.Op{Name: "kernel.swiglu", Operands: []graph.Operand{{Name: "a"}}, Results: 1, Launches: 1,
		Infer: func(c *graph.Call) ([]graph.Type, error) { return c.In, nil }}
	g := graph.New()
	x := g.Input("a", graph.T(graph.Float32))
	g.Constant(graph.ScalarLiteral(graph.Float32, 1)) // is given back when Load fails
	out, err := g.Add(swiglu, "model.layers.3.mlp", []graph.ValueID{x})
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(context.Background(), p, nil); err == nil || !strings.Contains(err.Error(), "kernel swiglu") || !strings.Contains(err.Error(), "model.layers.3.mlp") {
		t.Errorf("error: %v", err)
	}
}

// Several goroutines may use an engine, and release what it is computing with.
func TestManyGoroutines(t *testing.T) {
	e := newEngine(t)
	g, in := build(t, "add", []*graph.Literal{elems(graph.Float32, []int{2}, 1, 2), elems(graph.Float32, []int{2}, 3, 4)})
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				a, err := e.NewTensor(graph.Float32, []int{2}, in["a"].Data)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := e.NewTensor(graph.Float32, []int{2}, in["b"].Data)
				if err != nil {
					t.Error(err)
					return
				}
				out, err := s.Step(context.Background(), map[string]engine.Tensor{"a": a, "b": engine.Take(b)}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				done := make(chan struct{})
				go func() { a.Release(); close(done) }()
				if err := e.AsyncEval(out["out"]); err != nil {
					t.Error(err)
				}
				if got, err := out["out"].Read(); err != nil || !bytes.Equal(got, elems(graph.Float32, nil, 4, 6).Data) {
					t.Errorf("%v, %v", got, err)
				}
				out["out"].Release()
				<-done
			}
		})
	}
	wg.Wait()
}

// Reading waits for the tensor that is read, not for what was dispatched after it:
// decoding reads each token while the next step is computed.
func TestReadDoesNotDrain(t *testing.T) {
	e := newEngine(t)
	const n = 512
	typ := graph.T(graph.Float32, graph.N(n), graph.N(n))
	g := graph.New()
	x := g.Input("x", typ)
	out := x
	for range 8 {
		list, err := g.Add(graph.LookupOp("matmul"), "", []graph.ValueID{out, x})
		if err != nil {
			t.Fatal(err)
		}
		out = list[0]
	}
	g.Output("out", out)
	short, in := build(t, "add", []*graph.Literal{elems(graph.Float32, []int{1}, 1), elems(graph.Float32, []int{1}, 2)})
	zeros := literal(t, e, &graph.Literal{DType: graph.Float32, Shape: []int{n, n}, Data: make([]byte, 4*n*n)})
	defer zeros.Release()
	ctx := context.Background()
	var early, late time.Duration
	for range 5 { // a machine that stops us at the wrong moment does not do so each time
		first, err := engine.Run(ctx, e, short, nil, map[string]engine.Tensor{"a": literal(t, e, in["a"]), "b": literal(t, e, in["b"])}, nil)
		if err != nil {
			t.Fatal(err)
		}
		then, err := engine.Run(ctx, e, g, nil, map[string]engine.Tensor{"x": zeros}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.AsyncEval(first["out"]), e.AsyncEval(then["out"])); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := first["out"].Read()
		early = time.Since(start)
		if err != nil || !bytes.Equal(got, elems(graph.Float32, nil, 3).Data) {
			t.Fatalf("%v, %v", got, err)
		}
		if err := e.Eval(ctx, then["out"]); err != nil {
			t.Fatal(err)
		}
		late = time.Since(start)
		first["out"].Release()
		then["out"].Release()
		if early < late/2 {
			return
		}
	}
	t.Errorf("read after %v, all computed after %v", early, late)
}

// A load that fails, or is cancelled, leaves nothing behind and breaks nothing.
func TestFailedLoad(t *testing.T) {
	e := newEngine(t)
	w := weights.NewStore()
	add := func(x *weights.Tensor, err error) *weights.Tensor {
		t.Helper()
		if err == nil {
			err = w.Add(x)
		}
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	gate := add(weights.New("gate", graph.Float32, []int{1, 2}, weights.Raw(elems(graph.Float32, nil, 1, 2).Data)))
	up := add(weights.New("up", graph.Float32, []int{1, 2}, weights.Raw(elems(graph.Float32, nil, 3, 4).Data)))
	program := func(names ...string) *graph.Program {
		g := graph.New()
		for _, name := range names {
			g.Output(name, g.Param(name, graph.T(graph.Float32, graph.N(int64(w.Get(name).Shape[0])), graph.N(2))))
		}
		p, err := engine.Program(g)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, err := e.Load(context.Background(), program("gate"), w)
	if err != nil {
		t.Fatal(err)
	}
	both, err := weights.Concat("both", 0, gate, up)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Own(both); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Load(ctx, program("gate", "up", "both"), w); err == nil {
		t.Error("a cancelled load gave no error")
	}
	missing := program("gate")
	missing.Params[0].Name = "gat"
	if _, err := e.Load(context.Background(), missing, w); err == nil {
		t.Error("a parameter that the program does not list gave no error")
	}
	check := func(s engine.Session, name string, want ...float64) {
		t.Helper()
		out, err := s.Step(context.Background(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for n, x := range out {
			if got, err := x.Read(); n == name && (err != nil || !bytes.Equal(got, elems(graph.Float32, nil, want...).Data)) {
				t.Errorf("%s is %v (%v)", name, got, err)
			}
			x.Release()
		}
	}
	check(first, "gate", 1, 2)
	second, err := e.Load(context.Background(), program("gate", "up", "both"), w)
	if err != nil {
		t.Fatal(err)
	}
	check(second, "both", 1, 2, 3, 4)
	check(second, "up", 3, 4)
	check(first, "gate", 1, 2) // now a view
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	check(first, "gate", 1, 2)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(e.(*mlxEngine).pools); n != 0 {
		t.Errorf("%d pools left", n)
	}
}
