package convert

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/normal"
)

var captures = func() []string {
	files, _ := filepath.Glob(filepath.Join("testdata", "*.mlxfn.gz"))
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".mlxfn.gz")
	}
	return files
}()

// roundTrip imports a file, raises what MLX took apart, lowers it and exports it.
func roundTrip(t testing.TB, f *mlxfn.File) *mlxfn.File {
	t.Helper()
	p := mustImport(t, f)
	for _, c := range p.Cases {
		if _, _, err := normal.Raise(c.Graph); err != nil {
			t.Fatal(err)
		}
	}
	out, err := Export(p, ExportOptions{Version: f.Version, Metadata: f.Metadata})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is exported again has the very nodes of what MLX recorded.
func TestExportGivesSameNodes(t *testing.T) {
	for _, name := range captures {
		f, _ := capture(t, name)
		before, after := mustImport(t, f), mustImport(t, roundTrip(t, f))
		for i := range before.Cases {
			a, b := before.Cases[i].Graph, after.Cases[i].Graph
			for _, g := range []*graph.Graph{a, b} {
				if _, err := normal.Form(g); err != nil {
					t.Fatal(err)
				}
			}
			if a.Hash() != b.Hash() {
				t.Errorf("%s, trace %d: before\n%s\nafter\n%s", name, i, a, b)
			}
		}
	}
}

// The same programs give the same bytes, whatever the capture's ids were.
func TestExportIsDeterministic(t *testing.T) {
	f, _ := capture(t, "qwen3_moe")
	var first []byte
	for range 3 {
		var w bytes.Buffer
		if err := mlxfn.Write(&w, roundTrip(t, f)); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = w.Bytes()
		}
		if !bytes.Equal(first, w.Bytes()) {
			t.Fatal("two exports differ")
		}
	}
}

func oracle(t *testing.T) string {
	t.Helper()
	python := filepath.Join("..", "..", "..", ".cache", "oracle", "venv", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skip("missing capability: Python with mlx 0.32.2 and mlx-lm 0.32.0 in .cache/oracle/venv")
	}
	// What Python reads is unknown to the cache of go test, until the test looks at it.
	os.ReadFile(filepath.Join("..", "..", "..", ".cache", "oracle", "venv", "stamp"))
	os.ReadDir(filepath.Join("..", "..", "..", "scripts", "oracle"))
	return python
}

// The files in testdata are what the script makes now.
func TestCapturesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join("..", "..", "..", "scripts", "oracle", "captures.py")
	if out, err := exec.Command(oracle(t), script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.mlxfn.gz"))
	if err != nil || len(made) == 0 {
		t.Fatal(made, err)
	}
	for _, path := range made {
		if name := strings.TrimSuffix(filepath.Base(path), ".mlxfn.gz"); !slices.Contains(captures, name) {
			t.Errorf("%s is not in testdata; make it with %s graph/mlxfn/convert/testdata %s", name, script, name)
		}
	}
	for _, name := range captures {
		old, _ := capture(t, name)
		made, _ := captureIn(t, dir, name)
		if dump(t, old) != dump(t, made) {
			t.Errorf("%s differs; make it again with %s", name, script)
		}
	}
}

// MLX runs the exported file with the very bits of the original.
func TestExportRunsInMLX(t *testing.T) {
	python := oracle(t)
	for _, name := range captures {
		f, data := capture(t, name)
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a.mlxfn"), filepath.Join(dir, "b.mlxfn")
		if err := os.WriteFile(a, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := mlxfn.WriteFile(b, roundTrip(t, f)); err != nil {
			t.Fatal(err)
		}
		type call struct {
			Args   []string          `json:"args"`
			Kwargs map[string]string `json:"kwargs"`
		}
		var calls []call
		for _, fn := range f.Functions {
			c := call{Kwargs: map[string]string{}}
			for n, v := range fn.Inputs {
				if k := n - fn.Positional(); k >= 0 {
					c.Kwargs[fn.Kwargs[k]] = v.Type.String()
				} else {
					c.Args = append(c.Args, v.Type.String())
				}
			}
			calls = append(calls, c)
		}
		stdin, err := json.Marshal(calls)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, filepath.Join("..", "..", "..", "scripts", "oracle", "mlxfn_run.py"), a, b)
		cmd.Stdin = bytes.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "equal\n" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
