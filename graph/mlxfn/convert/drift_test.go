package convert_test

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
)

// The graphs of a script are those of the two captures, to the byte.
func TestDriftScript(t *testing.T) {
	script, err := txtar.ParseFile(filepath.Join("..", "..", "..", "testdata", "scripts", "convert", "drift.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range script.Files {
		files[f.Name] = string(f.Data)
	}
	for _, name := range []string{"softmax", "sigmoid"} {
		path := filepath.Join(t.TempDir(), name+".mlxfn")
		if err := mlxfn.WriteFile(path, read(t, "block_lfm2_moe_"+name)); err != nil {
			t.Fatal(err)
		}
		p, notes, err := convert.Load(path, convert.ImportOptions{Name: name, Dims: map[string][]string{"x": {"batch", "seq_len"}}})
		if err != nil || len(notes) > 0 {
			t.Fatal(err, notes)
		}
		if got := string(p.Text()); got != files[name+".zg"] {
			t.Errorf("%s: the capture is now\n%s", name, got)
		}
	}
}
