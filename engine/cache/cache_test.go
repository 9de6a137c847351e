package cache

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// golden is a case of testdata/caches.json: see scripts/oracle/cache_goldens.py.
type golden struct {
	Window  int
	Keep    int
	Lengths []int
	Calls   []call
}

// call is what mlx-lm's cache has after a call.
type call struct {
	at, capacity int
	seen         string
}

func (c *call) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&c.at, &c.capacity, &c.seen})
}

// recorder is a session that keeps what it was given.
type recorder struct {
	engine.Session
	dims map[string]int64
	at   int
}

func (r *recorder) Step(ctx context.Context, in map[string]engine.Tensor, dims map[string]int64) (map[string]engine.Tensor, error) {
	name := Offset
	if in[WindowOffset] != nil {
		name = WindowOffset
	}
	data, err := in[name].Read()
	if err != nil {
		return nil, err
	}
	r.dims, r.at = dims, int(binary.LittleEndian.Uint32(data))
	return r.Session.Step(ctx, in, dims)
}

// program appends tokens [batch, seq_len], made rows of one number, to a cache of keys,
// and their negatives to one of values.
func program(t testing.TB, window int) *graph.Program {
	t.Helper()
	g := graph.New()
	one := graph.N(1)
	batch, capacity := graph.Sym(graph.SymBatch), graph.Sym(graph.SymKVCap)
	tokens := g.Input("tokens", graph.T(graph.Int32, batch, graph.Sym(graph.SymSeqLen)))
	at := g.Input(Offset, graph.T(graph.Int32))
	if window > 0 {
		at, capacity = g.Input(WindowOffset, graph.T(graph.Int32)), graph.Sym(graph.SymWindowCap)
	}
	add := func(op string, in []graph.ValueID, attrs ...graph.Attr) graph.ValueID {
		out, err := g.Add(graph.LookupOp(op), "", in, attrs...)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	rows := add("astype", []graph.ValueID{tokens}, graph.Float32)
	rows = add("expand_dims", []graph.ValueID{rows}, graph.Dims{one, graph.N(3)})
	for i, x := range []graph.ValueID{rows, add("negative", []graph.ValueID{rows})} {
		name := []string{"cache.0.keys", "cache.0.values"}[i]
		old := g.Input(name, graph.T(graph.Float32, batch, one, capacity, one))
		g.Output(name, add("kv_append", []graph.ValueID{old, x, at}))
	}
	if err := g.Compact(); err != nil {
		t.Fatal(err)
	}
	p, err := engine.Program(g)
	if err != nil {
		t.Fatal(err)
	}
	p.Window = window
	return p
}

// ranges writes rows as the goldens do.
func ranges(rows []float64) string {
	var parts []string
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && rows[j] == rows[j-1]+1 {
			j++
		}
		part := fmt.Sprint(rows[i])
		if j > i+1 {
			part += "-" + fmt.Sprint(rows[j-1])
		}
		parts = append(parts, part)
		i = j
	}
	return strings.Join(parts, " ")
}

// TestAgainstMLXLM holds every row of the caches against mlx-lm's, call by call, for two
// sequences at once; and that attention sees the same rows where more tokens are expected, for which
// there may be more room.
func TestAgainstMLXLM(t *testing.T) {
	text, err := os.ReadFile("testdata/caches.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens []golden
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens) < 40 {
		t.Fatalf("%d cases, %v", len(goldens), err)
	}
	for i, g := range goldens {
		for _, expected := range []int{0, 10, 5000} {
			t.Run(fmt.Sprintf("%d/window %d, %d kept, %d expected", i, g.Window, g.Keep, expected), func(t *testing.T) { g.run(t, expected) })
		}
	}
}

