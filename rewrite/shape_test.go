package rewrite

import (
	"strings"
	"testing"
)

// TestShapes rewrites graphs with two places that differ in one thing only. What is
// found out for the first place must not be taken for the second: each must be taken
// or refused, and have the same bits, as if it were alone.
func TestShapes(t *testing.T) {
	const small = `
zmlx: 1
kernel: small
doc: An exponential and its opposite, of float32.
inputs: {x: "float32[n]"}
domain: {width: n <= 4}
reference: {y: "negative(exp(x))"}
results: [y]
numerics: exact
`
	const scaled = `
zmlx: 1
kernel: scaled
doc: A scaled exponential.
inputs: {x: "float32[n]", s: "float32[]"}
reference: {y: "exp(multiply(x, s))"}
results: [y]
numerics: exact
`
	const norm = `
zmlx: 1
kernel: norm
doc: The opposite of a norm.
inputs: {x: "float32[n]", "w?": "float32[n]"}
attrs: {eps: {kind: float}}
reference: {y: "negative(rms_norm(x, w, eps=$eps))"}
results: [y]
numerics: exact
`
	for _, c := range []struct {
		name, rule, spec, graph string
		first, second           string // the refusal, or "" if the place is taken
	}{
		{
			name: "element type, in a guard",
			rule: `
    match: {a: exp(x), y: negative(a)}
    guards: {type: 'dtype(x) == "float32"'}
    replace: {y: kernel.small(x)}`,
			spec: small,
			graph: `
  a = exp(x) : float32[4] @ first
  y = negative(a) : float32[4] @ first
  b = exp(h) : float16[4] @ second
  z = negative(b) : float16[4] @ second`,
			second: CodeGuard,
		},
		{
			name: "element type, in a kernel's domain",
			rule: `
    match: {a: exp(x), y: negative(a)}
    replace: {y: kernel.small(x)}`,
			spec: small,
			graph: `
  a = exp(x) : float32[4] @ first
  y = negative(a) : float32[4] @ first
  b = exp(h) : float16[4] @ second
  z = negative(b) : float16[4] @ second`,
			second: CodeKernel,
		},
		{
			name: "dimension, in a kernel's domain",
			rule: `
    match: {a: exp(x), y: negative(a)}
    replace: {y: kernel.small(x)}`,
			spec: small,
			graph: `
  a = exp(long) : float32[8] @ first
  y = negative(a) : float32[8] @ first
  b = exp(x) : float32[4] @ second
  z = negative(b) : float32[4] @ second`,
			first: CodeKernel,
		},
		{
			name: "dimension, in an attribute of the replacement",
			rule: `
    match: {a: "slice(x, axis=-1, start=$k)", b: negative(a), y: negative(b)}
    replace: {y: "slice(x, axis=-1, start=dim(x, -1)-dim(a, -1))"}`,
			graph: `
  a = slice(x, axis=-1, start=1) : float32[3] @ first
  b = negative(a) : float32[3] @ first
  y = negative(b) : float32[3] @ first
  c = slice(long, axis=-1, start=3) : float32[5] @ second
  d = negative(c) : float32[5] @ second
  z = negative(d) : float32[5] @ second`,
		},
		{
			name: "rank",
			rule: `
    match: {a: exp(x), y: negative(a)}
    guards: {matrix: rank(x) == 2}
    replace: {y: kernel.small(x)}`,
			spec: strings.Replace(small, "[n]", "[..., n]", 1),
			graph: `
  a = exp(x) : float32[4] @ first
  y = negative(a) : float32[4] @ first
  b = exp(flat) : float32[1, 4] @ second
  z = negative(b) : float32[1, 4] @ second`,
			first: CodeGuard,
		},
		{
			name: "variable of an attribute",
			rule: `
    match: {n: "rms_norm(x, w?, eps=$e)", y: negative(n)}
    replace: {y: "kernel.norm(x, w, eps=$e)"}`,
			spec: norm,
			graph: `
  a = rms_norm(x, eps=1) : float32[4] @ first
  y = negative(a) : float32[4] @ first
  b = rms_norm(x, eps=2) : float32[4] @ second
  z = negative(b) : float32[4] @ second`,
		},
		{
			name: "variable of an attribute, in a guard",
			rule: `
    match: {n: "rms_norm(x, w?, eps=$e)", y: negative(n)}
    guards: {one: e == 1}
    replace: {y: "kernel.norm(x, w, eps=$e)"}`,
			spec: norm,
			graph: `
  a = rms_norm(x, eps=1) : float32[4] @ first
  y = negative(a) : float32[4] @ first
  b = rms_norm(x, eps=2) : float32[4] @ second
  z = negative(b) : float32[4] @ second`,
			second: CodeGuard,
		},
		{
			name: "absent operand",
			rule: `
    match: {n: "rms_norm(x, w?, eps=$e)", y: negative(n)}
    replace: {y: "kernel.norm(x, w, eps=$e)"}`,
			spec: norm,
			graph: `
  a = rms_norm(x, eps=1) : float32[4] @ first
  y = negative(a) : float32[4] @ first
  b = rms_norm(x, v, eps=1) : float32[4] @ second
  z = negative(b) : float32[4] @ second`,
		},
		{
			name: "scalar constant",
			rule: `
    match: {a: "multiply(x, $s)", y: exp(a)}
    replace: {y: "kernel.scaled(x, $s)"}`,
			spec: scaled,
			graph: `
  c = constant(0.5) : float32[]
  d = constant(0.25) : float32[]
  a = multiply(x, c) : float32[4] @ first
  y = exp(a) : float32[4] @ first
  b = multiply(x, d) : float32[4] @ second
  z = exp(b) : float32[4] @ second`,
		},
		{
			name: "element type of a scalar constant",
			rule: `
    match: {a: "multiply(x, $s)", y: exp(a)}
    replace: {y: "kernel.scaled(x, $s)"}`,
			spec: scaled,
			graph: `
  c = constant(0.5) : float32[]
  d = constant(0.5) : bfloat16[]
  a = multiply(x, c) : float32[4] @ first
  y = exp(a) : float32[4] @ first
  b = multiply(x, d) : float32[4] @ second
  z = exp(b) : float32[4] @ second`,
			second: CodeKernel,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			specs := map[string]string{}
			if c.spec != "" {
				_, name, _ := strings.Cut(c.spec, "kernel: ")
				name, _, _ = strings.Cut(name, "\n")
				specs[name] = c.spec
			}
			set, err := setOf(t, "\nzmlx: 1\nfamily: test\nrules:\n  - name: r\n    doc: A rule of this test.\n    numerics: exact"+c.rule+"\n", specs)
			if err != nil {
				t.Fatal(err)
			}
			text := "zmlx 1\nprogram test\ncase all\n  input x : float32[4]\n  input h : float16[4]\n  input long : float32[8]\n  input flat : float32[1, 4]\n  input v : float32[4]" +
				c.graph + "\n  output y = y\n  output z = z\n"
			taken := 0
			for _, code := range []string{c.first, c.second} {
				if code == "" {
					taken++
				}
			}
			_, refusals := checkSound(t, set, text, taken)
			for scope, code := range map[string]string{"first": c.first, "second": c.second} {
				got := ""
				for _, r := range refusals {
					if r.Scope == scope {
						got = r.Code
					}
				}
				if got != code {
					t.Errorf("the %s place: refused by %q, not %q", scope, got, code)
				}
			}
		})
	}
}
