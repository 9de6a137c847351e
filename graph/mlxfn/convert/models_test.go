package convert_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/models"
)

// A model that is built here and the same model as MLX recorded it are one graph in
// normal form, for every call shape that was captured: so the same rules match both.
func TestBuiltMeetsCaptured(t *testing.T) {
	for name, more := range map[string]map[string]any{
		"qwen3":     {"torch_dtype": "bfloat16", "quantization": map[string]any{"group_size": 32, "bits": 4}},
		"qwen3_moe": {"torch_dtype": "bfloat16", "quantization": map[string]any{"group_size": 64, "bits": 4}},
		"llama":     {"torch_dtype": "float32"},
	} {
		f := read(t, name)
		captured, err := convert.Import("capture", f, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		built, err := models.Build(config(t, f.Metadata, more), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range captured.Cases {
			if _, notes, err := normal.Raise(c.Graph); err != nil || len(notes) > 0 {
				t.Fatal(name, c.Name, err, notes)
			}
			tokens := c.Graph.Type(c.Graph.Inputs()[0]).Shape
			env := map[string]int64{"batch": int64(tokens[0].Int()), "seq_len": int64(tokens[1].Int())}
			b, err := built.Select(env)
			if err != nil {
				t.Fatal(err)
			}
			env[graph.SymKVCap] = int64(c.Graph.Type(c.Graph.Inputs()[2]).Shape[2].Int())
			g, err := normal.Specialize(b.Graph, env)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := normal.Form(g); err != nil {
				t.Fatal(err)
			}
			if g.Hash() != c.Graph.Hash() {
				t.Errorf("%s for %v: captured\n%s\nbuilt\n%s", name, env, c.Graph, g)
			}
		}
		// Exported, the built model has the very primitives that MLX recorded.
		var specs []convert.Spec
		for _, fn := range f.Functions {
			tokens, cache := fn.Inputs[0].Type.Shape, fn.Inputs[2].Type.Shape
			env := map[string]int64{"batch": int64(tokens[0]), "seq_len": int64(tokens[1]), graph.SymKVCap: int64(cache[2])}
			s := convert.Spec{Env: env}
			for i := range built.Cases {
				if ok, err := built.Cases[i].When.Eval(env); ok && err == nil {
					s.Case = i
				}
			}
			specs = append(specs, s)
		}
		out, err := convert.Export(built, convert.ExportOptions{Version: f.Version, Specs: specs})
		if err != nil {
			t.Fatal(err)
		}
		again, err := convert.Import("export", out, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before, err := convert.Import("capture", f, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range before.Cases {
			for _, p := range []*graph.Program{before, again} {
				if _, err := normal.Form(p.Cases[i].Graph); err != nil {
					t.Fatal(err)
				}
			}
			if a, b := before.Cases[i].Graph, again.Cases[i].Graph; a.Hash() != b.Hash() {
				t.Errorf("%s, trace %d: captured\n%s\nbuilt and exported\n%s", name, i, a, b)
			}
		}
		// The records of quantized matrices, too.
		convert.NameQuants(captured)
		for _, q := range built.Params {
			p := captured.Param(q.Name)
			if p == nil || !p.Type.Equal(q.Type) || p.Part != q.Part || (p.Quant == nil) != (q.Quant == nil) || p.Quant != nil && *p.Quant != *q.Quant {
				t.Errorf("%s: parameter %s is %+v in the capture, not %+v", name, q.Name, p, q)
			}
		}
	}
}

func read(t *testing.T, name string) *mlxfn.File {
	t.Helper()
	path := filepath.Join("testdata", name+".mlxfn.gz")
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if _, err := io.Copy(&data, z); err != nil {
		t.Fatal(err)
	}
	f, err := mlxfn.Read(path, data.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// config is the config.json of a capture, which is its metadata, with more keys.
func config(t *testing.T, metadata string, more map[string]any) *models.Config {
	t.Helper()
	keys := map[string]any{}
	if err := json.Unmarshal([]byte(metadata), &keys); err != nil {
		t.Fatal(err)
	}
	for k, v := range more {
		keys[k] = v
	}
	text, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.ParseConfig("config.json", text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
