package rewrite

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
)

// builtIn loads the built-in kernels once for all tests.
var builtIn = sync.OnceValues(func() (*kernels.Catalog, diag.List) { return kernels.Load() })

// setOf links one rule file with the built-in kernels and those given by name.
func setOf(t testing.TB, rule string, specs map[string]string) (*rules.Set, error) {
	t.Helper()
	c, issues := builtIn()
	if len(specs) > 0 {
		dir := t.TempDir()
		for name, text := range specs {
			if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		c, issues = kernels.Load(dir)
	}
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	f, issues := rules.Parse("test.yaml", []byte(rule))
	if issues.HasErrors() {
		return nil, issues
	}
	s, issues := rules.Link([]*rules.File{f}, c)
	return s, issues.Err()
}

// outputs runs a graph without parameters on the reference engine.
func outputs(t testing.TB, p *graph.Program, seed uint64) map[string][]byte {
	t.Helper()
	e, rng, in := ref.New(), rand.New(rand.NewPCG(seed, 7)), map[string]engine.Tensor{}
	g := p.Cases[0].Graph
	for _, id := range g.Inputs() {
		typ := g.Type(id)
		shape, data := make([]int, typ.Rank()), []byte(nil)
		for i, d := range typ.Shape {
			shape[i] = d.Int()
		}
		for range typ.Size().Int() {
			v := 0.5 + 2*rng.Float64()
			if rng.IntN(8) == 0 { // zeros of both signs
				v = math.Copysign(0, rng.Float64()-0.5)
			}
			if typ.DType.IsInteger() {
				v = float64(rng.IntN(2))
			}
			data = graph.AppendElem(data, typ.DType, v)
		}
		x, err := e.NewTensor(typ.DType, shape, data)
		if err != nil {
			t.Fatal(err)
		}
		in[g.InputName(id)] = x
	}
	out, err := engine.Run(context.Background(), e, g, nil, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	res := map[string][]byte{}
	for name, x := range out {
		if res[name], err = x.Read(); err != nil {
			t.Fatal(err)
		}
	}
	return res
}

const two = `
zmlx: 1
kernel: two
doc: Two differences at once.
inputs: {x: "float32[n]", y: "float32[n]", s: "float32[n]"}
reference: {p: "subtract(x, s)", q: "subtract(y, s)"}
results: [p, q]
numerics: exact
`

// TestSound gives the matcher graphs that a careless one would accept. Where it does
// accept, the results must have the same bits.
func TestSound(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    string // match, results, guards, replace
		specs   map[string]string
		graph   string
		matches int
	}{
		{
			name: "an integer constant is not the fraction that truncates to it",
			rule: `
    match: {a: "multiply(x, 1.5)", y: "negative(a)"}
    replace: {y: "multiply(x, -1.5)"}`,
			graph: `
  input x : float32[4]
  c = constant(1) : int32[]
  a = multiply(x, c) : float32[4]
  y = negative(a) : float32[4]
  output y = y`,
		},
		{
			name: "a constant is rounded to the type that it works in, not to its own",
			rule: `
    match: {a: "add(x, 0.1)", y: "negative(a)"}
    replace: {y: "subtract(-0.1, x)"}`,
			graph: `
  input x : float32[4]
  c = constant(0.1) : bfloat16[]
  a = add(x, c) : float32[4]
  y = negative(a) : float32[4]
  output y = y`,
		},
		{
			name: "a constant does not widen",
			rule: `
    match: {a: "add(x, 0.1)", b: "exp(a)", y: "astype(b, dtype=bfloat16)"}
    replace: {y: "exp(add(x, 0.1))"}`,
			graph: `
  input x : bfloat16[64]
  c = constant(0.1) : float32[]
  a = add(x, c) : float32[64]
  b = exp(a) : float32[64]
  y = astype(b, dtype=bfloat16) : bfloat16[64]
  output y = y`,
		},
		{
			name: "two spellings set one variable to two values",
			rule: `
    match: {a: "bend(x, $w)", b: "bend(z, $w)", y: "add(a, b)"}
    replace: {y: "exp(add(x, z))"}`,
			graph: `
  input x : float32[4]
  input z : float32[4]
  a = sin(x) : float32[4]
  b = cos(z) : float32[4]
  y = add(a, b) : float32[4]
  output y = y`,
		},
		{
			name: "an operand is made by the match itself",
			rule: `
    match: {s: "sigmoid(x)", a: "multiply(x, s)", y: "multiply(a, z)"}
    replace: {y: "kernel.swiglu(x, z)"}`,
			graph: `
  input x : float32[4]
  s = sigmoid(x) : float32[4]
  a = multiply(x, s) : float32[4]
  y = multiply(a, s) : float32[4]
  output y = y`,
		},
		{
			name: "an operand is a result of the match itself",
			rule: `
    match: {h: "add(x, r)", y: "multiply(h, w)"}
    results: [h]
    replace: {"h, y": "kernel.both(x, r, w)"}`,
			specs: map[string]string{"both": `
zmlx: 1
kernel: both
doc: A sum and its product.
inputs: {x: "float32[n]", r: "float32[n]", w: "float32[n]"}
reference: {h: "add(x, r)", y: "multiply(h, w)"}
results: [h, y]
numerics: exact
`},
			graph: `
  input x : float32[4]
  input r : float32[4]
  h = add(x, r) : float32[4]
  y = multiply(h, h) : float32[4]
  output h = h
  output y = y`,
		},
		{
			name: "two matches that need each other's results",
			rule: `
    match: {p: "subtract(x, s)", q: "subtract(y, s)"}
    replace: {"p, q": "kernel.two(x, y, s)"}`,
			specs: map[string]string{"two": two},
			graph: `
  input x : float32[3]
  input a : float32[3]
  input b : float32[3]
  p1 = subtract(x, a) : float32[3]
  p2 = subtract(x, b) : float32[3]
  e1 = exp(p1) : float32[3]
  e2 = exp(p2) : float32[3]
  q2 = subtract(e1, b) : float32[3]
  q1 = subtract(e2, a) : float32[3]
  output q1 = q1
  output q2 = q2`,
			matches: 1,
		},
		{
			name: "one variable, two values",
			rule: `
    match: {p: "softmax(x, axis=$a)", q: "softmax(p, axis=$a)"}
    replace: {q: "softmax(x, axis=$a)"}`,
			graph: `
  input x : float32[3, 3]
  p = softmax(x, axis=-1) : float32[3, 3]
  q = softmax(p, axis=-2) : float32[3, 3]
  output q = q`,
		},
		{
			name: "two names, one node",
			rule: `
    match: {a: exp(x), b: exp(z), y: "add(a, b)"}
    replace: {y: "exp(logaddexp(x, z))"}`,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4]
  y = add(a, a) : float32[4]
  output y = y`,
		},
		{
			name: "the second order of operands is tried afresh",
			rule: `
    match: {e: "exp(multiply(x, $s))", f: "exp(multiply(negative(w), $t))", y: "add(e, f)"}
    replace: {y: "kernel.sum(x, w, $s, $t)"}`,
			specs: map[string]string{"sum": `
zmlx: 1
kernel: sum
doc: Both exponentials and their sum.
inputs: {x: "float32[n]", w: "float32[n]", s: "float32[]", t: "float32[]"}
reference: {y: "add(exp(multiply(x, s)), exp(multiply(negative(w), t)))"}
results: [y]
numerics: exact
`},
			graph: `
  input m : float32[4]
  input w : float32[4]
  c = constant(0.5) : float32[]
  d = constant(0.25) : float32[]
  n = negative(w) : float32[4]
  p = multiply(n, c) : float32[4]
  q = multiply(m, d) : float32[4]
  f = exp(p) : float32[4]
  e = exp(q) : float32[4]
  y = add(f, e) : float32[4]
  z = negative(m) : float32[4]
  output y = y
  output z = z`,
			matches: 1,
		},
		{
			name: "an operand bound in the first order is free in the second",
			rule: `
    match: {e: exp(x), y: "add(x, e)"}
    replace: {y: "kernel.more(x)"}`,
			specs: map[string]string{"more": `
zmlx: 1
kernel: more
doc: A value and its exponential.
inputs: {x: "float32[n]"}
reference: {y: "add(x, exp(x))"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[4]
  z = exp(x) : float32[4]
  e = exp(z) : float32[4]
  y = add(e, z) : float32[4]
  output y = y`,
			matches: 1,
		},
		{
			name: "a replacement that is an operand which is replaced",
			rule: `
    match: {n: negative(x), y: negative(n)}
    replace: {y: x}`,
			graph: `
  input x : float32[4]
  a = negative(x) : float32[4]
  b = negative(a) : float32[4]
  c = negative(b) : float32[4]
  d = negative(c) : float32[4]
  output d = d`,
			matches: 2,
		},
		{
			name: "the replacement is an operand that is absent",
			rule: `
    match: {n: "rms_norm(x, w?, eps=$e)", y: "negative(n)"}
    replace: {y: w}`,
			graph: `
  input x : float32[4]
  n = rms_norm(x, eps=1) : float32[4]
  y = negative(n) : float32[4]
  output y = y`,
		},
		{
			name: "an op without operands has attributes to solve",
			rule: `
    match: {r: "arange(stop=2*$n, dtype=float32)", a: "add(x, r)", y: "negative(a)"}
    replace: {y: "subtract(negative(x), arange(stop=2*$n, dtype=float32))"}`,
			graph: `
  input x : float32[4]
  r = arange(stop=4, dtype=float32) : float32[4]
  a = add(x, r) : float32[4]
  y = negative(a) : float32[4]
  output y = y`,
		},
		{
			name: "a result that may be an operand is none there",
			rule: `
    match: {y: "optional(exp(x))", z: "negative(x)"}
    replace: {y: "exp(x)", z: x}`,
			graph: `
  input x : float32[4]
  z = negative(x) : float32[4]
  output z = z`,
		},
		{
			name: "the free variable solves by a length that may be shorter",
			rule: `
    match: {a: "slice(x, axis=-1, stop=1-$k)", y: "exp(a)"}
    replace: {y: "slice(exp(x), axis=-1, stop=1)"}`,
			graph: `
  input x : float32[2, 1]
  a = slice(x, axis=-2, start=1) : float32[1, 1]
  y = exp(a) : float32[1, 1]
  output y = y`,
		},
		{
			name: "a number with nothing beside it has its own element type",
			rule: `
    match: {e: "exp(1.5)", y: "multiply(x, e)"}
    replace: {y: "multiply(x, 4.4816890)"}`,
			graph: `
  input x : float32[4]
  c = constant(1.5) : bfloat16[]
  e = exp(c) : bfloat16[]
  y = multiply(x, e) : float32[4]
  output y = y`,
		},
		{
			name: "optional leaves the first operand, wherever it is written",
			rule: `
    match: {e: "exp(optional(astype(dtype=float32, a=x)))", m: "multiply(e, x)", y: "negative(m)"}
    replace: {y: "kernel.ex(x)"}`,
			specs: map[string]string{"ex": `
zmlx: 1
kernel: ex
doc: An exponential and its operand.
inputs: {x: "float32[n]"}
reference: {y: "negative(multiply(exp(x), x))"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[4]
  input z : float32[4]
  e = exp(z) : float32[4]
  m = multiply(e, x) : float32[4]
  y = negative(m) : float32[4]
  d = exp(y) : float32[4]
  n = multiply(d, y) : float32[4]
  w = negative(n) : float32[4]
  output w = w`,
			matches: 1,
		},
		{
			name: "an axis that is given to a fragment",
			rule: `
    match: {a: "total(x, -1)", n: negative(a), y: negative(n)}
    replace: {y: "sum(x, axis=-1)"}`,
			graph: `
  input x : float32[2, 8]
  a = sum(x, axis=-1) : float32[2]
  n = negative(a) : float32[2]
  y = negative(n) : float32[2]
  output y = y`,
			matches: 1,
		},
		{
			name: "an axis that is given to a fragment from the start",
			rule: `
    match: {a: "total(x, 1)", n: negative(a), y: negative(n)}
    replace: {y: "sum(x, axis=1)"}`,
			graph: `
  input x : float32[2, 8]
  a = sum(x, axis=-1) : float32[2]
  n = negative(a) : float32[2]
  y = negative(n) : float32[2]
  output y = y`,
			matches: 1,
		},
		{
			name: "another axis than the one that is given",
			rule: `
    match: {a: "total(x, 0)", n: negative(a), y: negative(n)}
    replace: {y: "sum(x, axis=-1)"}`,
			graph: `
  input x : float32[2, 8]
  a = sum(x, axis=-1) : float32[2]
  n = negative(a) : float32[2]
  y = negative(n) : float32[2]
  output y = y`,
			matches: 0,
		},
		{
			name: "a count that is given to a fragment",
			rule: `
    match: {a: "top(x, 3)", n: negative(a), y: negative(n)}
    replace: {y: "slice(x, axis=-1, start=5)"}`,
			graph: `
  input x : float32[2, 8]
  a = slice(x, axis=-1, start=5) : float32[2, 3]
  n = negative(a) : float32[2, 3]
  y = negative(n) : float32[2, 3]
  output y = y
  b = slice(x, axis=-1, start=3, stop=6) : float32[2, 3]
  m = negative(b) : float32[2, 3]
  z = negative(m) : float32[2, 3]
  output z = z`,
			matches: 1,
		},
		{
			name: "an axis that a fragment sets",
			rule: `
    match: {a: "last(x, $ax)", n: negative(a), y: negative(n)}
    replace: {y: "sum(x, axis=$ax)"}`,
			graph: `
  input x : float32[2, 8]
  a = sum(x, axis=-1) : float32[2]
  n = negative(a) : float32[2]
  y = negative(n) : float32[2]
  output y = y`,
			matches: 1,
		},
		{
			name: "a whole number for a float attribute of a fragment",
			rule: `
    match: {a: "norm(x, 1)", n: negative(a), y: negative(n)}
    replace: {y: "rms_norm(x, eps=1)"}`,
			graph: `
  input x : float32[2, 8]
  a = rms_norm(x, eps=1) : float32[2, 8]
  n = negative(a) : float32[2, 8]
  y = negative(n) : float32[2, 8]
  output y = y
  b = rms_norm(x, eps=2) : float32[2, 8]
  m = negative(b) : float32[2, 8]
  z = negative(m) : float32[2, 8]
  output z = z`,
			matches: 1,
		},
		{
			name: "a whole number for a float attribute that a fragment sets",
			rule: `
    match: {a: "one(x, $e)", n: negative(a), y: negative(n)}
    replace: {y: "rms_norm(x, eps=$e)"}`,
			graph: `
  input x : float32[2, 8]
  a = rms_norm(x, eps=1) : float32[2, 8]
  n = negative(a) : float32[2, 8]
  y = negative(n) : float32[2, 8]
  output y = y
  b = rms_norm(x, eps=2) : float32[2, 8]
  m = negative(b) : float32[2, 8]
  z = negative(m) : float32[2, 8]
  output z = z`,
			matches: 1,
		},
		{
			name: "an element type that is given to a fragment",
			rule: `
    match: {a: "as(x, float16)", n: negative(a), y: negative(n)}
    replace: {y: "astype(x, dtype=float16)"}`,
			graph: `
  input x : float32[2, 8]
  a = astype(x, dtype=float16) : float16[2, 8]
  n = negative(a) : float16[2, 8]
  y = negative(n) : float16[2, 8]
  output y = y`,
			matches: 1,
		},
		{
			name: "an element type that a fragment sets",
			rule: `
    match: {a: "half(x, $t)", n: negative(a), y: negative(n)}
    replace: {y: "astype(x, dtype=$t)"}`,
			graph: `
  input x : float32[2, 8]
  a = astype(x, dtype=float16) : float16[2, 8]
  n = negative(a) : float16[2, 8]
  y = negative(n) : float16[2, 8]
  output y = y`,
			matches: 1,
		},
		{
			name: "a number that is given to a fragment",
			rule: `
    match: {a: "plus(x, 2)", n: negative(a), y: negative(n)}
    replace: {y: "add(x, 2)"}`,
			graph: `
  input x : float32[2, 8]
  c = constant(2) : float32[]
  a = add(x, c) : float32[2, 8]
  n = negative(a) : float32[2, 8]
  y = negative(n) : float32[2, 8]
  output y = y`,
			matches: 1,
		},
		{
			name: "a number that a fragment sets",
			rule: `
    match: {a: "plus_two(x, $c)", n: negative(a), y: negative(n)}
    replace: {y: "add(x, $c)"}`,
			graph: `
  input x : float32[2, 8]
  c = constant(2) : float32[]
  d = constant(2.5) : float32[]
  a = add(x, c) : float32[2, 8]
  n = negative(a) : float32[2, 8]
  y = negative(n) : float32[2, 8]
  b = add(x, d) : float32[2, 8]
  m = negative(b) : float32[2, 8]
  z = negative(m) : float32[2, 8]
  output y = y
  output z = z`,
			matches: 1,
		},
		{
			name: "a condition over a word",
			rule: `
    match: {a: "masked(x, $m)", y: negative(a)}
    replace: {y: "kernel.masked(x)"}`,
			specs: map[string]string{"masked": `
zmlx: 1
kernel: masked
doc: Causal attention to itself.
inputs: {x: "float32[a, b, c, d]"}
reference: {y: "negative(sdpa(x, x, x, scale=1, mask=\"causal\"))"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[1, 1, 3, 4]
  a = sdpa(x, x, x, scale=1, mask="causal") : float32[1, 1, 3, 4]
  y = negative(a) : float32[1, 1, 3, 4]
  b = sdpa(x, x, x, scale=1) : float32[1, 1, 3, 4]
  z = negative(b) : float32[1, 1, 3, 4]
  output y = y
  output z = z`,
			matches: 1,
		},
		{
			name: "an axis as a number in a guard, and for two ops",
			rule: `
    match: {a: "sum(x, axis=$ax, keepdims=true)", b: "softmax(a, axis=$ax)", n: negative(b), y: negative(n)}
    guards: {last: ax == -1}
    replace: {y: "softmax(sum(x, axis=$ax, keepdims=true), axis=$ax)"}`,
			graph: `
  input x : float32[2, 8]
  a = sum(x, axis=-1, keepdims=true) : float32[2, 1]
  b = softmax(a, axis=-1) : float32[2, 1]
  n = negative(b) : float32[2, 1]
  y = negative(n) : float32[2, 1]
  output y = y`,
			matches: 1,
		},
		{
			name: "of zeros of two signs, maximum takes the second",
			rule: `
    match: {z: "multiply(x, 0.0)", n: "negative(z)", y: "maximum(n, z)"}
    replace: {y: "kernel.mx(x)"}`,
			specs: map[string]string{"mx": `
zmlx: 1
kernel: mx
doc: The larger of two zeros.
inputs: {x: "float32[n]"}
reference: {y: "maximum(negative(multiply(x, 0.0)), multiply(x, 0.0))"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[4]
  c = constant(0) : float32[]
  z = multiply(x, c) : float32[4]
  n = negative(z) : float32[4]
  y = maximum(z, n) : float32[4]
  output y = y`,
		},
		{
			name: "of zeros of two signs, minimum takes the second",
			rule: `
    match: {z: "multiply(x, 0.0)", n: "negative(z)", y: "minimum(n, z)"}
    replace: {y: "kernel.mn(x)"}`,
			specs: map[string]string{"mn": `
zmlx: 1
kernel: mn
doc: The smaller of two zeros.
inputs: {x: "float32[n]"}
reference: {y: "minimum(negative(multiply(x, 0.0)), multiply(x, 0.0))"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[4]
  c = constant(0) : float32[]
  z = multiply(x, c) : float32[4]
  n = negative(z) : float32[4]
  y = minimum(n, z) : float32[4]
  v = minimum(z, n) : float32[4]
  output y = y
  output v = v`,
		},
		{
			name: "a range that others read is not saved",
			rule: `
    match: {r: "arange(stop=4, dtype=float32)", y: "add(x, r)"}
    replace: {t: "negative(x)", y: "kernel.iota(t)"}`,
			specs: map[string]string{"iota": `
zmlx: 1
kernel: iota
doc: A range added.
inputs: {x: "float32[n]"}
reference: {y: "add(negative(x), arange(stop=4, dtype=float32))"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[4]
  r = arange(stop=4, dtype=float32) : float32[4]
  y = add(x, r) : float32[4]
  z = multiply(x, r) : float32[4]
  output y = y
  output z = z`,
		},
		{
			name: "a guard on an attribute sees float32",
			rule: `
    match: {n: "rms_norm(x, eps=$eps)", a: negative(n), y: negative(a)}
    guards: {other: eps != 1e-6}
    replace: {y: "rms_norm(x, eps=1e-3)"}`,
			graph: `
  input x : float32[4]
  n = rms_norm(x, eps=0.000001) : float32[4]
  a = negative(n) : float32[4]
  y = negative(a) : float32[4]
  output y = y`,
		},
		{
			name: "kv_len is known only if all attention sees as many rows",
			rule: `
    match: {a: "sdpa(q, k, v, scale=$s, kv_len=$n)", y: "negative(a)", z: negative(y)}
    guards: {short: kv_len <= 4}
    replace: {z: "sdpa(q, k, v, scale=$s, kv_len=$n)"}`,
			graph: `
  input q : float32[1, 1, 1, 4]
  input k : float32[1, 1, 4, 4]
  input k2 : float32[1, 1, 64, 4]
  a = sdpa(q, k, k, scale=1, kv_len=4) : float32[1, 1, 1, 4]
  ay = negative(a) : float32[1, 1, 1, 4]
  az = negative(ay) : float32[1, 1, 1, 4]
  b = sdpa(az, k2, k2, scale=1, kv_len=64) : float32[1, 1, 1, 4]
  by = negative(b) : float32[1, 1, 1, 4]
  bz = negative(by) : float32[1, 1, 1, 4]
  output bz = bz`,
		},
		{
			name: "kv_len stays known when attention has been replaced",
			rule: `
    match: {a: "sdpa(q, k, v, scale=$s)", y: "negative(a)"}
    replace: {y: "kernel.att(q, k, v)"}
  - name: then
    doc: A rule for what the first one makes.
    numerics: exact
    match: {a: "kernel.att(q, k, v)", y: "negative(a)"}
    guards: {short: kv_len <= 4}
    replace: {y: "kernel.ttt(q, k, v)"}`,
			specs: map[string]string{"att": `
zmlx: 1
kernel: att
doc: Attention and its opposite.
inputs: {q: "float32[a, b, c, d]", k: "float32[a, g, n, d]", v: "float32[a, g, n, d]"}
reference: {y: "negative(sdpa(q, k, v, scale=1))"}
results: [y]
numerics: exact
`, "ttt": `
zmlx: 1
kernel: ttt
doc: Attention again.
inputs: {q: "float32[a, b, c, d]", k: "float32[a, g, n, d]", v: "float32[a, g, n, d]"}
reference: {y: "sdpa(q, k, v, scale=1)"}
results: [y]
numerics: exact
`},
			graph: `
  input q : float32[1, 1, 1, 4]
  input k : float32[1, 1, 4, 4]
  a = sdpa(q, k, k, scale=1) : float32[1, 1, 1, 4]
  y = negative(a) : float32[1, 1, 1, 4]
  z = negative(y) : float32[1, 1, 1, 4]
  output z = z`,
			matches: 2,
		},
		{
			name: "a line that an attribute of an earlier one measures is matched, too",
			rule: `
    match: {t: "slice(x, axis=-1, start=dim(p, -1)-2)", p: exp(x), n: negative(p), y: "concatenate(n, t, axis=-1)"}
    replace: {y: "kernel.both(x)"}`,
			specs: map[string]string{"both": `
zmlx: 1
kernel: both
doc: A negated exponential and the last two columns.
inputs: {x: "float32[a, b]"}
reference: {y: "concatenate(negative(exp(x)), slice(x, axis=-1, start=-2), axis=-1)"}
results: [y]
numerics: exact
`},
			graph: `
  input x : float32[2, 4]
  p = sin(x) : float32[2, 4]
  n = negative(p) : float32[2, 4]
  t = slice(x, axis=-1, start=2) : float32[2, 2]
  y = concatenate(n, t, axis=-1) : float32[2, 6]
  q = exp(x) : float32[2, 4]
  m = negative(q) : float32[2, 4]
  u = slice(x, axis=-1, start=2) : float32[2, 2]
  z = concatenate(m, u, axis=-1) : float32[2, 6]
  output y = y
  output z = z`,
			matches: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := setOf(t, `
zmlx: 1
family: test
fragments:
  bend(x, $w):
    - {is: sin(x), set: {w: 1}}
    - {is: cos(x), set: {w: 2}}
  total(x, $a): sum(x, axis=$a)
  top(x, $k): slice(x, axis=-1, start=-$k)
  norm(x, $e): rms_norm(x, eps=$e)
  one(x, $e): {is: "rms_norm(x, eps=$e)", set: {e: 1}}
  as(x, $t): astype(x, dtype=$t)
  half(x, $t): {is: "astype(x, dtype=$t)", set: {t: float16}}
  plus(x, $c): add(x, $c)
  plus_two(x, $c): {is: "add(x, $c)", set: {c: 2}}
  last(x, $a): {is: "sum(x, axis=$a)", set: {a: -1}}
  masked(x, $m): {is: "sdpa(x, x, x, scale=1, mask=$m)", when: 'm == "causal"'}
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact`+c.rule+"\n", c.specs)
			if err != nil {
				t.Fatal(err)
			}
			checkSound(t, set, "zmlx 1\nprogram test\ncase all"+c.graph+"\n", c.matches)
		})
	}
}

// checkSound rewrites a program by all rules of a set, compares the results, and
// returns how often rules applied and why they did not; matches is what is expected, if it is not negative.
func checkSound(t testing.TB, set *rules.Set, text string, matches int) (applied int, refusals []*Refusal) {
	t.Helper()
	p, issues := graph.ParseText("test.zg", []byte(text), set.Kernels.Op)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	if err := p.Cases[0].Graph.Compact(); err != nil { // what nobody reads would save nothing
		t.Fatal(err)
	}
	res, err := Run(p, &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Program.Verify(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, c := range res.Cases {
		saved := p.Cases[i].Graph.Launches() - c.After.Launches()
		for _, s := range c.Sites {
			saved -= s.Saved
		}
		if saved < 0 {
			t.Errorf("%d launches more than promised\n%s", -saved, c.After)
		}
		n += len(c.Sites)
	}
	if matches >= 0 && n != matches {
		t.Errorf("%d matches, not %d", n, matches)
		for _, r := range allRefusals(&res.Cases[0]) {
			want, got := r.Detail()
			t.Logf("%s: wanted %s, got %s", r.Code, want, got)
		}
	}
	plain, err := set.Kernels.Expand(res.Program, nil)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		was, is := outputs(t, p, seed), outputs(t, plain, seed)
		for name := range was {
			if !bytes.Equal(was[name], is[name]) {
				t.Errorf("%s is %x, rewritten %x\n%s", name, was[name], is[name], res.Program.Cases[0].Graph)
				return n, allRefusals(&res.Cases[0])
			}
		}
	}
	return n, allRefusals(&res.Cases[0])
}

// A $variable of an attribute may be a number among operands.
func TestVariableAsOperand(t *testing.T) {
	set, err := setOf(t, `
zmlx: 1
family: test
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact
    match: {a: "cumsum(x, axis=-1, reverse=$r)", b: "argpartition(a, kth=$k, axis=-1)", c: negative(b), y: negative(c)}
    replace: {y: "multiply(argpartition(cumsum(x, axis=-1, reverse=$r), kth=$k, axis=-1), $k)"}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkSound(t, set, `zmlx 1
program test
case all
  input x : float32[4]
  a = cumsum(x, axis=-1) : float32[4]
  b = argpartition(a, kth=1, axis=-1) : uint32[4]
  c = negative(b) : uint32[4]
  y = negative(c) : uint32[4]
  output y = y
`, 1)
}

// allRefusals are those of all rules of the rewrite.
func allRefusals(c *CaseResult) []*Refusal {
	var all []*Refusal
	for _, r := range c.account.cfg.Rules {
		all = append(all, c.Refusals(r)...)
	}
	return all
}
