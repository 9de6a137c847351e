package author

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// The long form of the tests compiles every example; the short one those with the most in them.
var soak = os.Getenv("ZMLX_SOAK") != ""

func some(name string) bool {
	return soak || name == "gelu" || name == "branches" || name == "layer_norm" || name == "log_softmax"
}

var update = os.Getenv("UPDATE_GOLDEN") != ""

var eps = []Param{{Name: "eps", Default: 1e-5, Check: []float64{1e-5, 0.1}}}

const siluClip = `func silu_clip(x, y float) float {
	s := 1 / (1 + exp(-x))
	t := x * s
	for i := range 3 {
		t = t*0.5 + y
	}
	if t > 7 {
		t = 7
	}
	return t
}
`

const branches = `func branches(x, y float, slope scalar, b vector) float {
	z := x + b
	low := false
	if z < -1 || y > 2 {
		low = true
		z = z * slope
	} else if z > 1 {
		return max(z, y)
	}
	scale := 1.0
	if low {
		scale = 2
		for k := range 2 {
			scale *= 0.5 + k
		}
	}
	return z*scale - abs(y)
}
`

// examples are the expressions that people fuse most, ZMLX's catalogue among them.
var examples = []struct {
	name string
	make func(name string) (*Kernel, error)
}{
	{"mish", formula("x * tanh(log(1 + exp(x)))")},
	{"gelu", formula("0.5 * x * (1 + erf(x / sqrt(2)))")},
	{"gelu_tanh", formula("0.5 * x * (1 + tanh(sqrt(2 / 3.141592653589793) * (x + 0.044715 * x ** 3)))")},
	{"relu_squared", formula("maximum(x, 0) ** 2")},
	{"softplus", formula("logaddexp(x, 0)")},
	{"silu", formula("x * sigmoid(x)")},
	{"swiglu", formula("gate * sigmoid(gate) * up")},
	{"geglu", formula("0.5 * gate * (1 + erf(gate / sqrt(2))) * up")},
	{"hardswish", formula("x * minimum(maximum(x + 3, 0), 6) / 6")},
	{"elu", func(name string) (*Kernel, error) {
		return Elementwise(name, "where(x > 0, x, alpha * expm1(x))", Options{Params: []Param{{Name: "alpha", Default: 1, Check: []float64{1, 0.3}}}})
	}},
	{"swiglu_once", func(name string) (*Kernel, error) {
		return Elementwise(name, "gate * sigmoid(gate) * up", Options{Once: true, Doc: "SwiGLU in float32, rounded once."})
	}},
	{"silu_clip", func(string) (*Kernel, error) { return JIT("silu_clip.go", []byte(siluClip), Options{}) }},
	{"branches", func(string) (*Kernel, error) { return JIT("branches.go", []byte(branches), Options{}) }},
	{"logsumexp", func(name string) (*Kernel, error) { return Reduce(name, "logsumexp(x)", Options{}) }},
	{"norm2", func(name string) (*Kernel, error) {
		return Reduce(name, "sqrt(sum(x * y) ** 2 + 1) - min(x)", Options{})
	}},
	{"softmax", func(name string) (*Kernel, error) {
		return MapReduce(name, "e = exp(x - max(x)); e / sum(e)", Options{})
	}},
	{"log_softmax", func(name string) (*Kernel, error) { return MapReduce(name, "x - logsumexp(x)", Options{}) }},
	{"rms_norm", func(name string) (*Kernel, error) {
		return MapReduce(name, "x * rsqrt(mean(x ** 2) + eps) * w", Options{Params: eps, Vectors: []string{"w"}})
	}},
	{"layer_norm", func(name string) (*Kernel, error) {
		return MapReduce(name, "(x - mean(x)) * rsqrt(var(x) + eps) * w + b", Options{Params: eps, Vectors: []string{"w", "b"}})
	}},
}

func formula(text string) func(string) (*Kernel, error) {
	return func(name string) (*Kernel, error) { return Elementwise(name, text, Options{}) }
}

