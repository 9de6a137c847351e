package rules

import (
	"fmt"
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
		{"one more than two weights", `
    match: {y: "matmul(x, w)"}
    weights: {a: "increment(w, w)"}
    replace: {y: "matmul(x, a)"}`, "increment makes a parameter from one, found 2"},
		{"one more along an axis", `
    match: {y: "matmul(x, w)"}
    weights: {a: "increment(w, axis=-1)"}
    replace: {y: "matmul(x, a)"}`, "increment has no option axis"},
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
		{"attributes that are left open in a replacement", `
    match: {y: "softmax(x, ...)"}
    replace: {y: "softmax(x, ...)"}`, "... stands for attributes that a pattern does not look at"},
		{"the opposite of a number", `
    match: {y: "multiply(x, not 1.5)"}
    replace: {y: exp(x)}`, "!1.5 is not a value"},
		{"the opposite of a number in an attribute", `
    match: {y: "softmax(x, axis=1 + !2)"}
    replace: {y: exp(x)}`, "operator ! is not allowed in an attribute"},
		{"a truth value in arithmetic of an attribute", `
    match: {y: "softmax(x, axis=1 + true)"}
    replace: {y: exp(x)}`, "is not an integer"},
		{"a truth value in arithmetic of a replacement's attribute", `
    match: {y: exp(x)}
    replace: {y: "softmax(x, axis=1 + true)"}`, "is not an integer"},
		{"a number that is rounded", `
    match: {y: "add(x, 9007199254740993)"}
    replace: {y: exp(x)}`, "9007199254740993 is not below 2^53"},
		{"a number that is rounded in a replacement", `
    match: {y: exp(x)}
    replace: {y: "add(x, -9007199254740993)"}`, "-9007199254740993 is not below 2^53"},
		{"a name for an argument of any", `
    match: {y: "exp(any(x, y=negative(x)))"}
    replace: {y: exp(x)}`, "arguments of any have no names"},
		{"optional nothing", `
    match: {y: "exp(optional(x))"}
    replace: {y: exp(x)}`, "optional takes an op or a fragment applied to values, found x"},
		{"optional whose first operand is a number", `
    match: {y: "add(optional(multiply(2.0, x)), x)"}
    replace: {y: exp(x)}`, "optional(multiply(2.0, x)) needs a first operand that is a name or an op"},
		{"optional of a fragment whose first argument is a number", `
    match: {y: "add(optional(scaled(1, $s)), x)"}
    replace: {y: exp(x)}`, "optional(scaled(1, $s)) needs a first operand that is a name or an op"},
		{"a word for the factor of a fragment", `
    match: {y: 'scaled(x, "half")'}
    replace: {y: exp(x)}`, `argument $s of scaled: $s stands for a number, found "half"`},
		{"a fraction for the axis of a fragment", `
    match: {y: 'total(x, 0.5)'}
    replace: {y: exp(x)}`, `argument $a of total: $a stands for an integer, found 0.5`},
		{"a word that is no element type", `
    match: {y: 'as(x, half)'}
    replace: {y: exp(x)}`, `argument $t of as: "half" is not an element type`},
		{"a word that is no mode", `
    match: {y: 'dequant(x, "afine")'}
    replace: {y: exp(x)}`, `argument $m of dequant: mode="afine" is none of affine`},
		{"a list for a fragment", `
    match: {y: 'turned(x, 1)'}
    replace: {y: exp(x)}`, `argument $p of turned: $p stands for a list of integers, which cannot be given`},
		{"an axis that is a factor elsewhere", `
    match: {y: 'multiply(total(x, $a), $a)'}
    replace: {y: exp(x)}`, "$a stands for two kinds of attribute"},
		{"two patterns", `
    match: {y: exp(x), z: exp(u), v: "add(x, w)"}
    replace: {y: x, z: u, v: w}`, "z shares no value with the first line"},
		{"a sign before a variable", `
    match: {y: "multiply(x, -$s)"}
    replace: {y: exp(x)}`, "-$s is not a value"},
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
  scaled(x, $s): multiply(x, $s)
  total(x, $a): sum(x, axis=$a)
  as(x, $t): astype(x, dtype=$t)
  dequant(x, $m): dequantize(x, x, x, mode=$m)
  turned(x, $p): transpose(x, axes=$p)
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

// TestFragmentsRefuse gives fragments whose spellings are wrong. They are checked whether
// a rule uses them or not.
func TestFragmentsRefuse(t *testing.T) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, c := range []struct{ name, fragments, want string }{
		{"a free variable", "f(x): multiply(x, $s)", "$s is not a parameter of fragment f"},
		{"a free variable handed on", "g(x, $s): multiply(x, $s)\n  f(x): g(x, $s)", "$s is not a parameter of fragment f"},
		{"a free value", "f(x): multiply(x, z)", "z is not a parameter of fragment f"},
		{"a parameter twice", "f(x, $k, $k): exp(x)", "parameter $k is there twice"},
		{"a parameter with a value", "f(x, k=1): exp(x)", "a parameter has no value, found k=1"},
		{"itself", "f(x): exp(f(x))", "fragment f uses itself"},
		{"a circle", "f(x): exp(g(x))\n  g(x): exp(h(x))\n  h(x): add(x, g(x))", "fragment g uses itself"},
		{"a variable of two kinds", "f(x, $k): multiply(sum(x, axis=$k), $k)", "$k is a number elsewhere in f; an integer is needed here"},
		{"a variable of two kinds through another", "g(x, $m): dequantize(x, x, x, mode=$m)\n  f(x, $k): sum(g(x, $k), axis=$k)", "$k is an integer elsewhere in f; a word is needed here"},
		{"set to what it is not", "f(x, $e): {is: 'rms_norm(x, eps=$e)', set: {e: small}}", `$e stands for a number, found "small"`},
		{"set to another mode", "f(x, $m): {is: 'dequantize(x, x, x, mode=$m)', set: {m: afine}}", `mode="afine" is none of affine`},
		{"set to two kinds", "f(x, $o): [{is: exp(x), set: {o: first}}, {is: sin(x), set: {o: 2}}]", "$o stands for a word, found 2"},
		{"when by the target", `f(x): {is: exp(x), when: 'target == "cpu"'}`, "unknown name target"},
		{"when by a symbol", "f(x): {is: exp(x), when: seq_len <= 1}", "unknown name seq_len"},
		{"when by another kind", `f(x, $m): {is: 'dequantize(x, x, x, mode=$m)', when: m == 4}`, "mismatched types"},
		{"when that is no condition", "f(x): {is: exp(x), when: rank(x)}", "expected bool"},
		{"an error inside", "f(x): [sigmoid(x), sigmiod(x)]", `no op or fragment "sigmiod"`},
		{"all is well", `f(x, $m): {is: 'dequantize(x, x, x, mode=$m)', when: m == "affine" && rank(x) == 2}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, issues := Parse("test.yaml", []byte("zmlx: 1\nfamily: test\nfragments:\n  "+c.fragments+"\nrules: []\n"))
			if !issues.HasErrors() {
				_, issues = Link([]*File{f}, catalog)
			}
			if c.want == "" && issues.HasErrors() || c.want != "" && !strings.Contains(issues.Error(), c.want) {
				t.Errorf("got %v, want %q", issues, c.want)
			}
			if n := len(issues); c.want != "" && n != 1 {
				t.Errorf("%d errors: %v", n, issues)
			}
		})
	}
}

// A fragment that uses each one before it twice is as long as its text, not as long as
// what it stands for.
func TestLinkIsLinear(t *testing.T) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	var b strings.Builder
	b.WriteString("zmlx: 1\nfamily: test\nfragments:\n  f0(x, $k): sum(x, axis=$k)\n")
	for i := 1; i <= 40; i++ {
		fmt.Fprintf(&b, "  f%d(x, $k): add(f%d(x, $k), f%d(exp(x), $k))\n", i, i-1, i-1)
	}
	b.WriteString("rules:\n  - name: r\n    doc: A rule of this test.\n    numerics: exact\n    match: {y: 'f40(x, $k)'}\n    replace: {y: exp(x)}\n")
	f, issues := Parse("test.yaml", []byte(b.String()))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	if _, issues = Link([]*File{f}, catalog); issues.HasErrors() { // 2^40 steps would not end
		t.Fatal(issues)
	}
}
