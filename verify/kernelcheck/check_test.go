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
	cases, every := 12, 1 // the certificates say that many more have passed
	switch {
	case os.Getenv("ZMLX_SOAK") != "":
		cases = 1000
	case testing.Short():
		cases, every = 3, 8
	}
	for i, s := range catalog(t).All() {
		if s.Code == nil || i%every > 0 {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel() // compilers and checked kernels have one thread each
			// As many types in the short form, too: those programs are compiled already.
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

// TestCertificates: every kernel that ships with a source was checked as it is now.
// TestShipped checks a sample of its cases again.
func TestCertificates(t *testing.T) {
	list, err := ReadCertificates("../../kernels/certificates.json")
	if err != nil {
		t.Fatal(err)
	}
	checker, c := CheckerHash(), catalog(t)
	for _, s := range c.All() {
		if s.Code == nil {
			continue
		}
		if made := list[s.Name]; made == nil {
			t.Errorf("kernel %s has no certificate; write it: make certify", s.Name)
		} else if !list.Current(s, checker) {
			t.Errorf("kernel %s or its checker has changed since its certificate; write it again: make certify", s.Name)
		} else if made.Cases < 100 || made.Runs < 3*made.Cases || made.Types == 0 || made.CUDA < len(Architectures) {
			t.Errorf("the certificate of kernel %s says too little: %+v", s.Name, *made)
		}
	}
	for name := range list {
		if c.Spec(name) == nil {
			t.Errorf("a certificate for kernel %s, which is not there; write them again: make certify", name)
		}
	}
}
