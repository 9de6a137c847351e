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
