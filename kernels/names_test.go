package kernels

import (
	"errors"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// TestNames: what would be no name in the source, or make no case, is refused.
func TestNames(t *testing.T) {
	const spec = `zmlx: 1
kernel: k
doc: relu.
types: {T: [float32]}
inputs: {x: 'T[..., n]', 'o?': 'int32[]'}
attrs: {m: {kind: word, in: [p, q], default: p}, f: {kind: bool, default: false}, eps: {kind: float, default: 1.5}, c: {kind: int, default: 1}}
reference: {y: 'maximum(x, 0.0)'}
results: [y]
numerics: exact
launch: {grid: [rows * n, 1, 1], threadgroup: [64, 1, 1]}
check: {dims: {rows: [1, 2], n: [1, 31]}, inputs: {o: below(n)}, attrs: {c: [1, 2]}}
`
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{"{T: [float32]}", "{T: [float32], 'a b': [float32]}", `an element type is called "a b"`},
		{"{T: [float32]}", "{T: [float32], U: []}", "U needs a list"},
		{"{T: [float32]}", "{T: [float32], NAN: [float32]}", "element type NAN is called NAN"},
		{"T[..., n]", "T[..., int]", "dimension int is called int"},
		{"T[..., n]", "T[..., 0]", "0 is not a length"},
		{"T[..., n]", "T[..., x]", "dimension x is called x in the source, as is input x"},
		{"T[..., n]", "T[..., rows_, n, has_o]", "has_o in the source"},
		{"m: {kind: word", "o_t: {kind: word", "attribute o_t is called o_t"},
		{"m: {kind: word", "thread: {kind: word", "means something else"},
		{"in: [p, q]", "in: ['a = 0; int evil() { return 1; } constexpr int z', p]", "a word of attribute m"},
		{"kind: bool, default: false", "kind: bool, in: [true], default: true", "in is for int and word"},
		{"kind: float, default: 1.5", "kind: float, in: [1, 2]", "in is for int and word"},
		{"kind: float, default: 1.5", "kind: float, default: 1e39", "not a float32"},
		{"kind: int, default: 1", "kind: int, in: []", "must be a list"},
		{"n: [1, 31]", "n: [0, 31]", "a length of 0"},
		{"c: [1, 2]", "c: [1.5]", "no value of c"},
		{"c: [1, 2]", "m: [1]", "neither an int nor a float"},
	} {
		text := strings.Replace(spec, c.old, c.new, 1)
		_, issues := Parse("k.yaml", []byte(text))
		err := issues.Err()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
	for _, c := range []struct{ old, new string }{
		{"below(n)", "below(n - 2)"}, {"below(n)", "index(n - 1)"}, {"n: [1, 31]}", "rows: [1]}, derive: {n: rows - 5}"},
	} {
		s, issues := Parse("k.yaml", []byte(strings.Replace(strings.Replace(spec, "rows: [1, 2], n: [1, 31]}", "n: [1, 31]}", 1), c.old, c.new, 1)))
		if err := issues.Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Trial(Choice{Types: map[string]graph.DType{"T": graph.Float32}}); !errors.Is(err, ErrDomain) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	for v, want := range map[float64]string{1e39: "INFINITY", -1e39: "-INFINITY", 1e20: "1.00000002e+20f", 2: "2.0f"} {
		if got := floatText(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
