package kernels

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"zmlx-rewrite/graph"
)

const spec = `zmlx: 1
kernel: double
doc: Twice x.
types: {T: [float16, float32]}
inputs: {x: "T[..., n]", "b?": "T[n]"}
attrs: {bits: {kind: int, in: [4, 8]}, mode: {kind: word, in: [plain, odd], default: plain}, eps: {kind: float, default: 1e-6}, neg: {kind: bool, default: false}}
reference: {y: "add(x, x)"}
results: [y]
numerics: exact
launch: {grid: [rows * n, 1, 1], threadgroup: ["min(n, 256)", 1, 1]}
check: {dims: {rows: [1, 3], n: [5, 7]}}
`

const source = `#include "mlx_ops.h"
template <typename T> T twice(T v) { return T(float(v) + float(v)); }

kernel void double() {
  const int i = int(thread_position_in_grid.x);
  if (i < rows * n) y[i] = twice(T(x[i]));
}
`

// double reads the kernel above, with its source edited.
func double(t *testing.T, old, new string) (*Spec, error) {
	t.Helper()
	if !strings.Contains(source, old) {
		t.Fatalf("the source has no %q", old)
	}
	fsys := fstest.MapFS{"double.yaml": {Data: []byte(spec)}, "double.metal": {Data: []byte(strings.Replace(source, old, new, 1))}}
	c := &Catalog{map[string]*Spec{}, map[*graph.Op]*Spec{}}
	issues := c.read(fsys, "")
	return c.specs["double"], issues.Err()
}

func TestSourceErrors(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"another name", "void double()", "void triple()", `double.metal:4: the kernel is called triple, its spec double`},
		{"no kernel line", "kernel void double() {", "void double() {", `there must be one line "kernel void double() {"; there are 0`},
		{"code behind the kernel", "}\n", "}\nint more;\n", "must end with the } of the kernel"},
		{"unknown header", "mlx_ops.h", "mlx_opps.h", `double.metal:1: there is no shared header "mlx_opps.h"`},
		{"memory in a helper", "template", "threadgroup float part[32];\ntemplate", "declared in the body only"},
		{"memory on a shared line", "  const int i", "  threadgroup float a[2], b[2]; const int i", "each on a line of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasSuffix(c.new, "int more;\n") {
				c.old, c.new = "twice(T(x[i]));\n}\n", "twice(T(x[i]));\n}\nint more;\n"
			}
			_, err := double(t, c.old, c.new)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A spec that says what is read early needs a source that calls ready(), and names inputs.
func TestEarly(t *testing.T) {
	for _, c := range []struct{ early, source, want string }{
		{"[x]", strings.Replace(source, "  if (i", "  ready();\n  if (i", 1), ""},
		{"[x]", source, "double.metal:5: the spec says what is read early, and the source does not call ready()"},
		{"[x]", strings.Replace(source, "  if (i", "  // ready();\n  if (i", 1), "does not call ready()"},
		{"[w]", strings.Replace(source, "  if (i", "  ready();\n  if (i", 1), `"w" is not an input`},
		{"x", source, "early must be a list of inputs"},
	} {
		fsys := fstest.MapFS{"double.yaml": {Data: []byte(spec + "early: " + c.early + "\n")}, "double.metal": {Data: []byte(c.source)}}
		catalog := &Catalog{map[string]*Spec{}, map[*graph.Op]*Spec{}}
		issues := catalog.read(fsys, "")
		err := issues.Err()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("early: %s: %v, want %q", c.early, err, c.want)
		}
		if err == nil && !slices.Equal(catalog.specs["double"].Early, []string{"x"}) {
			t.Errorf("early: %v", catalog.specs["double"].Early)
		}
	}
}

func TestSourceIsTakenApart(t *testing.T) {
	s, err := double(t, "  const int i", "  threadgroup float part[8];  // one a simdgroup\n  const int i")
	if err != nil {
		t.Fatal(err)
	}
	if !s.Code.Cooperative || !slices.Equal(s.Code.Shared, []Shared{{"float", "part", "8", 5}}) || s.Code.BodyLine != 5 {
		t.Errorf("cooperative %v, shared %v, body from line %d", s.Code.Cooperative, s.Code.Shared, s.Code.BodyLine)
	}
	plain, _ := double(t, "x[i]", "x[i]")
	if plain.Code.Cooperative {
		t.Error("a body without barriers is not cooperative")
	}
	if s.ContentHash == plain.ContentHash {
		t.Error("two sources have one hash")
	}
}

