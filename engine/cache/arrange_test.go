package cache

import (
	"context"
	"slices"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// loads counts the programs that an engine is given.
type loads struct {
	engine.Engine
	n int
}

func (e *loads) Load(ctx context.Context, p *graph.Program, w *weights.Store) (engine.Session, error) {
	e.n++
	return e.Engine.Load(ctx, p, w)
}

// Caches of all layers become larger by one program: a GPU waits for what the host does there. By how
// much is mlx-lm's 256 rows up to 2,303, then an eighth. Rows stay, and those behind them are zeros.
func TestGrow(t *testing.T) {
	before := together
	t.Cleanup(func() { together = before })
	ctx, e := context.Background(), &loads{Engine: ref.New()}
	p := program(t, 0)
	s, err := e.Load(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, x := range []struct{ behind, tokens, rows int }{
		{0, 1, 256}, {0, 257, 512}, {255, 1, 256}, {256, 1, 512}, {2048, 1, 2304}, {2304, 1, 2304 + 512}, {4096, 1, 4096 + 512}, {4096, 600, 4096 + 768}, {32768, 1, 32768 + 4096},
	} {
		for _, limit := range []int{before, 1} { // in one program, and each in its own
			together = limit
			c, err := New(e, p, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Fill(ctx, x.behind, 1); err != nil {
				t.Fatal(err)
			}
			var old []float64
			if x.behind > 0 {
				old = floats(t, c.list[1].tensor)
			}
			tokens, err := e.NewTensor(graph.Int32, []int{1, x.tokens}, make([]byte, 4*x.tokens))
			if err != nil {
				t.Fatal(err)
			}
			e.n = 0
			if _, err := c.Step(ctx, s, engine.Take(tokens), x.tokens); err != nil {
				t.Fatal(err)
			}
			want := 1
			if len(old) == x.rows || x.behind == 0 { // nothing is to be moved
				want = 0
			} else if limit == 1 {
				want = len(c.list)
			}
			if e.n != want {
				t.Errorf("%d tokens behind %d: %d programs, not %d", x.tokens, x.behind, e.n, want)
			}
			now := floats(t, c.list[1].tensor)
			if len(now) != x.rows {
				t.Errorf("%d tokens behind %d: %d rows, not %d", x.tokens, x.behind, len(now), x.rows)
			}
			if !slices.Equal(now[:x.behind], old[:x.behind]) {
				t.Errorf("%d tokens behind %d: other rows than before", x.tokens, x.behind)
			}
			if i := slices.IndexFunc(now[x.behind+x.tokens:], func(v float64) bool { return v != 0 }); i >= 0 && len(old) != x.rows {
				t.Errorf("%d tokens behind %d: row %d behind them is not zero", x.tokens, x.behind, i)
			}
			c.Reset()
		}
	}
}
