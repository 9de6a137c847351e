package kernels

import (
	"strings"
	"testing"
)

func TestMinify(t *testing.T) {
	got := minify("// a comment\n#line 3 \"x\"\n  int a; /* b */\n#if ZMLX_CUDA\n  int cuda;\n#elif ZMLX_METAL\n  int metal;\n#else\n  int other;\n#endif\n#ifndef X\n#define X 1 \\\n    + 2\n#endif\n", Metal)
	if want := "int a;\nint metal;\n#ifndef X\n#define X 1 \\\n+ 2\n#endif\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPrune: a body keeps what it reads, and what that reads.
func TestPrune(t *testing.T) {
	header := minify(`#define TWICE(x) one(x) + one(x)
#define UNUSED 3
namespace metal {
inline float one(float x) { return x; }
inline int one(int x) { return x; }
inline float two(float x) {
  return x;
}
}
struct pair {
  float a, b;
};
template <typename T>
inline T both(pair p) {
  return T(p.a + p.b);
}
template <typename T> inline T neither(T x) { return x; }
typedef unsigned int uint;
using metal::two;
inline pair operator*(pair a, float b) { return {a.a * b, a.b}; }
`, CUDA)
	got := prune(header, "y = TWICE(2);\n")
	for text, want := range map[string]bool{"#define TWICE": true, "UNUSED": false, "float one(float": true, "int one(int": true, "float two": false,
		"using metal::two": false, "both": false, "neither": false, "typedef": false, "operator*": true, "struct pair": true, "namespace metal {": true} {
		if strings.Contains(got, text) != want {
			t.Errorf("%q: kept %v, want %v in\n%s", text, !want, want, got)
		}
	}
	if got := prune(header, "both<float>(p)"); !strings.Contains(got, "T both(pair p)") || strings.Contains(got, "one(") {
		t.Errorf("both is read alone:\n%s", got)
	}
}

// TestMinifyCareful: what is not understood stays, whole.
func TestMinifyCareful(t *testing.T) {
	for _, text := range []string{
		"#endif\nint b;\n", "#if X\nint a;\n", "# if X\nint a;\n# endif\nint b;\n",
		"#if ZMLX_CUDA\nint a;\n#elif defined(FOO)\nint b;\n#else\nint c;\n#endif\n",
	} {
		if got := minify(text, CUDA); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := minify("#  if ZMLX_CUDA\nint a;\n# else\nint b;\n#   endif\n", Metal); got != "int b;\n" {
		t.Errorf("got %q", got)
	}
	if got := minify("int/**/x;\n", Metal); got != "int x;\n" {
		t.Errorf("got %q", got)
	}
	for _, h := range []string{
		"struct P {\nint a;\n} v = {1};\n",
		"inline constexpr float scale = pick(3.0f);\ninline float pick(float v) {\nreturn v;\n}\n",
		"static constant float k[1] = {g(1)};\n",
		"inline float help_a(float v) { return v; }\n#define HELP(k) help_##k\n",
		"inline float f(float x) {\n#if A\nreturn 1.0f; }\n#else\nreturn 2.0f; }\n#endif\n",
		"inline float f(float x) { return x; } inline float v(float x) { return x; }\n",
		"}\n", "struct P f(int a) {\nreturn {};\n}\n",
	} {
		if got := prune(h, "v scale HELP(a) k"); got != h {
			t.Errorf("%q became %q", h, got)
		}
	}
	if got := prune("inline float unused(float v)\n{\nreturn v;\n}\ninline float f(float v)\n{\nreturn v;\n}\n", "f(1)"); got != "inline float f(float v)\n{\nreturn v;\n}\n" {
		t.Errorf("got %q", got)
	}
}