// TestAssemble: what the prologue says of a call, number by number.
func TestAssemble(t *testing.T) {
	s, err := double(t, "x[i]", "x[i]")
	if err != nil {
		t.Fatal(err)
	}
	in := []graph.Type{graph.T(graph.Float16, graph.Sym("batch"), graph.N(7)), {DType: graph.NoDType}}
	v, err := s.Values(in, []graph.Attr{graph.N(4), graph.Str("odd"), graph.Float(1e-6), graph.Flag(true)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Assemble(CUDA, v, []graph.DType{graph.Float16})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"using T = half;", "using x_t = half;", "using b_t = half;", "using y_t = half;", "constexpr bool has_b = false;",
		"const device b_t* b = nullptr;", "const int rows = int(zmlx_ints[0]);", "constexpr int n = int(7);", "constexpr int bits = int(4);",
		"constexpr int mode = int(1);", "constexpr int mode_plain = 0;", "constexpr int mode_odd = 1;", "constexpr float eps = 9.99999997e-07f;",
		"constexpr bool neg = bool(1);",
	} {
		if !strings.Contains(g.Body, line+"\n") {
			t.Errorf("the body lacks the line %q:\n%s", line, g.Body)
		}
	}
	if want := []string{"x", "zmlx_ints"}; !slices.Equal(g.Inputs, want) {
		t.Errorf("inputs %v, want %v", g.Inputs, want)
	}
	if !strings.Contains(g.Header, "mlx_sigmoid") || strings.Contains(g.Header, `#include "mlx_ops.h"`) {
		t.Error("the shared header is not in the text in place of its #include")
	}
	v.Ints[0] = graph.N(2)
	fixed, err := s.Assemble(CUDA, v, []graph.DType{graph.Float16})
	if err != nil {
		t.Fatal(err)
	}
	if fixed.Name == g.Name || len(fixed.Dynamic) != 0 {
		t.Errorf("another text needs another name: %s and %s", fixed.Name, g.Name)
	}
}

func TestGeometry(t *testing.T) {
	s, err := double(t, "x[i]", "x[i]")
	if err != nil {
		t.Fatal(err)
	}
	trial, err := s.Trial(Choice{Dims: map[string]int64{"rows": 3, "n": 7}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Geometry(trial.Ints)
	if want := (Geometry{[3]int64{21, 1, 1}, [3]int64{7, 1, 1}}); err != nil || g != want {
		t.Errorf("%v, %v; want %v", g, err, want)
	}
	if _, err := s.Trial(Choice{Attrs: map[string]graph.Attr{"bits": graph.N(3)}}); err == nil || !strings.Contains(err.Error(), "none of [4 8]") {
		t.Errorf("3 bits: %v", err)
	}
}

func TestSpecErrors(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown name in launch", "[rows * n, 1, 1]", "[rows * m, 1, 1]", "m is not a dimension, rows, or an integer attribute"},
		{"two numbers", "[rows * n, 1, 1]", "[rows * n, 1]", "list of three expressions"},
		{"unknown function", `"min(n, 256)"`, `"log(n, 256)"`, "log is none of div(a, b)"},
		{"a dim that is none", "{rows: [1, 3], n: [5, 7]}", "{rows: [1, 3], z: [5, 7]}", "z is not a dimension of the inputs"},
		{"a negative length", "n: [5, 7]", "n: [5, -7]", "a length of -7"},
		{"a generator that is none", "n: [5, 7]}}", "n: [5, 7]}, inputs: {x: noise}}", "noise is no generator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(spec, c.old) {
				t.Fatalf("the spec has no %q", c.old)
			}
			_, issues := Parse("double.yaml", []byte(strings.Replace(spec, c.old, c.new, 1)))
			if err := issues.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "double.yaml:") {
				t.Errorf("got %v, want %q with a position", err, c.want)
			}
		})
	}
}

// TestCooperative: it is what a body comes to that counts.
func TestCooperative(t *testing.T) {
	for name, c := range map[string]struct {
		header, body string
		want         bool
	}{
		"a helper of a shared header":   {"#include \"attention.h\"\n", "y[0] = attn_sum(x[0], 32);", true},
		"a helper of its own":           {"inline float total(float v) { return simd_sum(v); }\ninline float two(float v) { return total(v); }\n", "y[0] = two(x[0]);", true},
		"helpers that it does not call": {"#include \"extremes.h\"\n#include \"reduce.h\"\n", "y[0] = x[0];", false},
		"an attribute's name":           {"#include \"mlx_ops.h\"\n", "y[0] = group_size < 0 ? x[0] : mlx_relu(x[0]);", false},
		"a barrier":                     {"", "threadgroup_barrier(mem_flags::mem_none);", true},
	} {
		s, issue := ParseSource("k.metal", "k", []byte(c.header+"kernel void k() {\n  "+c.body+"\n}\n"))
		if issue != nil {
			t.Fatal(issue)
		}
		if s.Cooperative != c.want {
			t.Errorf("%s: cooperative %v, want %v", name, s.Cooperative, c.want)
		}
	}
}
