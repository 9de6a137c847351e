package convert

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/normal"
)

// capture reads a file that scripts/oracle/captures.py wrote with MLX 0.32.2.
func capture(t testing.TB, name string) (*mlxfn.File, []byte) {
	t.Helper()
	return captureIn(t, "testdata", name)
}

func captureIn(t testing.TB, dir, name string) (*mlxfn.File, []byte) {
	t.Helper()
	path := filepath.Join(dir, name+".mlxfn.gz")
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mlxfn.Read(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return f, data
}

func mustImport(t testing.TB, f *mlxfn.File) *graph.Program {
	t.Helper()
	p, err := Import("test", f, ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ops counts the operations of a graph, without leaves and those named.
func ops(g *graph.Graph) map[string]int {
	m := map[string]int{}
	for i := range g.NumNodes() {
		if n := g.Node(graph.NodeID(i)); !n.Op.IsLeaf() {
			m[n.Op.Name]++
		}
	}
	return m
}

func TestFastVariants(t *testing.T) {
	f, _ := capture(t, "fast")
	var names []string
	if err := json.Unmarshal([]byte(f.Metadata), &names); err != nil {
		t.Fatal(err)
	}
	p := mustImport(t, f)
	if len(names) != len(p.Cases) {
		t.Fatalf("%d names for %d traces", len(names), len(p.Cases))
	}
	for i, name := range names {
		g := p.Cases[i].Graph
		_, notes, err := normal.Raise(g)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := map[string]int{strings.Fields(name)[0]: 1}
		if got := ops(g); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v; notes %v\n%s", name, got, want, notes, g)
		}
	}
}

// decodeOps is what a model of two layers is made of, whatever MLX recorded for it.
var decodeOps = map[string]map[string]int{
	"qwen3": {
		"add": 4, "dequantize": 1, "kv_append": 4, "multiply": 4, "quantized_matmul": 15, "reshape": 8, "rms_norm": 9, "rope": 4, "sdpa": 2,
		"sigmoid": 2, "take": 3, "transpose": 8,
	},
	"qwen3_moe": {
		"add": 4, "argpartition": 2, "dequantize": 1, "divide": 2, "expand_dims": 4, "gather_qmm": 6, "kv_append": 4, "multiply": 6,
		"quantized_matmul": 11, "reshape": 8, "rms_norm": 9, "rope": 4, "sdpa": 2, "sigmoid": 2, "slice": 2, "softmax": 2, "squeeze": 2,
		"sum": 4, "take": 3, "take_along_axis": 2, "transpose": 8,
	},
	"llama": {
		"add": 4, "kv_append": 4, "matmul": 15, "multiply": 4, "reshape": 8, "rms_norm": 5, "rope": 4, "sdpa": 2, "sigmoid": 2, "take": 1, "transpose": 23,
	},
}

func TestModels(t *testing.T) {
	for name, want := range decodeOps {
		f, _ := capture(t, name)
		p := mustImport(t, f)
		for i, c := range p.Cases {
			counts, notes, err := normal.Raise(c.Graph)
			if err != nil {
				t.Fatalf("%s %s: %v", name, c.Name, err)
			}
			if err := c.Graph.Verify(); err != nil {
				t.Errorf("%s %s: %v", name, c.Name, err)
			}
			if len(notes) > 0 {
				t.Errorf("%s %s: %v", name, c.Name, notes)
			}
			if counts["share"] == 0 || counts["broadcast"] == 0 {
				t.Errorf("%s %s: %v does not say what was folded", name, c.Name, counts)
			}
			if i == 0 {
				if got := ops(c.Graph); !maps.Equal(got, want) {
					t.Errorf("%s %s: %v, want %v\n%s", name, c.Name, got, want, c.Graph)
				}
			}
			before := c.Graph.Hash()
			if again, _, err := normal.Raise(c.Graph); err != nil || again.Total() != 0 || c.Graph.Hash() != before {
				t.Errorf("%s %s: a second time changes %v, %v", name, c.Name, again, err)
			}
		}
	}
}
