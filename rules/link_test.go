package rules

import (
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
)

// TestLinkRefuses gives rules whose names do not hang together; each has one error.
func TestLinkRefuses(t *testing.T) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, c := range []struct{ name, rule, want string }{
		{"lines in a circle", `
    match: {a: exp(b), b: negative(a), y: exp(a)}
    replace: {y: exp(x)}`, "is made of itself"},
		{"a line of itself", `
    match: {a: exp(a), y: exp(a)}
    replace: {y: y}`, "is made of itself"},
		{"a line whose attribute measures itself", `
    match: {y: "slice(x, axis=-1, start=dim(y, -1)-1)"}
    replace: {y: exp(x)}`, "is made of itself"},
		{"lines that measure each other", `
    match: {a: "slice(x, axis=-1, start=2*dim(b, -1))", b: "slice(a, axis=[-2, -1], start=[0, 1])", y: "exp(b)"}
    replace: {y: exp(x)}`, "is made of itself"},
		{"a line that is only measured", `
    match: {y: "slice(x, axis=-1, start=dim(p, -1))", p: exp(z)}
    replace: {y: exp(x), p: exp(z)}`, "p shares no value with the first line"},
		{"dim of a variable axis", `
    match: {y: "slice(x, axis=$a, start=dim(x, $a)-1)"}
    replace: {y: exp(x)}`, "the axis of dim must be written as an integer, found $a"},
		{"dim of a sum", `
    match: {y: "slice(x, axis=-1, start=dim(x, 1+1)-1)"}
    replace: {y: exp(x)}`, "the axis of dim must be written as an integer, found 1 + 1"},
		{"dim of a fraction", `
    match: {y: "slice(x, axis=-1, start=dim(x, 1.5)-1)"}
    replace: {y: exp(x)}`, "the axis of dim must be written as an integer, found 1.5"},
		{"dim of a symbol in a replacement", `
    match: {y: exp(x)}
    replace: {y: "slice(x, axis=-1, start=dim(x, seq_len)-1)"}`, "the axis of dim must be written as an integer, found seq_len"},
		{"a symbol that is none", `
    match: {y: exp(x)}
    replace: {y: "slice(x, axis=-1, start=stat, stop=5)"}`, "stat is no symbol; batch, seq_len, kv_len are"},
		{"a value for an integer", `
    match: {y: exp(x)}
    replace: {y: "slice(x, axis=-1, start=x)"}`, "dim(x, axis), rows(x) and size(x) are integers"},
		{"a function that is none", `
    match: {y: exp(x)}
    replace: {y: "slice(x, axis=-1, start=foo(x))"}`, "foo(x) is not an integer"},
		{"a flag for an axis", `
    match: {y: "sum(x, axis=$a, keepdims=$k)"}
    replace: {y: "sum(x, axis=$k)"}`, "$k is true or false; an integer is needed here"},
		{"a word for a number", `
    match: {y: "sdpa(q, k, v, scale=$s, mask=$m)"}
    replace: {y: "multiply(q, $m)"}`, "$m is a word; a number is needed here"},
		{"a word that is none of the words", `
    match: {y: exp(x)}
    replace: {y: "sdpa(x, x, x, scale=1, mask=\"casual\")"}`, `mask="casual" is none of none, causal, window, array`},
		{"a parameter made under two names", `
    match: {y: "matmul(x, w)"}
    weights: {"a, b": "transpose(w, axes=[1, 0])"}
    replace: {y: "matmul(x, a)"}`, "2 names for one parameter"},
		{"rows that are there twice", `
    match: {y: "matmul(x, w)"}
    weights: {a: "permute(w, axis=-1, rows=[1, -1])"}
    replace: {y: "matmul(x, a)"}`, "[1, -1] is not each of 2 numbers once"},
		{"axes beyond the rank", `
    match: {y: "matmul(x, w)"}
    weights: {a: "transpose(w, axes=[2, 0])"}
    replace: {y: "matmul(x, a)"}`, "[2, 0] is not each of 2 numbers once"},
		{"an option of another op", `
    match: {y: "matmul(x, w)"}
    weights: {a: "concat(w, w, axes=[0, 1])"}
    replace: {y: "matmul(x, a)"}`, "concat has no option axes"},
		{"an option that is a symbol", `
    match: {y: "matmul(x, w)"}
    weights: {a: "split(w, stop=batch)"}
    replace: {y: "matmul(x, a)"}`, "batch is not a number"},
		{"a transposition to nothing", `
    match: {y: "matmul(x, w)"}
    weights: {a: "transpose(w)"}
    replace: {y: "matmul(x, a)"}`, "transpose needs axes"},
		{"two parameters split at once", `
    match: {y: "matmul(x, w)"}
    weights: {a: "split(w, w, stop=1)"}
    replace: {y: "matmul(x, a)"}`, "split makes a parameter from one, found 2"},
		{"two patterns", `
    match: {y: exp(x), z: exp(u), v: "add(x, w)"}
    replace: {y: x, z: u, v: w}`, "z shares no value with the first line"},
		{"a sign before a variable", `
    match: {y: "multiply(x, -$s)"}
    replace: {y: exp(x)}`, "-$s is not a value"},
		{"a fragment's free variable", `
    match: {y: loose(x)}
    replace: {y: exp(x)}`, "$s is not a parameter of fragment loose"},
		{"a fragment's free variable handed on", `
    match: {y: handed(x)}
    replace: {y: exp(x)}`, "$s is not a parameter of fragment handed"},
		{"the length of nothing", `
    match: {y: "slice(x, axis=-1, start=dim(p, -1)-$k)"}
    replace: {y: exp(x)}`, "p is not a value of the pattern"},
		{"the length of nothing in a replacement", `
    match: {y: exp(x)}
    replace: {y: "slice(x, axis=-1, start=dim(p, -1)-1)"}`, "p is not known here"},
		{"more than its kernel promises", `
    match: {h: "add(x, r)", y: "rms_norm(h, w, eps=$eps)"}
    results: [h]
    replace: {"h, y": "kernel.add_rms_norm(x, r, w, eps=$eps)"}`, "is more than kernel.add_rms_norm promises"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, issues := Parse("test.yaml", []byte(`
zmlx: 1
family: test
fragments:
  loose(x): multiply(x, $s)
  scaled(x, $s): multiply(x, $s)
  handed(x): scaled(x, $s)
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact`+c.rule+"\n"))
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			_, issues = Link([]*File{f}, catalog)
			if !issues.HasErrors() || !strings.Contains(issues.Error(), c.want) {
				t.Errorf("got %v, want %q", issues, c.want)
			}
		})
	}
}
