package kernelcheck

import (
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Gradients of kernels that ship are those of their references, and would not be with a
// line less.
func TestShippedGradients(t *testing.T) {
	c, issues := kernels.Load()
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	n := 0
	for _, s := range c.All() {
		if len(s.Gradient) == 0 {
			continue
		}
		n++
		if err := CheckGradient(s, s.Gradient); err != nil {
			t.Error(err)
		}
		last := s.Gradient[len(s.Gradient)-1]
		if err := CheckGradient(s, append(s.Gradient[:len(s.Gradient)-1:len(s.Gradient)-1], graph.Define{Names: []string{"unused"}, Expr: last.Expr})); err == nil {
			t.Errorf("%s: %s is not missed", s.Name, last.Names[0])
		}
	}
	if n < 6 {
		t.Errorf("%d kernels have a gradient", n)
	}
}
