package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// TestFill: the calls behind random rows find caches of the size, and write to the rows, that
// they do behind a prompt of as many tokens.
func TestFill(t *testing.T) {
	const batch = 2
	ctx, e := context.Background(), ref.New()
	for _, window := range []int{0, 128} {
		for _, n := range []int{1, 5, 127, 128, 255, 256, 257, 700} {
			p := program(t, window)
			loaded, err := e.Load(ctx, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer loaded.Close()
			feed := func(c *Caches, s *recorder, n int) string {
				t.Helper()
				tokens, err := e.NewTensor(graph.Int32, []int{batch, n}, make([]byte, 4*batch*n))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Step(ctx, s, engine.Take(tokens), n); err != nil {
					t.Fatal(err)
				}
				return fmt.Sprint(c.Offset(), s.at, s.dims, c.list[0].tensor.Shape(), c.list[1].tensor.Shape())
			}
			var rows []float64
			for _, calls := range [][]int{{1, 1, 3, 1, 300, 1}, {3, 1}} {
				var way [2][]string
				for i := range way {
					c, err := New(e, p, batch)
					if err != nil {
						t.Fatal(err)
					}
					c.KeepFirst(4)
					s := &recorder{Session: loaded}
					if i == 0 {
						feed(c, s, n)
					} else {
						if err := c.Fill(ctx, n, 1); err != nil {
							t.Fatal(err)
						}
						rows = floats(t, c.list[0].tensor)
					}
					for _, more := range calls {
						way[i] = append(way[i], feed(c, s, more))
					}
					c.Reset()
				}
				if fmt.Sprint(way[0]) != fmt.Sprint(way[1]) {
					t.Errorf("window %d, behind %d tokens\n%v, behind as many random rows\n%v", window, n, way[0], way[1])
				}
			}
			if each := len(rows) / batch; rows[0] == rows[1%len(rows)] || rows[0] == rows[each] || each < min(n, 128) {
				t.Errorf("window %d, %d rows: %v", window, n, rows[:3])
			}
		}
	}
}

// TestFillState: state of one size is random, too, and whole numbers are zeros.
func TestFillState(t *testing.T) {
	ctx, e, g := context.Background(), ref.New(), graph.New()
	g.Input("tokens", graph.T(graph.Int32, graph.N(1), graph.Sym(graph.SymSeqLen)))
	for i, dt := range []graph.DType{graph.Float16, graph.Int32} {
		name := fmt.Sprintf("cache.%d.state", i)
		g.Output(name, g.Input(name, graph.T(dt, graph.Sym(graph.SymBatch), graph.N(3))))
	}
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(e, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Reset()
	if err := c.Fill(ctx, 9, 1); err != nil {
		t.Fatal(err)
	}
	half, err := c.list[0].tensor.Read()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := c.list[1].tensor.Read()
	if err != nil {
		t.Fatal(err)
	}
	if binary.LittleEndian.Uint16(half) == 0 || binary.LittleEndian.Uint32(whole) != 0 || len(half) != 6 || len(whole) != 12 {
		t.Errorf("%x and %x", half, whole)
	}
}
