package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/measure/killtest"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("CACHE_TEST_FILE"); file != "" {
		if err := saveAll(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// saveAll saves a prompt cache each time that it got a token longer, over the one before.
func saveAll(file string) error {
	ctx, e, p := context.Background(), ref.New(), program(new(testing.T), 0)
	s, err := e.Load(ctx, p, nil)
	if err != nil {
		return err
	}
	c, err := New(e, p, 1)
	if err != nil {
		return err
	}
	for i := range 12 {
		in, err := e.NewTensor(graph.Int32, []int{1, 1}, binary.LittleEndian.AppendUint32(nil, uint32(i+1)))
		if err != nil {
			return err
		}
		if _, err := c.Step(ctx, s, engine.Take(in), 1); err != nil {
			return err
		}
		if err := c.Save(file, map[string]string{"model": "m", "tokens": fmt.Sprint(i + 1)}); err != nil {
			return err
		}
	}
	return nil
}

// TestKill: a process that is killed while it saves a prompt cache leaves the one before or the
// new one, whole, and what is left can be gone on from.
func TestKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.safetensors")
	e, p := ref.New(), program(t, 0)
	seen := map[string]bool{}
	killtest.Run(t, killtest.Times(t), func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CACHE_TEST_FILE="+file)
		return cmd
	}, func(k int, _ bool) {
		if _, err := os.Stat(file); os.IsNotExist(err) {
			return
		}
		f, err := OpenFile(file)
		if err != nil {
			t.Fatalf("kill %d left a torn prompt cache: %v", k, err)
		}
		defer f.Close()
		c, err := f.Caches(e, p, 0)
		if err != nil {
			t.Fatalf("kill %d left a prompt cache that cannot be gone on from: %v", k, err)
		}
		defer c.Reset()
		tokens := f.Meta["tokens"]
		if fmt.Sprint(c.Offset()) != tokens {
			t.Fatalf("kill %d left a prompt cache of %d tokens that says it has %s", k, c.Offset(), tokens)
		}
		seen[tokens] = true
	})
	if len(seen) < 3 {
		t.Errorf("all kills found prompt caches of %d lengths: nothing was tested", len(seen))
	}
}
