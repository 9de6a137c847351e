package kernelcheck

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/compat"
)

// mutant is a bug that is planted in a kernel: text of its source, or of a shared header
// that it includes, and what takes its place.
type mutant struct {
	kernel   string
	old, new string
	class    string // of mistake: "lost lane", "missing barrier"
}

// plant returns the kernel with the bug in it.
func (m mutant) plant(t *testing.T) *kernels.Spec {
	t.Helper()
	s := catalog(t).Spec(m.kernel)
	if s == nil {
		t.Fatalf("no kernel %s", m.kernel)
	}
	text := s.Code.Text
	for _, name := range s.Code.Includes {
		lib, err := fs.ReadFile(compat.FS, "lib/"+name)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.Replace(text, fmt.Sprintf("#include %q\n", name), strings.Replace(string(lib), "#pragma once\n", "", 1), 1)
	}
	if n := strings.Count(text, m.old); n != 1 {
		t.Fatalf("the source of %s has %q %d times, not once", m.kernel, m.old, n)
	}
	code, issue := kernels.ParseSource(m.kernel+".metal", m.kernel, []byte(strings.Replace(text, m.old, m.new, 1)))
	if issue != nil {
		t.Fatal(issue)
	}
	s.Code = code
	return s
}

// turn reports whether it is looked for. Each takes seconds of a compiler: a third of them is looked
// for in the short form, by what the kernel is now, so that others are when it changes, and all in the
// long one. All are planted, so that none is left behind by the text that it names.
func (m mutant) turn(s *kernels.Spec) bool {
	h := fnv.New32a()
	fmt.Fprint(h, m.kernel, m.old, m.new, s.ContentHash)
	return os.Getenv("ZMLX_SOAK") != "" || h.Sum32()%3 == 0
}

// catchAll plants each bug and wants the check to find it.
func catchAll(t *testing.T, mutants []mutant) {
	for _, m := range mutants {
		t.Run(m.kernel+"/"+strings.ReplaceAll(m.class, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if s := m.plant(t); m.turn(s) {
				wantCaught(t, m, s)
			}
		})
	}
}

// wantCaught wants the check to find the bug in s.
func wantCaught(t *testing.T, m mutant, s *kernels.Spec) {
	t.Helper()
	r, err := Run(t.Context(), s, Options{Cases: 120, Dir: programs(t), Types: 1})
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Failure == nil {
		t.Fatalf("not found in %d cases: %q in place of %q", r.Cases, m.new, m.old)
	}
	if strings.Contains(r.Failure.Reason, "does not compile") {
		t.Fatal(r.Failure)
	}
	t.Logf("case %d: %s", r.Cases, firstLines(r.Failure.Reason, 1))
}
