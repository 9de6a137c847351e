package kernelcheck

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"zmlx-rewrite/kernels"
)

// programs is where compiled kernels are kept between runs: the checkout's cache.
func programs(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.cache/kernelcheck")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func catalog(t *testing.T) *kernels.Catalog {
	t.Helper()
	c, issues := kernels.Load()
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestShipped checks every kernel that ships with a source, on a sample of its cases.
func TestShipped(t *testing.T) {
	cases := 24
	if os.Getenv("ZMLX_SOAK") != "" {
		cases = 1000
	}
	for _, s := range catalog(t).All() {
		if s.Code == nil {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			r, err := Run(t.Context(), s, Options{Cases: cases, Dir: programs(t), Types: 3})
			if errors.Is(err, ErrNoCompiler) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Failure != nil {
				t.Fatal(r.Failure)
			}
			t.Logf("%d cases, %d runs", r.Cases, r.Runs)
		})
	}
}