func build(t *testing.T, i int) *Kernel {
	t.Helper()
	k, err := examples[i].make(examples[i].name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// parse reads a spec. The gradient is taken out of the text as long as package kernels
// does not know the key.
func parse(t testing.TB, k *Kernel) (*kernels.Spec, []graph.Define) {
	t.Helper()
	var issues diag.List
	root, _ := diag.ReadYAML(k.Name+".yaml", []byte(k.Spec))
	var grad []graph.Define
	if n := root.Get("gradient"); n != nil {
		grad, _ = kernels.ParseDefines(n, &issues)
	}
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	s, issues := kernels.Parse(k.Name+".yaml", []byte(withoutGradient(k.Spec)))
	if s == nil {
		t.Fatalf("%v\n%s", issues, k.Spec)
	}
	return s, grad
}

func withoutGradient(spec string) string {
	before, rest, ok := strings.Cut(spec, "gradient:\n")
	if !ok {
		return spec
	}
	return before + rest[strings.Index(rest, "launch:"):]
}

// Specs and sources are what they were: a change is to be read.
func TestGolden(t *testing.T) {
	for i, l := range examples {
		k := build(t, i)
		for ext, text := range map[string]string{".yaml": k.Spec, ".metal": k.Source} {
			file := filepath.Join("testdata", l.name+ext)
			if update {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("%s has changed (UPDATE_GOLDEN=1 writes it anew):\n%s", file, text)
			}
		}
		if again := build(t, i); *again != *k {
			t.Errorf("%s is another one the second time", l.name)
		}
		if k.NoGradient != "" {
			t.Errorf("%s has no gradient: %s", l.name, k.NoGradient)
		}
		if want := "kernels check " + l.name; !strings.Contains(k.Test, want) || !strings.Contains(k.Test, "-- "+l.name+".metal --\n"+k.Source) {
			t.Errorf("the test of %s is\n%s", l.name, k.Test)
		}
	}
}

func TestGradients(t *testing.T) {
	for i, l := range examples {
		s, grad := parse(t, build(t, i))
		if err := kernelcheck.CheckGradient(s, grad); err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
	}
}

// A wrong gradient is found: each line of one is changed in turn.
func TestWrongGradients(t *testing.T) {
	for i, l := range examples {
		k := build(t, i)
		_, rest, _ := strings.Cut(k.Spec, "gradient:\n")
		lines := strings.Split(rest[:strings.Index(rest, "launch:")], "\n")
		for at := range lines[:len(lines)-1] {
			name, expr, _ := strings.Cut(strings.TrimSpace(lines[at]), ": ")
			changed := *k
			bad := "  " + name + ": multiply(" + expr + ", 1.01)"
			if strings.Contains(expr, "equal(") || strings.Contains(expr, "greater(") || strings.Contains(expr, "less(") || strings.HasPrefix(expr, "logical") || name == "count" {
				continue // not numbers
			}
			changed.Spec = strings.Replace(k.Spec, lines[at]+"\n", bad+"\n", 1)
			s, grad := parse(t, &changed)
			if err := kernelcheck.CheckGradient(s, grad); err == nil {
				// The part of softmax that goes through max is 0.
				if l.name == "softmax" {
					continue
				}
				t.Errorf("%s: %q in place of %q is taken for a gradient", l.name, bad, lines[at])
			}
		}
	}
}

// The reference graph on engine/ref gives what this package's own evaluator gives of the
// formula, in every element type.
func TestReferenceAgainstEvaluator(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          Options
		want       form
	}{
		{"mish", "x * tanh(log(1 + exp(x)))", Options{}, elementwise},
		{"all", "where(x > y && !(x < 0) || y == 0, sin(x) + cos(y), floor(x * 3) - ceil(y) * sign(x))", Options{}, elementwise},
		{"powers", "x ** 2 + abs(x) ** 0.5 - abs(y) ** 1.7 + (1 + abs(x)) ** -1 + y ** 3 * x ** 4", Options{}, elementwise},
		{"steps", "sigmoid(x) * rsqrt(1 + abs(y)) + logaddexp(x, y) - expm1(x) + log1p(abs(y)) + erf(x) + 0.1 * b", Options{Vectors: []string{"b"}}, elementwise},
		{"numbers", "where(x > 0, 1, -1) * y + 2 ** -3 - (1 - x) * alpha", Options{Params: []Param{{Name: "alpha", Default: 0.3}}}, elementwise},
		{"extremes", "minimum(x, y) / maximum(abs(x), 0.1)", Options{}, elementwise},
		{"lse", "logsumexp(x * y) - mean(x)", Options{}, reduction},
		{"var", "var(x) + max(y) * min(x)", Options{}, reduction},
		{"norm", "(x - mean(x)) * rsqrt(var(x) + 0.00001) * w", Options{Vectors: []string{"w"}}, mapReduce},
		{"softmax", "e = exp(x - max(x)); e / sum(e)", Options{}, mapReduce},
	} {
		b := newBuilder()
		r := &reader{builder: b, options: &c.o, lines: map[string]*node{}, results: true}
		result, err := r.formula(c.text)
		if err != nil {
			t.Fatal(err)
		}
		k, err := compile(c.name, c.text, c.o, c.want)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := parse(t, k)
		for _, dtype := range []graph.DType{graph.Float16, graph.BFloat16, graph.Float32, graph.Float64} {
			v := &values{rows: 3, n: 7, of: map[string][]float64{"alpha": {0.3}}, round: func(x float64) float64 { return graph.Round(dtype, x) }}
			rnd := rand.New(rand.NewPCG(5, uint64(dtype)))
			for _, x := range b.inputs {
				data := make([]float64, v.size(x.shape))
				for i := range data {
					data[i] = v.round(rnd.NormFloat64() * 2)
				}
				v.of[x.name] = data
			}
			want := v.eval(result)
			got := runReference(t, s, v, dtype)
			for i := range want {
				if math.Abs(got[i]-want[i]) > slack(dtype)*(1+math.Abs(want[i])) {
					t.Errorf("%s in %s, element %d: reference %v, evaluator %v", c.name, dtype, i, got[i], want[i])
					break
				}
			}
		}
	}
}

// slack is for sigmoid, whose parts the evaluator rounds less often than MLX.
func slack(t graph.DType) float64 {
	switch t {
	case graph.Float64:
		return 1e-13
	case graph.Float32:
		return 3e-7
	}
	return 0 // the parts are of float32, and no result here is that close to a tie
}

func runReference(t *testing.T, s *kernels.Spec, v *values, dtype graph.DType) []float64 {
	t.Helper()
	g, e := graph.New(), ref.New()
	tensors := map[string]engine.Tensor{}
	in := make([]graph.ValueID, len(s.Inputs))
	for i, x := range s.Inputs {
		shape := []int{v.n}
		if x.Shape[0].Name == "..." {
			shape = []int{v.rows, v.n}
		}
		typ := graph.Type{DType: dtype}
		for _, d := range shape {
			typ.Shape = append(typ.Shape, graph.N(int64(d)))
		}
		in[i] = g.Input(x.Name, typ)
		var raw []byte
		for _, f := range v.of[x.Name] {
			raw = graph.AppendElem(raw, dtype, f)
		}
		var err error
		if tensors[x.Name], err = e.NewTensor(dtype, shape, raw); err != nil {
			t.Fatal(err)
		}
	}
	attrs := make([]graph.Attr, len(s.Attrs))
	for i, a := range s.Attrs {
		attrs[i] = graph.Float(v.of[a.Name][0])
	}
	out, err := s.Expand(g, "", in, attrs)
	if err != nil {
		t.Fatal(err)
	}
	g.Output("out", out[0])
	res, err := engine.Run(context.Background(), e, g, nil, tensors, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := res["out"].DType(); got != dtype {
		t.Fatalf("%s: result is %s for inputs of %s", s.Name, got, dtype)
	}
	data, err := res["out"].Read()
	if err != nil {
		t.Fatal(err)
	}
	list := make([]float64, len(data)/dtype.Size())
	for i := range list {
		list[i] = graph.DecodeElem(dtype, data[i*dtype.Size():])
	}
	return list
}

// load reads examples with their sources, as from a folder that somebody named.
func load(t *testing.T, want func(name string) bool) []*kernels.Spec {
	t.Helper()
	dir := t.TempDir()
	for i, l := range examples {
		if !want(l.name) {
			continue
		}
		k := build(t, i)
		for ext, text := range map[string]string{".yaml": withoutGradient(k.Spec), ".metal": k.Source} {
			if err := os.WriteFile(filepath.Join(dir, l.name+ext), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, issues := kernels.Load(dir)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	var list []*kernels.Spec
	for _, l := range examples {
		if s := c.Spec(l.name); s != nil && strings.HasPrefix(s.Source, dir) {
			list = append(list, s)
		}
	}
	return list
}

// Sources compute what the specs say, on the host, with every schedule of threads.
func TestSources(t *testing.T) {
	if _, err := kernelcheck.Compiler(); err != nil {
		t.Skip("no C++ compiler on this machine: sources are not run")
	}
	for _, s := range load(t, some) {
		t.Run(s.Name, func(t *testing.T) {
			r, err := kernelcheck.Run(context.Background(), s, kernelcheck.Options{Cases: 60, Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if r.Failure != nil {
				t.Error(r.Failure)
			}
		})
	}
}

// Sources are in the subset: clang takes them as Metal, NVRTC for NVIDIA.
func TestUnits(t *testing.T) {
	missing := map[string]bool{}
	types := []graph.DType{graph.Float32}
	if soak {
		types = []graph.DType{graph.Float16, graph.BFloat16, graph.Float32}
	}
	for _, s := range load(t, some) {
		for _, dtype := range types {
			trial, err := s.Trial(kernels.Choice{Types: map[string]graph.DType{"T": dtype}})
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.Values(trial.Inputs, trial.Attrs)
			if err != nil {
				t.Fatal(err)
			}
			for _, small := range []bool{false, true} {
				metal, err := s.MetalCheckUnit(v, []graph.DType{dtype}, small)
				if err != nil {
					t.Fatal(err)
				}
				if err := kernelcheck.TypeCheck(metal); errors.Is(err, kernelcheck.ErrNoClang) {
					missing["clang"] = true
				} else if err != nil {
					t.Errorf("%s as Metal: %v", s.Name, err)
				}
			}
			cuda, _, err := s.CUDAUnit(v, []graph.DType{dtype})
			if err != nil {
				t.Fatal(err)
			}
			ptx, err := kernelcheck.NVRTC(cuda, "sm_90a")
			if errors.Is(err, kernelcheck.ErrNoNVRTC) || errors.Is(err, kernelcheck.ErrNoCompiler) {
				missing["NVRTC"] = true
			} else if err != nil {
				t.Errorf("%s as CUDA: %v", s.Name, err)
			} else if s.Name == "branches" && strings.Contains(string(ptx), "fma.rn.f32") {
				t.Errorf("%s rounds each product, but has a fused multiply-add", s.Name)
			}
		}
	}
	for what := range missing {
		t.Skipf("no %s on this machine: sources are not compiled with it", what)
	}
}

// The functions that maths.h ports for Metal, on the host: close to the truth where MLX's are.
func TestMathsForMetal(t *testing.T) {
	cxx, err := kernelcheck.Compiler()
	if err != nil {
		t.Skip("no C++ compiler on this machine: sources are not run")
	}
	dir := t.TempDir()
	const program = `#include "host.h"
#include "lib/maths.h"
#include <cstdio>
int main() {
  for (float x = -12.0f; x < 12.0f; x += 0.00731f)
    printf("%a %a %a %a\n", x, zmlx_erf(x), zmlx_expm1(x), zmlx_log1p(x + 11.5f > 0 ? (x + 11.5f) * 0.1f - 0.9f : 0.0f));
  for (float x : {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 90.0f, -90.0f, 1e-30f})
    printf("%a %a %a %a\n", x, zmlx_erf(x), zmlx_expm1(x), zmlx_log1p(x));
}
`
	if err := os.WriteFile(filepath.Join(dir, "main.cpp"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "main")
	build := exec.Command(cxx, "-std=c++20", "-O1", "-ffp-contract=off", "-I../compat", "-I../cpu", "-pthread", "-o", exe, filepath.Join(dir, "main.cpp"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(exe).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 3000 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, l := range lines {
		var v [4]float64
		for k, f := range strings.Fields(strings.ReplaceAll(l, "-nan", "nan")) {
			var err error
			if v[k], err = strconv.ParseFloat(f, 64); err != nil {
				t.Fatal(err)
			}
		}
		x, l1p := v[0], v[0]
		if i < len(lines)-8 {
			if l1p = float64(float32(x) + 11.5); l1p > 0 {
				l1p = float64(float32(l1p)*0.1 - 0.9)
			} else {
				l1p = 0
			}
		}
		for _, c := range []struct {
			name           string
			got, want, off float64
		}{
			{"erf", v[1], math.Erf(x), 2e-6},
			{"expm1", v[2], math.Expm1(x), 3e-7 + 1.5e-6*math.Exp(min(x, 88))*(1+math.Abs(x)*1.5)},
			{"log1p", v[3], math.Log1p(l1p), 4e-7 * (1 + math.Abs(math.Log1p(l1p)))},
		} {
			if math.IsInf(c.want, 0) || math.Abs(c.want) > math.MaxFloat32 {
				if !math.IsInf(c.got, 0) {
					t.Errorf("%s(%v) = %v", c.name, x, c.got)
				}
			} else if math.IsNaN(c.want) != math.IsNaN(c.got) || math.Abs(c.got-c.want) > c.off {
				t.Errorf("%s(%v) = %v, want %v", c.name, x, c.got, c.want)
			}
		}
	}
}
