package author

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// fromSpecs writes specs to a folder and loads them.
func fromSpecs(t *testing.T, specs map[string]string) *kernels.Catalog {
	t.Helper()
	dir := t.TempDir()
	for name, text := range specs {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, issues := Load(dir)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return c
}

// without takes a key with all below it out of a spec.
func without(spec, key string) string {
	from := strings.Index(spec, "\n"+key+":") + 1
	to := from + strings.Index(spec[from:], "\n") + 1
	for to < len(spec) && spec[to] == ' ' {
		to += strings.Index(spec[to:], "\n") + 1
	}
	return spec[:from] + spec[to:]
}

// Of the reference alone comes the very source that came of the formula.
func TestGenerateExamples(t *testing.T) {
	specs := map[string]string{}
	body := func(source string) string { _, b, _ := strings.Cut(source, "\n\nkernel"); return b }
	for i, l := range examples {
		specs[l.name] = without(build(t, i).Spec, "launch")
	}
	c := fromSpecs(t, specs)
	for i, l := range examples {
		k, s := build(t, i), c.Spec(l.name)
		switch {
		case !s.Generated:
			t.Errorf("%s: %s", l.name, s.NoSource)
		case body(s.Code.Text) != body(k.Source) && l.name != "swiglu_once":
			t.Errorf("%s: of the reference\n%s\nof the formula\n%s", l.name, s.Code.Text, k.Source)
		}
		want, _ := kernels.Parse("k.yaml", []byte(k.Spec))
		for i := range 3 {
			if a, b := s.Launch.Grid[i].String()+s.Launch.Group[i].String(), want.Launch.Grid[i].String()+want.Launch.Group[i].String(); a != b {
				t.Errorf("%s launches %s, not %s", l.name, a, b)
			}
		}
	}
}

// bare is a spec as a person would write it, with nothing but the reference.
func bare(name, more, reference string) string {
	return "zmlx: 1\nkernel: " + name + "\ndoc: A kernel.\n" + more + "reference:\n" + reference
}

const (
	one32  = "inputs: {x: 'float32[..., d]'}\n"
	floats = "types: {U: [float16, bfloat16, float32]}\ninputs: {x: 'U[..., d]', w: 'U[d]'}\nattrs: {eps: {kind: float}}\n"
	tail   = "results: [y]\nnumerics: reordered\n"
	strict = "results: [y]\nnumerics: exact\n"
)

// Other names of types, dimensions and results than formulas have, nested calls, numbers a
// row: what is generated computes the reference.
func TestGenerateRuns(t *testing.T) {
	if _, err := kernelcheck.Compiler(); err != nil {
		t.Skip("no C++ compiler on this machine: sources are not run")
	}
	specs := map[string]string{
		"nested":  bare("nested", floats, "  y: multiply(add(multiply(x, x), $eps), w)\n"+tail),
		"precise": bare("precise", one32, "  y: multiply(negative(x), multiply(abs(x), sigmoid(x)))\n"+strict),
		"norm":    bare("norm", floats, "  count: arange(start=dim(x, -1), stop=dim(x, -1)+1)\n  m: divide(sum(square(x), axis=[-1], keepdims=true), count)\n  y: multiply(multiply(x, rsqrt(add(m, $eps))), w)\n"+tail),
		"rowwise": bare("rowwise", one32, "  hi: max(x, axis=-1)\n  lo: min(x, axis=-1)\n  y: subtract(hi, lo)\n"+tail),
		"kept":    bare("kept", one32, "  y: logsumexp(x, axis=-1, keepdims=true)\n"+tail),
		"smooth":  bare("smooth", floats, "  s: softmax(x, axis=-1)\n  y: add(multiply(s, w), $eps)\n"+tail),
		"centre":  bare("centre", one32, "  hi: max(x, axis=-1)\n  y: subtract(x, expand_dims(hi, axis=-1))\n"+tail),
	}
	c := fromSpecs(t, specs)
	for name := range specs {
		s := c.Spec(name)
		t.Run(name, func(t *testing.T) {
			if !s.Generated {
				t.Fatal(s.NoSource)
			}
			r, err := kernelcheck.Run(context.Background(), s, kernelcheck.Options{Cases: 40, Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if r.Failure != nil {
				t.Errorf("%v\n%s", r.Failure, s.Code.Text)
			}
		})
	}
}

// chainOf is reductions of which each needs the one before.
func chainOf(n int) string {
	var b strings.Builder
	last := "x"
	for i := range n {
		fmt.Fprintf(&b, "  m%[1]d: max(%[2]s, axis=-1, keepdims=true)\n  s%[1]d: subtract(%[2]s, m%[1]d)\n", i, last)
		last = fmt.Sprintf("s%d", i)
	}
	return b.String() + "  y: exp(" + last + ")\n"
}

// What cannot be generated stays a reference, with the reason.
func TestGenerateRefuses(t *testing.T) {
	for _, c := range []struct{ name, more, lines, want string }{
		{"other op", one32, "  y: cumsum(x, axis=-1)\n" + tail, "line y: MLX's cumsum is not in what sources can compute"},
		{"a function that is missing", one32, "  y: tan(x)\n" + tail, "line y: MLX's tan is not in what sources can compute"},
		{"another axis", one32, "  y: sum(x, axis=0)\n" + tail, "line y: sum is not over the last axis"},
		{"rows and no keepdims", one32, "  m: max(x, axis=-1)\n  y: add(x, m)\n" + tail, "line y: add of one value a row and of rows"},
		{"two results", one32, "  a: exp(x)\n  y: exp(a)\nresults: [a, y]\nnumerics: reordered\n", "2 results"},
		{"optional", "inputs: {x: 'float32[..., d]', 'w?': 'float32[d]'}\n", "  y: multiply(x, w)\n" + tail, "input w may be absent"},
		{"integers", "inputs: {x: 'int32[..., d]'}\n", "  y: add(x, x)\n" + tail, "elements of int32"},
		{"more dimensions", "inputs: {x: 'float32[..., m, d]'}\n", "  y: add(x, x)\n" + tail, "input x is neither [..., n] nor [n]"},
		{"two types", "types: {T: [float16], U: [float32]}\ninputs: {x: 'T[..., d]', w: 'U[..., d]'}\n", "  y: add(x, w)\n" + tail, "input w has an element type of its own"},
		{"an int", one32 + "attrs: {k: {kind: int, default: 1}}\n", "  y: add(x, x)\n" + tail, `name "k" has another meaning`},
		{"a word", one32 + "attrs: {mode: {kind: word, in: [a, b]}}\n", "  y: add(x, x)\n" + tail, "attribute mode is not a float"},
		{"a name", "inputs: {base: 'float32[..., d]'}\n", "  y: exp(base)\n" + tail, `name "base" has another meaning`},
		{"exact power", one32, "  y: power(x, 3)\n" + strict, "numerics reordered would do"},
		{"exact sum", one32, "  y: sum(x, axis=-1)\n" + strict, "numerics reordered would do"},
		{"exact cancellation", one32, "  y: add(tanh(x), 1)\n" + strict, "numerics reordered would do"},
		{"many passes", one32, chainOf(9) + tail, "9 reductions depend on each other"},
		{"no rows", "inputs: {x: 'float32[d]'}\n", "  y: exp(x)\n" + tail, "no input has rows"},
		{"a condition", one32, "  y: greater(x, 0)\n" + tail, "the result is a condition"},
		{"a copy", one32, "  y: x\n" + tail, "an input as it is"},
		{"numbers alone", one32, "  y: where(greater(x, 0), 1, 2)\n" + tail, "where of numbers alone"},
		{"a launch", one32, "  y: exp(x)\nlaunch: {grid: [rows * d, 1, 1], threadgroup: [64, 1, 1]}\n" + tail, "its launch is that of a source written by hand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fromSpecs(t, map[string]string{"k": bare("k", c.more, c.lines)}).Spec("k")
			if s.Code != nil || !strings.Contains(s.NoSource, c.want) {
				t.Errorf("%q, want %q", s.NoSource, c.want)
			}
			if s.RunsOn("metal") {
				t.Error("runs on metal")
			}
		})
	}
}

// A generated source is launched where MLX compiles it; the CPU's library has none of it.
func TestGeneratedTargets(t *testing.T) {
	s := fromSpecs(t, map[string]string{"k": bare("k", one32, "  y: exp(x)\n"+tail)}).Spec("k")
	if !s.RunsOn("metal") || !s.RunsOn("cuda") || s.RunsOn("cpu") {
		t.Error("where it runs")
	}
	plain, _ := kernels.Parse("k.yaml", []byte(bare("k", one32, "  y: exp(x)\n"+tail)))
	if s.ContentHash == "" || s.ContentHash == plain.ContentHash {
		t.Error("the source is not in the hash")
	}
	trial, err := s.Trial(kernels.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := trial.Values()
	for _, target := range []kernels.Target{kernels.Metal, kernels.CUDA} {
		if _, err := s.Assemble(target, v, []graph.DType{graph.Float32}); err != nil {
			t.Error(err)
		}
	}
}
