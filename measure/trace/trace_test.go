package trace

import (
	"testing"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

func parse(t *testing.T, text string, c *kernels.Catalog) *graph.Graph {
	t.Helper()
	p, issues := graph.ParseText("test.zg", []byte(text), c.Op)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	return p.Cases[0].Graph
}

func catalog(t *testing.T) *kernels.Catalog {
	t.Helper()
	c, issues := kernels.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBytes: what single ops have to move, counted by hand.
func TestBytes(t *testing.T) {
	c := catalog(t)
	env := map[string]int64{graph.SymBatch: 1, graph.SymKVLen: 10, graph.SymKVCap: 256}
	for _, x := range []struct {
		what, lines   string
		read, written int64
	}{
		{"an op with one operand twice", "  input x : float32[8, 4]\n  y = multiply(x, x) : float32[8, 4]\n", 128, 128},
		{"a view", "  input x : float32[8, 4]\n  y = reshape(x, shape=[32]) : float32[32]\n", 0, 0},
		{"rows of a table", "  input x : float32[1000, 4]\n  input i : int32[2]\n  y = take(x, i, axis=-2) : float32[2, 4]\n", 8 + 32, 32},
		{"two experts of eight", "  input x : float32[1, 1, 4]\n  input w : float32[8, 4, 16]\n  input i : uint32[2]\n  y = gather_mm(x, w, none, i) : float32[2, 1, 16]\n", 16 + 8 + 2*4*16*4, 2 * 16 * 4},
		{"a cache filled to ten rows", "  input q : float16[1, 2, 1, 64]\n  input k : float16[1, 1, kv_cap, 64]\n  input v : float16[1, 1, kv_cap, 64]\n  y = sdpa(q, k, v, scale=0.125, kv_len=kv_len) : float16[1, 2, 1, 64]\n", 2*128 + 2*10*128, 2 * 128},
		{"a row written to a cache", "  input k : float16[1, 1, kv_cap, 64]\n  input n : float16[1, 1, 1, 64]\n  input o : int32[]\n  y = kv_append(k, n, o) : float16[1, 1, kv_cap, 64]\n", 128 + 4, 128},
	} {
		g := parse(t, "zmlx 1\nprogram p\ncase all\n"+x.lines+"  output out = y\n", c)
		read, written := Bytes(c, g, g.Def(g.Outputs()[0].Value), env)
		if read != x.read || written != x.written {
			t.Errorf("%s: %d read, %d written; want %d, %d", x.what, read, written, x.read, x.written)
		}
	}
}

// TestLines: ops are added up, of each node the median over steps counts, and the slowest
// op comes first.
func TestLines(t *testing.T) {
	c := catalog(t)
	g := parse(t, "zmlx 1\nprogram p\ncase all\n  input x : float32[8, 4]\n  a = exp(x) : float32[8, 4]\n  b = exp(a) : float32[8, 4]\n  c = reshape(b, shape=[32]) : float32[32]\n  output out = c\n", c)
	var steps Steps
	for _, ms := range [][3]int{{1, 2, 9}, {3, 2, 9}, {100, 2, 10}} {
		var step []engine.Traced
		for i := range 3 {
			step = append(step, engine.Traced{Graph: g, Node: g.Node(graph.NodeID(i + 1)), Time: time.Duration(ms[i]) * time.Millisecond})
		}
		steps = append(steps, step)
	}
	lines := steps.Lines(c)
	if len(lines) != 2 || lines[0].Op != "reshape" || lines[0].Launches != 0 || lines[1].Nodes != 2 || lines[1].Launches != 2 {
		t.Fatalf("%+v", lines)
	}
	if s := lines[1].Seconds; s < 0.00499 || s > 0.00501 {
		t.Errorf("exp takes %v s, want 3 + 2 ms", s)
	}
	if all := Total(lines); all.Nodes != 3 || all.Read != 256 || all.Written != 256 {
		t.Errorf("%+v", all)
	}
}
