package author

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// memory fails if f takes more memory than the size of its input accounts for: a formula is
// bounded by its number of parts (maxNodes), whatever the text.
func memory(t *testing.T, size int, f func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(256*size+64<<20); got > limit {
		t.Errorf("%d bytes of memory for a text of %d", got, size)
	}
}

// accepted checks what must hold of every kernel that is made.
func accepted(t *testing.T, k *Kernel) {
	s, grad := parse(t, k)
	if _, issue := kernels.ParseSource(k.Name+".metal", k.Name, []byte(k.Source)); issue != nil {
		t.Errorf("%v\n%s", issue, k.Source)
	}
	if (len(grad) == 0) != (k.NoGradient != "") {
		t.Errorf("a gradient of %d lines, and none because %q", len(grad), k.NoGradient)
	}
	trial, err := s.Trial(kernels.Choice{})
	if err != nil {
		t.Fatalf("%v\n%s", err, k.Spec)
	}
	if trial.Results[0].DType != trial.Inputs[0].DType {
		t.Errorf("the result is %s of inputs %v\n%s", trial.Results[0], trial.Inputs, k.Spec)
	}
	if len(grad) > 0 && len(grad) < 40 {
		if err := kernelcheck.RunGradient(s, grad, trial); err != nil {
			t.Errorf("%v\n%s", err, k.Spec)
		}
	}
}

// Any text as a formula: no crash, no hang, and what is accepted is a kernel.
func FuzzFormula(f *testing.F) {
	for _, seed := range []string{
		"x * tanh(log(1 + exp(x)))", "0.5 * x * (1 + erf(x / sqrt(2)))", "e = exp(x - max(x)); e / sum(e)", "x - logsumexp(x)",
		"(x - mean(x)) * rsqrt(var(x) + eps) * w + w", "where(x > 0 && !(y < 1) || false, x ** 3, -y ** -2)", "where(x > 0, 1, where(y > 0, 2, eps)) * x",
		"sum(w) * x ** eps", "1e-30 * x / 1e38 ** 2", "where(true, x, 1/0)", "a == b == c", "((((x))))", "x**-x**-x", "f(,)", ";;;", "x =\n=", "max(x) * min(x) + sum(w * x)",
		"logical_not(x > y)", "neg(pow(x, 2))", "where(w > eps, w, x)", "x?", "\"x\"", "$x + ...", "sign(x) * floor(w)",
		"a_ * 0", "a__b * 0", "pipe * 0", "zmlxa * 0",
	} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, kind uint8) {
		if len(text) > 4096 {
			return
		}
		o := Options{Once: kind&4 != 0}
		if strings.Contains(text, "eps") {
			o.Params = []Param{{Name: "eps", Default: 1e-5}}
		}
		if strings.Contains(text, "w") {
			o.Vectors = []string{"w"}
		}
		memory(t, len(text), func() {
			k, err := fromFormula("fuzz", text, o, form(kind%3))
			if err != nil {
				_ = err.Error()
				return
			}
			accepted(t, k)
		})
	})
}

// Any text as a function.
func FuzzJIT(f *testing.F) {
	for _, seed := range []string{
		siluClip, branches,
		"func f(x float) float { return x * 2 }",
		"func f(x float, w vector, a scalar) float { y := x; for i := range 3 { if y > i { y -= w } else { y /= a } }; return y }",
		"func f(x float) float { t := 1.0; for i := range 200 { if x > i { t = t * 2 } }; return t * x }",
		"func f(x float) float { if x > 0 { if x > 1 { return 1 * x } } else { return -x }; if x < 0.5 { return x * x }; return exp(x) }",
		"func f(x float) float { c := x > 1; if c { c = x < 2 }; { x := 3.0; _ = x }; return max(x, 2) }",
		"func f(x float) float { return 1 / 2 * 0x10 * 1_000 * x }", "func f() float { return 1 }", "func f[T any](x float) float {", "package a", "var x = 1",
		"func f(x float) float { return ((((((x)))))) }", "func f(x, x float) float { return x + x }",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if len(source) > 4096 {
			return
		}
		memory(t, len(source), func() {
			k, err := JIT("fuzz.go", source, Options{})
			if err != nil {
				_ = err.Error()
				return
			}
			accepted(t, k)
		})
	})
}

// Any bytes as a spec without a source: no crash, no hang, memory in proportion; what is
// generated is a source with the spec's own name.
func FuzzGenerate(f *testing.F) {
	names, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(without(string(data), "launch")))
	}
	f.Add([]byte(bare("k", one32, chainOf(9)+tail)))
	f.Add([]byte(bare("k", floats, "  y: where(greater(x, $eps), softmax(x), squeeze(expand_dims(w, axis=-1), axis=-1))\n"+tail)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, _ := kernels.Parse("fuzz.yaml", data)
		if s == nil {
			return
		}
		var g *kernels.Generated
		var err error
		memory(t, len(data), func() { g, err = Generate(s) })
		if err != nil {
			return
		}
		if _, issue := kernels.ParseSource("fuzz.metal", s.Name, []byte(g.Source)); issue != nil {
			t.Errorf("%v\n%s", issue, g.Source)
		}
	})
}
