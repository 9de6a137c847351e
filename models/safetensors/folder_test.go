package safetensors

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder writes files, by name; a name ending in .safetensors has the content's
// words as the names of its tensors.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		data := []byte(content)
		if filepath.Ext(name) == ".safetensors" {
			var h []string
			for i, tensor := range strings.Fields(content) {
				h = append(h, fmt.Sprintf("%q:%s", tensor, info("U8", "[1]", i, i+1)))
			}
			data = raw("{"+strings.Join(h, ",")+"}", len(h))
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func index(pairs ...string) string {
	var m []string
	for i := 0; i < len(pairs); i += 2 {
		m = append(m, fmt.Sprintf("%q:%q", pairs[i], pairs[i+1]))
	}
	return `{"metadata":{"total_size":3},"weight_map":{` + strings.Join(m, ",") + "}}"
}

func TestFolder(t *testing.T) {
	const a, b = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // tensor names, or part of the error
	}{
		{"single", map[string]string{configFile: "{}", singleFile: "x y"}, "x y"},
		{"sharded", map[string]string{configFile: "{}", indexFile: index("x", a, "y", b, "z", b), a: "x", b: "y z"}, "x y z"},
		{"index before single", map[string]string{configFile: "{}", indexFile: index("x", a), a: "x", singleFile: "old"}, "x"},
		{"more than in the index", map[string]string{configFile: "{}", indexFile: index("x", a), a: "x y"}, "x y"},
		{"no config", map[string]string{singleFile: "x"}, "config.json: the file is missing [model/config]"},
		{"no weights", map[string]string{configFile: "{}"}, "copy the weights"},
		{"no index", map[string]string{configFile: "{}", a: "x"}, "copy model.safetensors.index.json"},
		{"GGUF", map[string]string{configFile: "{}", "m.gguf": ""}, "it has m.gguf"},
		{"PyTorch", map[string]string{configFile: "{}", "pytorch_model.bin": ""}, "mlx_lm.convert"},
		{"missing shard", map[string]string{configFile: "{}", indexFile: index("x", a, "y", b), a: "x"}, "1 of the model's 2 files are missing: " + b},
		{"tensor not there", map[string]string{configFile: "{}", indexFile: index("x", a, "y", a), a: "x"}, `tensor "y" should be in ` + a},
		{"tensor elsewhere", map[string]string{configFile: "{}", indexFile: index("x", a, "y", a, "z", b), a: "x", b: "y z"}, `tensor "y" should be in ` + a},
		{"tensor in two files", map[string]string{configFile: "{}", indexFile: index("x", a, "z", b), a: "x", b: "z x"}, "[safetensors/duplicate]"},
		{"broken shard", map[string]string{configFile: "{}", indexFile: index("x", "m.safetensors"), "m.safetensors": "x x"}, "[safetensors/duplicate]"},
		{"index no JSON", map[string]string{configFile: "{}", indexFile: "{"}, "[safetensors/index]"},
		{"index of another type", map[string]string{configFile: "{}", indexFile: `{"weight_map":[]}`}, "[safetensors/index]"},
		{"index empty", map[string]string{configFile: "{}", indexFile: "{}"}, "[safetensors/index]"},
		{"index leaves the folder", map[string]string{configFile: "{}", indexFile: index("x", "../m.safetensors")}, "of the same folder"},
		{"index absolute", map[string]string{configFile: "{}", indexFile: index("x", "/m.safetensors")}, "of the same folder"},
		{"index with a subfolder", map[string]string{configFile: "{}", indexFile: index("x", "a/m.safetensors")}, "of the same folder"},
		{"index names another kind", map[string]string{configFile: "{}", indexFile: index("x", "config.json")}, "of the same folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := OpenFolder(folder(t, tt.files))
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
				return
			}
			var names []string
			for x := range f.Weights.All() {
				names = append(names, x.Name)
				read(t, x)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != tt.want || string(f.Config) != "{}" {
				t.Errorf("tensors %s, want %s", got, tt.want)
			}
			if err := f.Weights.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := OpenFolder(filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "model/folder") {
		t.Error(err)
	}
}
