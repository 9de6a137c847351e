package kernelcheck

import (
	"errors"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
)

func runCases(t *testing.T, s *kernels.Spec, cases int) *Report {
	t.Helper()
	r, err := Run(t.Context(), s, Options{Cases: cases, Dir: t.TempDir()})
	if errors.Is(err, ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAllCombinations: where there are as many cases as combinations, each has one; the
// report says how many had.
func TestAllCombinations(t *testing.T) {
	const inputs = "inputs: {x: 'T[..., n]'}"
	const more = "inputs: {x: 'T[..., n]', 'b?': 'T[n]'}\nattrs: {a: {kind: int, in: [1, 2, 3, 4, 5, 6], default: 1}, f: {kind: bool, default: false}}"
	s := relu(t, inputs, more, "if (a == 5 && f && has_b) { y[i] = 42.0f; return; }\n  "+reluBody)
	if r := runCases(t, s, 24); r.Failure == nil || r.Choices != 24 {
		t.Errorf("the one wrong combination of %d is not found in 24 cases: %v", r.Choices, r.Failure)
	}
	s = relu(t, inputs, more, reluBody)
	if r := runCases(t, s, 24); r.Failure != nil || r.Covered != 24 {
		t.Errorf("%d of %d combinations are covered: %v", r.Covered, r.Choices, r.Failure)
	}
	if r := runCases(t, s, 7); r.Covered != 7 || r.Choices != 24 {
		t.Errorf("%d of %d combinations are covered in 7 cases", r.Covered, r.Choices)
	}
}

// TestTwoLeadingDimensions: axis 1 is the last one only where there is one leading dimension.
func TestTwoLeadingDimensions(t *testing.T) {
	s := relu(t, "{y: 'maximum(x, 0.0)'}\nresults: [y]\nnumerics: exact", "{y: 'cumsum(x, axis=1)'}\nresults: [y]\nnumerics: reordered",
		"float sum = 0.0f;\n  for (int k = i / n * n; k <= i; k++) sum += x[k];\n  y[i] = sum;")
	if r := runCases(t, s, 30); r.Failure == nil {
		t.Error("not found")
	}
}

// TestSystematic: an exact kernel may be off where exp is, not everywhere to one side.
func TestSystematic(t *testing.T) {
	const sigmoid = "const float v = 1.0f / (1.0f + metal::precise::exp(-x[i]));\n  "
	spec := func(body string) *kernels.Spec {
		return relu(t, "maximum(x, 0.0)", "sigmoid(x)", sigmoid+body)
	}
	if r := runCases(t, spec("y[i] = v;"), 40); r.Failure != nil {
		t.Error(r.Failure)
	}
	r := runCases(t, spec("y[i] = metal::isnan(v) || v < 1e-30f ? v : as_type<float>(as_type<uint>(v) - 2u);"), 40)
	if r.Failure == nil || !strings.Contains(r.Failure.Reason, "its own rounding") {
		t.Errorf("got %v", r.Failure)
	}
}
