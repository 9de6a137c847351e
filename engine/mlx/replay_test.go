//go:build mlx

package mlx

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
)

// attention is a step of a small model that is nothing but kernels, views, a cache and
// rows of a table: what a replay can hold. more adds lines to it.
func attention(t *testing.T, catalog *kernels.Catalog, more ...string) *graph.Program {
	t.Helper()
	batch, f32 := graph.Sym(graph.SymBatch), graph.Float32
	g := graph.New()
	b := &graph.Bindings{Vars: map[string]graph.Attr{"batch": batch, "kv_len": graph.Sym(graph.SymKVLen)}, Op: catalog.Op, Values: map[string]graph.ValueID{
		"tokens": g.Input("tokens", graph.T(graph.Int32, batch, graph.N(1))),
		"offset": g.Input("offset", graph.T(graph.Int32)),
		"keys":   g.Input("cache.0.keys", graph.T(f32, batch, graph.N(2), graph.Sym(graph.SymKVCap), graph.N(32))),
		"seen":   g.Input("cache.0.state", graph.T(f32, batch, graph.N(64))),
		"table":  g.Param("table", graph.T(f32, graph.N(7), graph.N(64))),
		"w":      g.Param("w", graph.T(f32, graph.N(64))),
	}}
	lines := append([]string{
		"x", "take(table, tokens, axis=-2)",
		"h", "kernel.rms_norm(x, w, eps=1e-5)",
		"heads", "transpose(reshape(h, shape=[$batch, 1, 2, 32]), axes=[0, 2, 1, 3])",
		"rows", "kv_append(keys, heads, offset)",
		"mixed", "kernel.sdpa_decode(heads, rows, rows, scale=0.2, kv_len=$kv_len)",
		"joined", "reshape(transpose(mixed, axes=[0, 2, 1, 3]), shape=[$batch, 1, 64])",
		"y", "kernel.add_rms_norm(joined, x, w, eps=1e-5)",
		"last", "reshape(slice(joined, axis=[-1], start=[0], stop=[64]), shape=[$batch, 64])",
	}, more...)
	var defines []graph.Define
	for i := 0; i < len(lines); i += 2 {
		e, err := syntax.Parse(lines[i+1])
		if err != nil {
			t.Fatalf("%s: %v", lines[i+1], err)
		}
		names := []string{lines[i]}
		if strings.HasPrefix(lines[i+1], "kernel.add_rms_norm") {
			names = []string{"sum", "y"}
		}
		defines = append(defines, graph.Define{Names: names, Expr: e})
	}
	if err := g.BuildAll(defines, b); err != nil {
		t.Fatal(err)
	}
	g.Output("logits", b.Values["y"])
	g.Output("cache.0.keys", b.Values["rows"])
	g.Output("cache.0.state", b.Values["last"])
	if err := g.Compact(); err != nil {
		t.Fatal(err)
	}
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tables(t *testing.T) *weights.Store {
	t.Helper()
	w := weights.NewStore()
	for name, shape := range map[string][]int{"table": {7, 64}, "w": {64}} {
		n := shape[0] * shape[len(shape)-1]
		if len(shape) == 1 {
			n = shape[0]
		}
		data := make([]byte, 0, 4*n)
		for i := range n {
			data = graph.AppendElem(data, graph.Float32, float64((i*37+len(name))%19)/7-1)
		}
		x, err := weights.New(name, graph.Float32, shape, weights.Raw(data))
		if err == nil {
			err = w.Add(x)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// A replayed step gives the bits of the engine underneath, whoever holds the caches
// between the steps, and across the growth of a cache.
func TestReplay(t *testing.T) {
	catalog := shipped(t)
	plain := newEngineWith(t, catalog)
	replayed := replay.Wrap(newEngineWith(t, catalog).(replay.Inner), HostDevice(), catalog, slog.New(slog.DiscardHandler))
	p := attention(t, catalog)
	for _, batch := range []int{1, 3} {
		t.Run(fmt.Sprint("batch ", batch), func(t *testing.T) {
			want := decodeSteps(t, plain, p, batch, nil)
			counted := replayed.Launches()["sdpa_decode"]
			var refused error
			got := decodeSteps(t, replayed, p, batch, &refused)
			if refused != nil {
				t.Fatal(refused)
			}
			if n := replayed.Launches()["sdpa_decode"] - counted; n != len(want) {
				t.Errorf("%d launches of sdpa_decode in %d steps", n, len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("step %d differs", i)
				}
			}
		})
	}
}

// decodeSteps makes 300 steps, and returns the results of each.
func decodeSteps(t *testing.T, e engine.Engine, p *graph.Program, batch int, refused *error) [][]byte {
	t.Helper()
	ctx := context.Background()
	s, err := e.Load(ctx, p, tables(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := cache.New(e, p, batch)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Reset()
	var all [][]byte
	for i := range 300 {
		data := []byte{}
		for b := range batch {
			data = graph.AppendElem(data, graph.Int32, float64((i+b)%7))
		}
		tokens, err := e.NewTensor(graph.Int32, []int{batch, 1}, data)
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Step(ctx, s, engine.Take(tokens), 1)
		if err != nil {
			t.Fatal(err)
		}
		result, err := out["logits"].Read()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c.Tensors() {
			if i%50 == 0 {
				state, err := x.Read()
				if err != nil {
					t.Fatal(err)
				}
				result = append(result, state...)
			}
		}
		all = append(all, result)
		out["logits"].Release()
	}
	if r, ok := s.(interface{ Refusals() map[string]error }); ok && refused != nil {
		for _, err := range r.Refusals() {
			*refused = err
		}
	}
	return all
}

// What a script cannot hold is run by MLX, and so is a step whose numbers it was not made
// for: results and errors are MLX's.
func TestNotReplayed(t *testing.T) {
	catalog := shipped(t)
	plain := newEngineWith(t, catalog)
	replayed := replay.Wrap(newEngineWith(t, catalog).(replay.Inner), HostDevice(), catalog, slog.New(slog.DiscardHandler))
	t.Run("an op", func(t *testing.T) {
		p := attention(t, catalog, "y", "multiply(y, y)")
		var why error
		want, got := decodeSteps(t, plain, p, 1, nil), decodeSteps(t, replayed, p, 1, &why)
		if why == nil || !strings.Contains(why.Error(), "multiply is no kernel of the catalog") {
			t.Errorf("refused with: %v", why)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("step %d differs", i)
			}
		}
	})
	t.Run("an index out of its table", func(t *testing.T) {
		p := attention(t, catalog)
		for _, e := range []engine.Engine{plain, replayed} {
			s, err := e.Load(context.Background(), p, tables(t))
			if err != nil {
				t.Fatal(err)
			}
			c, err := cache.New(e, p, 1)
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := e.NewTensor(graph.Int32, []int{1, 1}, []byte{7, 0, 0, 0})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Step(context.Background(), s, engine.Take(tokens), 1); err == nil || !strings.Contains(err.Error(), "take: indices 7 to 7 are not all in an axis of 7") {
				t.Errorf("%v", err)
			}
			s.Close()
		}
	})
	t.Run("a cache that others hold", func(t *testing.T) {
		p := attention(t, catalog)
		s, err := replayed.Load(context.Background(), p, tables(t))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		in := map[string]engine.Tensor{}
		put := func(name string, d graph.DType, data []byte, shape ...int) {
			x, err := replayed.NewTensor(d, shape, data)
			if err != nil {
				t.Fatal(err)
			}
			in[name] = x
		}
		put("tokens", graph.Int32, []byte{3, 0, 0, 0}, 1, 1)
		put("offset", graph.Int32, []byte{1, 0, 0, 0})
		put("cache.0.keys", graph.Float32, make([]byte, 4*2*8*32), 1, 2, 8, 32)
		put("cache.0.state", graph.Float32, make([]byte, 4*64), 1, 64)
		// They are lent, not handed over: the step must not write to them. The second time
		// the device itself holds the cache.
		for step := range 2 {
			before, err := in["cache.0.keys"].Read()
			if err != nil {
				t.Fatal(err)
			}
			put("offset", graph.Int32, []byte{byte(step), 0, 0, 0})
			out, err := s.Step(context.Background(), in, map[string]int64{graph.SymKVLen: 2})
			if err != nil {
				t.Fatal(err)
			}
			written, err := out["cache.0.keys"].Read()
			if err != nil {
				t.Fatal(err)
			}
			kept, err := in["cache.0.keys"].Read()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(kept, before) || bytes.Equal(written, before) {
				t.Fatal("a cache that was lent was written to, or its successor was not")
			}
			in["cache.0.keys"].Release()
			in["cache.0.keys"] = out["cache.0.keys"]
			for _, name := range []string{"cache.0.state", "logits"} {
				out[name].Release()
			}
		}
		// Nor may it take the memory of one that nobody has read: row 3 is its successor's alone.
		for row := range 2 {
			put("offset", graph.Int32, []byte{byte(2 + row), 0, 0, 0})
			out, err := s.Step(context.Background(), in, map[string]int64{graph.SymKVLen: 2})
			if err != nil {
				t.Fatal(err)
			}
			if row == 0 {
				in["cache.0.keys"] = out["cache.0.keys"]
				continue
			}
			third := func(x engine.Tensor) []byte {
				data, err := x.Read()
				if err != nil || len(data) < 4*32*4 {
					t.Fatalf("%d bytes, %v", len(data), err)
				}
				return data[4*32*3 : 4*32*4]
			}
			if empty := make([]byte, 4*32); !bytes.Equal(third(in["cache.0.keys"]), empty) || bytes.Equal(third(out["cache.0.keys"]), empty) {
				t.Fatal("a cache on the device that was lent was written to, or its successor was not")
			}
		}
	})
}
