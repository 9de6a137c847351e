package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

// saved is a prompt cache of n tokens of the program with that window, taken apart. (What
// mlx-lm makes of ours, and we of its, is in package decode's TestPromptCacheBothWays.)
func saved(t testing.TB, window, n int) (tensors map[string]*weights.Tensor, meta map[string]string) {
	t.Helper()
	ctx, e, p := context.Background(), ref.New(), program(t, window)
	s, err := e.Load(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := New(e, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Reset()
	for i := range n {
		in, err := e.NewTensor(graph.Int32, []int{1, 1}, binary.LittleEndian.AppendUint32(nil, uint32(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Step(ctx, s, engine.Take(in), 1); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := c.Save(path, map[string]string{"model": "m", "tokenizer_config": "{}"}); err != nil {
		t.Fatal(err)
	}
	store, meta, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	tensors = map[string]*weights.Tensor{}
	for x := range store.All() {
		data := make([]byte, x.NumBytes())
		if err := x.ReadInto(data); err != nil {
			t.Fatal(err)
		}
		tensors[x.Name] = tensor(t, x.Name, x.DType, x.Shape, data)
	}
	return tensors, maps.Clone(meta)
}

func tensor(t testing.TB, name string, d graph.DType, shape []int, data []byte) *weights.Tensor {
	t.Helper()
	x, err := weights.New(name, d, shape, weights.Raw(data))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// open writes tensors and metadata to a file, and reads it for a program.
func open(t *testing.T, window int, tensors map[string]*weights.Tensor, meta map[string]string) (*Caches, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "y.safetensors")
	if err := safetensors.Write(path, maps.Values(tensors), meta); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Caches(ref.New(), program(t, window), 0)
}

func TestHostileFiles(t *testing.T) {
	number := func(name string, n int) func(map[string]*weights.Tensor, map[string]string) {
		return func(x map[string]*weights.Tensor, _ map[string]string) {
			x[name] = tensor(t, name, graph.Int32, []int{}, binary.LittleEndian.AppendUint32(nil, uint32(n)))
		}
	}
	zeros := func(name string, d graph.DType, shape ...int) func(map[string]*weights.Tensor, map[string]string) {
		size := d.Size()
		for _, n := range shape {
			size *= n
		}
		return func(x map[string]*weights.Tensor, _ map[string]string) {
			x[name] = tensor(t, name, d, shape, make([]byte, size))
		}
	}
	says := func(key, value string) func(map[string]*weights.Tensor, map[string]string) {
		return func(_ map[string]*weights.Tensor, m map[string]string) {
			if m[key] = value; value == "" {
				delete(m, key)
			}
		}
	}
	for _, x := range []struct {
		name   string
		window int
		change func(map[string]*weights.Tensor, map[string]string)
		code   string
	}{
		{"as it was", 0, func(map[string]*weights.Tensor, map[string]string) {}, ""},
		{"a ring as it was", 4, func(map[string]*weights.Tensor, map[string]string) {}, ""},
		{"no classes", 0, says("1.0", ""), "prompt-cache/format"},
		{"classes with a gap", 0, says("1.2", classKV), "prompt-cache/format"},
		{"a class that no layer has", 0, says("1.0", "ChunkedKVCache"), "prompt-cache/kind"},
		{"another class", 0, says("1.0", classArrays), "prompt-cache/kind"},
		{"a ring for a cache that grows", 0, says("1.0", classRotating), "prompt-cache/model"},
		{"more layers", 0, func(x map[string]*weights.Tensor, m map[string]string) {
			says("1.1", classKV)(x, m)
			number("1.2", 6)(x, m)
		}, "prompt-cache/model"},
		{"quantized, without bits", 0, says("1.0", classQuantized), "prompt-cache/format"},
		{"no offset", 0, func(x map[string]*weights.Tensor, _ map[string]string) { delete(x, "0.2") }, "prompt-cache/format"},
		{"an offset that is a list", 0, zeros("0.2", graph.Int32, 1), "prompt-cache/format"},
		{"an offset that is no integer", 0, zeros("0.2", graph.Float32), "prompt-cache/format"},
		{"an offset below 0", 0, number("0.2", -3), "prompt-cache/format"},
		{"an offset beyond everything", 0, number("0.2", 1<<31-1), "prompt-cache/format"},
		{"more tokens than rows", 0, number("0.2", 257), "prompt-cache/format"},
		{"no keys", 0, func(x map[string]*weights.Tensor, _ map[string]string) { delete(x, "0.0") }, "prompt-cache/format"},
		{"keys of another type", 0, zeros("0.0", graph.Float16, 1, 1, 256, 1), "prompt-cache/model"},
		{"keys of another width", 0, zeros("0.0", graph.Float32, 1, 1, 256, 2), "prompt-cache/model"},
		{"keys of two sequences", 0, zeros("0.0", graph.Float32, 2, 1, 256, 1), "prompt-cache/model"},
		{"keys without rows", 0, zeros("0.0", graph.Float32, 1), "prompt-cache/model"},
		{"too few values", 0, zeros("0.1", graph.Float32, 1, 1, 5, 1), "prompt-cache/format"},
		{"a ring that keeps tokens", 4, number("0.3", 4), "prompt-cache/kind"},
		{"a ring of another window", 4, number("0.4", 5), "prompt-cache/model"},
		{"a ring that goes on beyond its end", 4, number("0.5", 9), "prompt-cache/format"},
		{"a ring that goes on below 0", 4, number("0.5", -1), "prompt-cache/format"},
		{"a ring with too few rows", 4, zeros("0.0", graph.Float32, 1, 1, 3, 1), "prompt-cache/format"},
	} {
		t.Run(x.name, func(t *testing.T) {
			tensors, meta := saved(t, x.window, 6)
			x.change(tensors, meta)
			c, err := open(t, x.window, tensors, meta)
			var issue *diag.Issue
			switch {
			case x.code == "" && err != nil:
				t.Fatal(err)
			case x.code == "" && c.Offset() != 6:
				t.Errorf("%d tokens", c.Offset())
			case x.code != "" && (!errors.As(err, &issue) || issue.Code != x.code):
				t.Errorf("%v, want %s", err, x.code)
			}
			if c != nil {
				c.Reset()
			}
		})
	}
}

// TestSaveFails: what cannot be written leaves the file as it was.
func TestSaveFails(t *testing.T) {
	c, err := New(ref.New(), program(t, 0), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Save(filepath.Join(t.TempDir(), "x"), nil); err == nil || !strings.Contains(err.Error(), "prompt-cache/empty") {
		t.Errorf("an empty cache is saved: %v", err)
	}
}

// FuzzFile: no file makes the reader panic, or take memory out of proportion.
func FuzzFile(f *testing.F) {
	for _, window := range []int{0, 4} {
		tensors, meta := saved(f, window, 6)
		path := filepath.Join(f.TempDir(), "x.safetensors")
		if err := safetensors.Write(path, maps.Values(tensors), meta); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, window)
	}
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), 0)
	f.Fuzz(func(t *testing.T, data []byte, window int) {
		store, meta, err := safetensors.Parse("x", slices.Clone(data))
		if err != nil {
			return
		}
		file, err := newFile("x", store, meta)
		if err != nil {
			return
		}
		defer file.Close()
		c, err := file.Caches(ref.New(), program(t, max(0, min(window, 16))), 0)
		if err != nil {
			return
		}
		// It can go on, wherever the file says it is.
		e, p := ref.New(), program(t, max(0, min(window, 16)))
		s, err := e.Load(context.Background(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		defer c.Reset()
		for _, n := range []int{1, 3, 1} {
			in, err := e.NewTensor(graph.Int32, []int{1, n}, make([]byte, 4*n))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Step(context.Background(), s, engine.Take(in), n); err != nil {
				t.Fatal(err)
			}
		}
	})
}
