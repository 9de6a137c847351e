package kernelcheck

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/kernels"
)

// relu returns a spec of relu, with text in place of old in it, and a source of this body.
func relu(t *testing.T, old, text, body string) *kernels.Spec {
	t.Helper()
	dir := t.TempDir()
	spec := strings.Replace(`zmlx: 1
kernel: k
doc: relu.
types: {T: [float32]}
inputs: {x: 'T[..., n]'}
reference: {y: 'maximum(x, 0.0)'}
results: [y]
numerics: exact
launch: {grid: [rows * n, 1, 1], threadgroup: [64, 1, 1]}
check: {dims: {rows: [1, 2, 6], n: [1, 31]}}
`, old, text, 1)
	source := "kernel void k() {\n  const int i = int(thread_position_in_grid.x);\n  if (i >= rows * n) return;\n  " + body + "\n}\n"
	for name, text := range map[string]string{"k.yaml": spec, "k.metal": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	c, issues := kernels.Load(dir)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	return c.Spec("k")
}

const reluBody = "y[i] = metal::isnan(x[i]) || x[i] > 0.0f ? x[i] : 0.0f;"

// TestEndless: a kernel that does not end fails its case, and an interrupt is no failure.
func TestEndless(t *testing.T) {
	s := relu(t, "", "", "volatile int on = 1;\n  while (on) {}\n  y[i] = x[i];")
	cases := Plan(s, s.Instances(), 1)
	program, err := build(t.Context(), s, s.Instances(), t.TempDir())
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &process{ctx: t.Context(), path: program, limit: 200 * time.Millisecond}
	if _, err := p.run(cases[0], schedules[0]); err == nil || !strings.Contains(err.Error(), "without end") {
		t.Errorf("got %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	p = &process{ctx: ctx, path: program}
	var machine *machineError
	if _, err := p.run(cases[0], schedules[0]); !errors.As(err, &machine) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestMachineFaults: what is wrong with the machine is not the kernel's failure.
func TestMachineFaults(t *testing.T) {
	s := relu(t, "", "", reluBody)
	p := &process{ctx: t.Context(), path: filepath.Join(t.TempDir(), "none")}
	var machine *machineError
	if _, err := p.run(Plan(s, s.Instances(), 1)[0], schedules[0]); !errors.As(err, &machine) {
		t.Errorf("no program: %v", err)
	}
	t.Setenv("CXX", "false")
	if r, err := Run(t.Context(), s, Options{Cases: 1, Dir: t.TempDir()}); err == nil {
		t.Errorf("a compiler that does not run: %+v", r)
	}
	t.Setenv("CXX", "")
	s = relu(t, "", "", "y[i] = nothing;")
	r, err := Run(t.Context(), s, Options{Cases: 1, Dir: t.TempDir()})
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil || r.Failure == nil {
		t.Errorf("a source with a mistake: %+v, %v", r, err)
	}
}

// TestHugeLaunch: cases with launches too large to emulate are not made, and the check says so.
func TestHugeLaunch(t *testing.T) {
	s := relu(t, "rows * n, 1, 1]", "2000000000, 1, 1]", reluBody)
	_, err := Run(t.Context(), s, Options{Cases: 1, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "2000000000 threads is too large") {
		t.Errorf("got %v", err)
	}
	s = relu(t, "rows * n, 1, 1]", "2000000000, 2, 1]", reluBody)
	if _, err := s.Geometry([]int64{1, 1}); err == nil {
		t.Error("a launch of 4000000000 threads")
	}
}
