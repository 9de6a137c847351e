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
