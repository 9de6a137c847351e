package decode_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/models/safetensors"
)

// promptCache is what scripts/oracle/prompt_caches.py prints.
type promptCache struct {
	Model, File          string
	Bits                 int
	Prompt, More, Tokens []int
}

// oracle runs that script.
func oracle(t *testing.T, mode, folder string) []promptCache {
	t.Helper()
	const python = "../.cache/oracle/venv/bin/python"
	if _, err := os.Stat(python); errors.Is(err, fs.ErrNotExist) {
		t.Skip("mlx-lm is not in .cache/oracle: scripts/setup-oracle.sh installs it")
	}
	c := exec.Command(python, "../scripts/oracle/prompt_caches.py", mode, folder)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []promptCache
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestPromptCacheBothWays: prompt cache files go from mlx-lm to us, and from us to mlx-lm.
// Whoever reads the other's file goes on with the same tokens; and the files have the same
// tensors, of the same types, and the same metadata.
func TestPromptCacheBothWays(t *testing.T) {
	if testing.Short() {
		t.Skip("short: mlx-lm is started")
	}
	ctx, folder := context.Background(), t.TempDir()
	theirs := oracle(t, "make", folder)
	if len(theirs) < 8 {
		t.Fatalf("%d files", len(theirs))
	}
	e := ref.New()
	defer e.Close()
	for _, c := range theirs {
		t.Run(c.File, func(t *testing.T) {
			m := kvModel(t, c.Model)
			g := kvGenerator(t, e, m, &kvRun{Bits: c.Bits, GroupSize: 32}, c.Bits > 0)
			goOn := func() {
				t.Helper()
				res, err := g.Generate(ctx, c.More, decode.Options{MaxTokens: 8})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(res.Tokens[:len(c.Tokens)], c.Tokens) {
					t.Errorf("goes on with %v, mlx-lm with %v", res.Tokens, c.Tokens)
				}
			}
			path := filepath.Join(folder, c.File)
			f, err := cache.OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Bits != c.Bits || f.Offset() != len(c.Prompt) || f.Meta["model"] != c.Model {
				t.Errorf("%d bits, %d tokens, %v", f.Bits, f.Offset(), f.Meta)
			}
			if err := g.Restore(f); err != nil {
				t.Fatal(err)
			}
			goOn()

			g.Reset()
			if _, err := g.Generate(ctx, c.Prompt, decode.Options{Whole: true}); err != nil {
				t.Fatal(err)
			}
			ours := filepath.Join(folder, "ours-"+c.File)
			if err := g.Save(ours, map[string]string{"model": c.Model, "tokenizer_config": "{}"}); err != nil {
				t.Fatal(err)
			}
			goOn() // saving takes nothing away
			sameLayout(t, path, ours)
		})
	}
	for i, c := range oracle(t, "continue", folder) {
		if want := theirs[i].Tokens; len(c.Tokens) == 0 || !slices.Equal(c.Tokens[:min(len(c.Tokens), len(want))], want[:min(len(c.Tokens), len(want))]) {
			t.Errorf("%s: mlx-lm goes on with %v from our file, with %v from its own", c.File, c.Tokens, want)
		}
	}
}

func sameLayout(t *testing.T, theirs, ours string) {
	t.Helper()
	a, metaA, err := safetensors.Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, metaB, err := safetensors.Open(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !maps.Equal(metaA, metaB) {
		t.Errorf("metadata %v, mlx-lm's %v", metaB, metaA)
	}
	if a.Len() != b.Len() {
		t.Errorf("%d tensors, mlx-lm writes %d", b.Len(), a.Len())
	}
	for x := range a.All() {
		if y := b.Get(x.Name); y == nil || y.DType != x.DType || !slices.Equal(x.Shape, y.Shape) {
			t.Errorf("%s is %v, mlx-lm's %s%v", x.Name, y, x.DType, x.Shape)
		}
	}
}