func (g golden) run(t *testing.T, expected int) {
	const batch, second = 2, 100000 // what the rows of the second sequence have more
	ctx, e, p := context.Background(), ref.New(), program(t, g.Window)
	loaded, err := e.Load(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	s := &recorder{Session: loaded}
	c, err := New(e, p, batch)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Reset()
	c.KeepFirst(g.Keep)
	for again := range 2 { // Reset makes them as new
		token := 0
		c.Expect(expected)
		for k, n := range g.Lengths {
			var data []byte
			for b := range batch {
				for i := range n {
					data = binary.LittleEndian.AppendUint32(data, uint32(b*second+token+i+1))
				}
			}
			token += n
			tokens, err := e.NewTensor(graph.Int32, []int{batch, n}, data)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Step(ctx, s, engine.Take(tokens), n); err != nil {
				t.Fatalf("run %d, call %d: %v", again, k, err)
			}
			seen := int(s.dims[graph.SymKVLen])
			if seen != token || c.Offset() != token {
				t.Errorf("run %d, call %d: kv_len is %d, offset %d after %d tokens", again, k, seen, c.Offset(), token)
			}
			if g.Window > 0 {
				seen = int(s.dims[graph.SymWindowLen])
			}
			want := g.Calls[k]
			for _, x := range c.list {
				rows := floats(t, x.tensor)
				capacity := len(rows) / batch
				if capacity != want.capacity && (expected <= step || g.Window > 0) || s.at != want.at || seen > capacity {
					t.Fatalf("run %d, call %d of %d tokens: %s has %d rows, of which %d are seen, and is written from %d on; mlx-lm's has %d, from %d on",
						again, k, n, x.name, capacity, seen, s.at, want.capacity, want.at)
				}
				for b := range batch {
					row := rows[b*len(rows)/batch:][:seen]
					for i := range row {
						if strings.HasSuffix(x.name, "values") {
							row[i] = -row[i]
						}
						row[i] -= float64(b * second)
					}
					if got := ranges(row); got != want.seen {
						t.Fatalf("run %d, call %d of %d tokens: of %s attention sees rows\n%s, mlx-lm's\n%s", again, k, n, x.name, got, want.seen)
					}
				}
			}
		}
		c.Reset()
	}
}

func floats(t *testing.T, x engine.Tensor) []float64 {
	t.Helper()
	data, err := x.Read()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(data)/4)
	for i := range out {
		out[i] = graph.DecodeElem(graph.Float32, data[4*i:])
	}
	return out
}

// TestExpect: a cache that knows how many tokens are to come grows once in 1,024 of them, and has no room
// for more.
func TestExpect(t *testing.T) {
	for _, x := range []struct {
		window   int
		first    int // tokens of the first call; those behind it come one by one
		expected int // told before the first call, and again behind so many calls
		again    int
		tokens   int
		changes  int // how often the cache is made, the first time included
		rows     int // at the end
	}{
		{first: 1, tokens: 700, changes: 3, rows: 768},
		{first: 1, expected: 300, tokens: 300, changes: 1, rows: 512},
		{first: 1, expected: 700, tokens: 700, changes: 1, rows: 768},
		{first: 1, expected: 5000, tokens: 1025, changes: 1, rows: 1280},
		{first: 1, expected: 1300, tokens: 1300, changes: 2, rows: 1536}, // the second time of the last 20
		{first: 1, expected: 300, tokens: 600, changes: 2, rows: 768},    // more came than were told of
		{first: 1000, expected: 1256, tokens: 1256, changes: 1, rows: 1280},
		{first: 1000, expected: 9000, tokens: 2024, changes: 1, rows: 2048},
		{first: 1, expected: 600, again: 700, tokens: 1300, changes: 2, rows: 1536},
		{window: 1000, first: 1, expected: 5000, tokens: 990, changes: 4, rows: 1000}, // a ring
	} {
		t.Run(fmt.Sprintf("%+v", x), func(t *testing.T) {
			ctx, e, p := context.Background(), ref.New(), program(t, x.window)
			loaded, err := e.Load(ctx, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer loaded.Close()
			c, err := New(e, p, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Reset()
			changes, rows := 0, 0
			for i, n := 0, x.first; c.Offset() < x.tokens; i, n = i+1, 1 {
				if i == 0 || i == x.again {
					c.Expect(x.expected)
				}
				tokens, err := e.NewTensor(graph.Int32, []int{1, n}, make([]byte, 4*n))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Step(ctx, loaded, engine.Take(tokens), n); err != nil {
					t.Fatal(err)
				}
				if now := c.list[0].rows(); now != rows {
					changes, rows = changes+1, now
				}
			}
			if changes != x.changes || rows != x.rows {
				t.Errorf("made %d times, %d rows at the end", changes, rows)
			}
		})
	}
}
