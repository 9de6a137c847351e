package matcher

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
)

// catalog is loaded once, which keeps the suite fast enough to be run for each mutant.
var catalog = sync.OnceValues(func() (*kernels.Catalog, diag.List) { return kernels.Load() })

// compile links one rule, given from its match block on, with a few fragments, and
// compiles it.
func compile(t *testing.T, rule string) []*Pattern {
	t.Helper()
	catalog, issues := catalog()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	f, issues := rules.Parse("test.yaml", []byte(`
zmlx: 1
family: test
fragments:
  silu(g): multiply(g, sigmoid(g))
  bend(x, $w):
    - {is: sin(x), set: {w: 1}}
    - {is: cos(x), set: {w: 2}}
  turn(x, $f):
    - {is: sin(x), set: {f: 0.5}}
    - {is: cos(x), set: {f: 2.0}}
  row(x): {is: exp(x), when: "rank(x) == 1"}
  flat(x):
    - {is: "reshape(x, shape=[size(x)])", when: "rank(x) == 2"}
    - {is: x, when: "rank(x) == 1"}
  scaled(x, $f): multiply(x, $f)
  along(x, $k): {is: 'softmax(x, axis=$k)', when: "k == -2"}
  behind(x, $k): slice(x, axis=-1, start=$k+1)
  alone(x, z): exp(x)
  from(x, z): slice(x, axis=-1, start=dim(z, -1))
rules:
  - name: r
    doc: A rule of this test.
    numerics: exact
    `+strings.TrimSpace(rule)+"\n"))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	set, issues := rules.Link([]*rules.File{f}, catalog)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	patterns, err := Compile(set, set.Rule("test.r"))
	if err != nil {
		t.Fatal(err)
	}
	return patterns
}

// find lists what the patterns find in a graph: matches with what their names and
// variables stand for, and of each anchor that misses, the attempt that got furthest.
// A value is named by the scope of its node, an input by its name.
func find(t *testing.T, patterns []*Pattern, text string) []string {
	t.Helper()
	p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\ncase all\n  "+strings.TrimSpace(text)+"\n"), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	g := p.Cases[0].Graph
	ix := NewIndex(g)
	var found []string
	for _, p := range patterns {
		p.Explain(ix, func(m *Match) {
			words := []string{"match"}
			for i, name := range p.Names() {
				what := "none"
				if v := m.Named(g, i); v != graph.None {
					if what = g.InputName(v); what == "" {
						what = g.Def(v).Scope
					}
				}
				words = append(words, name+"="+what)
			}
			for i, name := range p.vars {
				words = append(words, fmt.Sprintf("$%s=%v", name, m.Vars[i]))
			}
			found = append(found, strings.Join(words, " "))
		}, func(m *Miss) {
			m = m.Clone()
			want, got := m.Text(g)
			found = append(found, fmt.Sprintf("miss at %s: %d nodes, %s: %s; %s", g.Node(m.Anchor).Scope, m.Matched, m.Code, want, got))
		})
	}
	return found
}

func TestFind(t *testing.T) {
	const replaceX = "\n    replace: {y: negative(x)}"
	for _, c := range []struct {
		name, rule, graph string
		want              []string
	}{
		{
			name: "a chain, twice",
			rule: "match: {a: exp(x), y: negative(a)}" + replaceX,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = exp(b) : float32[4] @ C
  d = negative(c) : float32[4] @ D
  output d = d`,
			want: []string{"match a=A x=x y=B", "match a=C x=B y=D"},
		},
		{
			name: "an operand that is absent once is absent everywhere",
			rule: "match: {a: 'rms_norm(x, w?, eps=$e)', y: 'rms_norm(a, w?, eps=$e)'}" + replaceX,
			graph: `
  input x : float32[4]
  input w : float32[4]
  a = rms_norm(x, eps=1.0) : float32[4] @ A
  b = rms_norm(a, w, eps=1.0) : float32[4] @ B
  c = rms_norm(b, w, eps=1.0) : float32[4] @ C
  d = rms_norm(c, eps=1.0) : float32[4] @ D
  e = rms_norm(d, eps=1.0) : float32[4] @ E
  output e = e`,
			want: []string{
				"miss at A: 2 nodes, match/bound: rms_norm operand weight to be the same w as before; w",
				"match a=B w=w x=A y=C $e=1.0",
				"miss at C: 2 nodes, match/absent: rms_norm operand weight; no such operand",
				"match a=D w=none x=C y=E $e=1.0",
				"miss at E: 1 nodes, match/no-reader: y: rms_norm that reads rms_norm; no such reader",
			},
		},
		{
			name: "three twins, the first line of which is the last result",
			rule: "match: {c: 'minimum(x, z)', a: 'minimum(x, z)', b: 'minimum(x, z)'}\n    results: [a, b, c]\n    replace: {a: x, b: x, c: x}",
			graph: `
  input x : float32[4]
  input z : float32[4]
  a = minimum(x, z) : float32[4] @ A
  b = minimum(x, z) : float32[4] @ B
  c = minimum(x, z) : float32[4] @ C
  output a = a
  output b = b
  output c = c`,
			want: []string{"match a=B b=C c=A x=x z=z"},
		},
		{
			name: "what was bound on another way does not count for how near a miss is",
			rule: "match: {a: exp(x), b: sin(z), c: 'multiply(a, b)', y: negative(c)}" + replaceX,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4] @ A
  b = exp(a) : float32[4] @ B
  c = multiply(a, b) : float32[4] @ C
  y = negative(c) : float32[4] @ Y
  output y = y`,
			want: []string{"miss at Y: 3 nodes, match/op: b: sin; exp"},
		},
		{
			name: "what a reader that does not fit has bound is free again for the next",
			rule: "match: {a: exp(x), b: 'add(x, z)', y: 'multiply(b, z)'}\n    results: [a, y]\n    replace: {a: negative(x), y: negative(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  input z : float32[4]
  a = exp(x) : float32[4] @ A
  b = add(x, u) : float32[4] @ B
  c = multiply(b, z) : float32[4] @ C
  d = add(x, z) : float32[4] @ D
  e = multiply(d, z) : float32[4] @ E
  output a = a
  output c = c
  output e = e`,
			want: []string{"match a=A b=D x=x y=E z=z"},
		},
		{
			name: "of two readers that fit, the nearest",
			rule: "match: {a: exp(x), b: sin(x)}\n    replace: {a: negative(x), b: negative(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  f = sin(x) : float32[4] @ FAR
  v = negative(u) : float32[4] @ V
  w = negative(v) : float32[4] @ W
  a = exp(x) : float32[4] @ A
  n = sin(x) : float32[4] @ NEAR
  output a = a
  output f = f
  output n = n
  output w = w`,
			want: []string{"match a=A b=NEAR x=x"},
		},
		{
			name: "the first node of a graph",
			rule: "match: {r: arange(stop=$n), y: negative(r)}\n    replace: {y: arange(stop=$n)}",
			graph: `
  r = arange(stop=3) : int32[3] @ R
  y = negative(r) : int32[3] @ Y
  output y = y`,
			want: []string{"match r=R y=Y $n=3"},
		},
		{
			name: "a product of numbers, and of a number and a variable",
			rule: "match: {a: 'slice(x, axis=-1, start=2*dim(w, 0))', b: 'slice(a, axis=-1, stop=3*$n)', y: 'add(b, w)'}" + replaceX,
			graph: `
  input x : float32[20]
  input w : float32[6]
  a = slice(x, axis=-1, start=12) : float32[8] @ A
  b = slice(a, axis=-1, stop=6) : float32[6] @ B
  y = add(b, w) : float32[6] @ Y
  c = slice(x, axis=-1, start=11) : float32[9] @ C
  d = slice(c, axis=-1, stop=6) : float32[6] @ D
  z = add(d, w) : float32[6] @ Z
  output y = y
  output z = z`,
			want: []string{"match a=A b=B w=w x=x y=Y $n=2", "miss at Z: 3 nodes, match/attr: slice start=2 * dim(w, 0); start=11"},
		},
		{
			name: "an op that does not occur, where nothing else is near",
			rule: "match: {a: exp(x), y: sigmoid(a)}" + replaceX,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4] @ A
  output a = a`,
		},
		{
			name: "an op that has become another one",
			rule: `match: {a: sigmoid(x), b: "add(a, u)", s: argsort(b), t: "take_along_axis(a, s, axis=-1)"}` + "\n    results: [t]\n    replace: {t: exp(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  a = tanh(x) : float32[4] @ A
  b = add(a, u) : float32[4] @ B
  s = argsort(b) : uint32[4] @ S
  t = take_along_axis(a, s, axis=-1) : float32[4] @ T
  output t = t`,
			want: []string{"miss at S: 2 nodes, match/op: a: sigmoid; tanh"},
		},
		{
			name: "the rarest op somewhere else, and not where it was",
			rule: `match: {a: sigmoid(x), b: "add(a, u)", s: argsort(b), t: "take_along_axis(a, s, axis=-1)"}` + "\n    results: [t]\n    replace: {t: exp(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  a = tanh(x) : float32[4] @ A
  b = add(a, u) : float32[4] @ B
  s = argsort(b) : uint32[4] @ S
  t = take_along_axis(a, s, axis=-1) : float32[4] @ T
  y = sigmoid(t) : float32[4] @ Y
  output y = y`,
			want: []string{"miss at Y: 1 nodes, match/no-reader: b: add that reads sigmoid; no such reader", "miss at S: 2 nodes, match/op: a: sigmoid; tanh"},
		},
		{
			name: "operands of a commutative op in either order, of another in one",
			rule: `match: {a: exp(x), s: "subtract(a, z)", y: "add(s, u)"}` + replaceX,
			graph: `
  input x : float32[4]
  input z : float32[4]
  a = exp(x) : float32[4] @ A
  s = subtract(a, z) : float32[4] @ S
  y = add(z, s) : float32[4] @ Y
  b = exp(z) : float32[4] @ B
  r = subtract(x, b) : float32[4] @ R
  w = add(r, x) : float32[4] @ W
  output y = y
  output w = w`,
			want: []string{"match a=A s=S u=z x=x y=Y z=z", "miss at B: 2 nodes, match/bound: subtract operand a to be the same a as before; x"},
		},
		{
			name: "a repeated name is one value",
			rule: `match: {a: exp(x), y: "add(a, x)"}` + replaceX,
			graph: `
  input x : float32[4]
  input z : float32[4]
  a = exp(x) : float32[4] @ A
  y = add(x, a) : float32[4] @ Y
  b = exp(z) : float32[4] @ B
  w = add(b, y) : float32[4] @ W
  output w = w`,
			want: []string{"match a=A x=x y=Y", "miss at B: 2 nodes, match/bound: add operand b to be the same x as before; add"},
		},
		{
			name: "a value that is used outside, or is an output",
			rule: "match: {a: exp(x), y: negative(a)}" + replaceX,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = sin(a) : float32[4] @ C
  d = exp(c) : float32[4] @ D
  e = negative(d) : float32[4] @ E
  output b = b
  output d = d
  output e = e`,
			want: []string{`miss at A: 2 nodes, match/escape: a to be used inside the match only; sin reads it at "C"`,
				"miss at D: 2 nodes, match/escape-output: a to be used inside the match only; it is a result of the graph"},
		},
		{
			name: "attributes are closed; variables bind",
			rule: `match: {a: "softmax(x, axis=$k)", y: negative(a)}` + replaceX,
			graph: `
  input x : float32[4, 4]
  a = softmax(x, axis=-2) : float32[4, 4] @ A
  b = negative(a) : float32[4, 4] @ B
  c = softmax(b, axis=-2, precise=true) : float32[4, 4] @ C
  d = negative(c) : float32[4, 4] @ D
  output d = d`,
			want: []string{"match a=A x=x y=B $k=-2",
				"miss at C: 2 nodes, match/attr: softmax precise=false (the default; not written in the rule); precise=true"},
		},
		{
			name: "an expression over dimensions and variables",
			rule: `match: {a: "slice(x, axis=-1, start=dim(x, -1)-$k)", y: negative(a)}` + replaceX,
			graph: `
  input x : float32[2, 8]
  a = slice(x, axis=-1, start=5) : float32[2, 3] @ A
  y = negative(a) : float32[2, 3] @ Y
  output y = y`,
			want: []string{"match a=A x=x y=Y $k=3"},
		},
		{
			name: "constants have the value of the number, rounded",
			rule: `match: {a: "add(x, 0.1)", y: negative(a)}` + replaceX,
			graph: `
  input x : bfloat16[4]
  c = constant(0.1) : bfloat16[]
  d = constant(0.2) : bfloat16[]
  a = add(c, x) : bfloat16[4] @ A
  b = negative(a) : bfloat16[4] @ B
  e = add(b, d) : bfloat16[4] @ E
  f = negative(e) : bfloat16[4] @ F
  output f = f`,
			want: []string{"match a=A x=x y=B", "miss at E: 1 nodes, match/literal: add operand b to be the constant 0.1, rounded; constant 0.20019531"},
		},
		{
			name: "an operand that may be absent",
			rule: `match: {a: "rms_norm(x, w?, eps=$e)", y: negative(a)}` + replaceX,
			graph: `
  input x : float32[4]
  input v : float32[4]
  a = rms_norm(x, eps=1) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = rms_norm(b, v, eps=2) : float32[4] @ C
  d = negative(c) : float32[4] @ D
  output d = d`,
			want: []string{"match a=A w=none x=x y=B $e=1.0", "match a=C w=v x=B y=D $e=2.0"},
		},
		{
			name: "alike results are found once, in the order of the graph",
			rule: `match: {p: "exp(subtract(x, u))", q: "exp(subtract(x, v))"}` + "\n    replace: {p: exp(x), q: exp(x)}",
			graph: `
  input x : float32[4]
  input m : float32[4]
  input n : float32[4]
  a = subtract(x, m) : float32[4] @ A
  b = exp(a) : float32[4] @ B
  c = subtract(x, n) : float32[4] @ C
  d = exp(c) : float32[4] @ D
  output b = b
  output d = d`,
			want: []string{"match p=B q=D u=m v=n x=x"},
		},
		{
			name: "alike results that are told apart by their reader",
			rule: `match: {p: exp(x), q: exp(z), d: "subtract(p, q)", y: negative(d)}` + "\n    results: [p, q]\n    replace: {p: exp(x), q: exp(z), y: exp(x)}",
			graph: `
  input x : float32[4]
  input z : float32[4]
  q = exp(z) : float32[4] @ Q
  p = exp(x) : float32[4] @ P
  d = subtract(p, q) : float32[4] @ D
  y = negative(d) : float32[4] @ Y
  output y = y`,
			want: []string{"match d=D p=P q=Q x=x y=Y z=z"},
		},
		{
			name: "alike results behind a node that is rarer",
			rule: `match: {b: "add(x, u)", c: "add(x, w)", r: tan(x)}` + "\n    replace: {b: exp(x), c: exp(x), r: exp(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  input w : float32[4]
  b = add(x, u) : float32[4] @ B
  c = add(x, w) : float32[4] @ C
  r = tan(x) : float32[4] @ R
  output b = b
  output c = c
  output r = r`,
			want: []string{"match b=B c=C r=R u=u w=w x=x"},
		},
		{
			name: "slices that differ inside an expression, in the other order",
			rule: `match: {a: "slice(x, axis=-1, start=$k+1)", b: "slice(x, axis=-1, start=$k+2)", s: "softmax(x)", na: exp(a), nb: exp(b)}` +
				"\n    results: [a, b]\n    replace: {a: exp(x), b: exp(x), s: exp(x), na: exp(x), nb: exp(x)}",
			graph: `
  input x : float32[8]
  b = slice(x, axis=-1, start=3) : float32[5] @ B
  nb = exp(b) : float32[5] @ NB
  a = slice(x, axis=-1, start=2) : float32[6] @ A
  na = exp(a) : float32[6] @ NA
  s = softmax(x) : float32[8] @ S
  output nb = nb
  output na = na
  output s = s`,
			want: []string{"match a=A b=B na=NA nb=NB s=S x=x $k=1"},
		},
		{
			name: "axes of a slice in another order",
			rule: `match: {a: "slice(x, axis=[-1, -2], start=[2, 1])", y: negative(a)}` + replaceX,
			graph: `
  input x : float32[4, 8]
  a = slice(x, axis=[-2, -1], start=[1, 2]) : float32[3, 6] @ A
  b = negative(a) : float32[3, 6] @ B
  c = slice(x, axis=[-2, -1], start=[2, 1]) : float32[2, 7] @ C
  d = negative(c) : float32[2, 7] @ D
  output b = b
  output d = d`,
			want: []string{"match a=A x=x y=B", "miss at C: 2 nodes, match/attr: slice start=[1, 2]; start=[2, 1]"},
		},
		{
			name: "fragments, with what their spellings set",
			rule: `match: {a: "bend(x, $w)", y: silu(a)}` + replaceX,
			graph: `
  input x : float32[4]
  a = cos(x) : float32[4] @ A
  s = sigmoid(a) : float32[4] @ S
  y = multiply(s, a) : float32[4] @ Y
  output y = y`,
			want: []string{"match a=A x=x y=Y $w=2"},
		},
		{
			name: "a constant that is an attribute's number, rounded",
			rule: `match: {a: "multiply(x, $s)", y: "rms_norm(a, none, eps=$s)"}` + replaceX,
			graph: `
  input x : bfloat16[4]
  c = constant(0.26953125) : bfloat16[]
  a = multiply(x, c) : bfloat16[4] @ A
  y = rms_norm(a, eps=0.2704675577217602) : bfloat16[4] @ Y
  d = constant(0.271484375) : bfloat16[]
  b = multiply(x, d) : bfloat16[4] @ B
  z = rms_norm(b, eps=0.2704675577217602) : bfloat16[4] @ Z
  output y = y
  output z = z`,
			want: []string{"match a=A x=x y=Y $s=0.2704675577217602", "miss at B: 2 nodes, match/attr: rms_norm eps=$s, which is 0.27148438; eps=0.2704675577217602"},
		},
		{
			name: "a constant that is an attribute's number, rounded more than its operands ask for",
			rule: `match: {a: "multiply(x, $s)", y: "rms_norm(a, none, eps=$s)"}` + replaceX,
			graph: `
  input x : float32[4]
  c = constant(0.26953125) : bfloat16[]
  a = multiply(x, c) : float32[4] @ A
  y = rms_norm(a, eps=0.2704675577217602) : float32[4] @ Y
  d = constant(0.2704675577217602) : float32[]
  b = multiply(d, x) : float32[4] @ B
  z = rms_norm(b, eps=0.2704675577217602) : float32[4] @ Z
  output y = y
  output z = z`,
			want: []string{"miss at A: 2 nodes, match/literal: multiply operand b to be a scalar constant, the same everywhere; constant 0.26953125", "match a=B x=x y=Z $s=0.2704675577217602"},
		},
		{
			name: "a spelling on a condition",
			rule: "match: {a: row(x), y: negative(a)}" + replaceX,
			graph: `
  input x : float32[4]
  input m : float32[4, 4]
  a = exp(x) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = exp(m) : float32[4, 4] @ C
  d = negative(c) : float32[4, 4] @ D
  output b = b
  output d = d`,
			want: []string{"match a=A x=x y=B", "miss at C: 2 nodes, match/when: when: rank(x) == 1; false"},
		},
		{
			name: "a path that leaves the match and comes back",
			rule: `match: {p: exp(x), q: sin(u), y: "add(p, q)"}` + "\n    results: [p]\n    replace: {p: exp(x), y: exp(x)}",
			graph: `
  input x : float32[4]
  p = exp(x) : float32[4] @ P
  n = negative(p) : float32[4] @ N
  q = sin(n) : float32[4] @ Q
  y = add(p, q) : float32[4] @ Y
  output y = y`,
			want: []string{"miss at P: 3 nodes, match/convex: nodes of one place; a path from p leaves the match and comes back to it"},
		},
		{
			name: "of two readers that fit, the nearest, if it is the first of all",
			rule: "match: {a: exp(x), b: sin(x)}\n    replace: {a: negative(x), b: negative(x)}",
			graph: `
  input x : float32[4]
  n = sin(x) : float32[4] @ NEAR
  a = exp(x) : float32[4] @ A
  v = negative(a) : float32[4] @ V
  f = sin(x) : float32[4] @ FAR
  output n = n
  output f = f
  output v = v`,
			want: []string{"match a=A b=NEAR x=x"},
		},
		{
			name: "an anchor of one node of three: other ops are tried, and all that are as near are told",
			rule: `match: {a: sigmoid(x), b: "add(a, u)", y: argsort(b)}` + replaceX,
			graph: `
  input x : float32[4]
  input u : float32[4]
  a = tanh(x) : float32[4] @ A
  b = add(a, u) : float32[4] @ B
  y = argsort(b) : uint32[4] @ Y
  c = tanh(u) : float32[4] @ C
  d = add(c, x) : float32[4] @ D
  z = argsort(d) : uint32[4] @ Z
  s = sigmoid(x) : float32[4] @ S
  output y = y
  output z = z
  output s = s`,
			want: []string{"miss at S: 1 nodes, match/no-reader: b: add that reads sigmoid; no such reader", "miss at Y: 2 nodes, match/op: a: sigmoid; tanh", "miss at Z: 2 nodes, match/op: a: sigmoid; tanh"},
		},
		{
			name: "a constant that a way that was given up knew better",
			rule: `match: {m: "multiply(x, $s)", y: "rms_norm(m, none, eps=$s)", z: exp(y)}` + "\n    results: [m, z]\n    replace: {m: negative(x), z: negative(x)}",
			graph: `
  input x : bfloat16[4]
  c = constant(0.26953125) : bfloat16[]
  m = multiply(x, c) : bfloat16[4] @ M
  n = rms_norm(m, eps=0.2704675577217602) : bfloat16[4] @ N
  e = exp(n) : bfloat16[4] @ E
  f = sin(n) : bfloat16[4] @ F
  y = rms_norm(m, eps=0.27) : bfloat16[4] @ Y
  z = exp(y) : bfloat16[4] @ Z
  output m = m
  output e = e
  output f = f
  output z = z`,
			want: []string{"match m=M x=x y=Y z=Z $s=0.27"},
		},
		{
			name: "a constant that a spelling decides",
			rule: `match: {a: "turn(x, $w)", y: "multiply(a, $w)"}` + replaceX,
			graph: `
  input x : float32[4]
  c = constant(2) : float32[]
  a = cos(x) : float32[4] @ A
  y = multiply(a, c) : float32[4] @ Y
  b = sin(x) : float32[4] @ B
  z = multiply(b, c) : float32[4] @ Z
  output y = y
  output z = z`,
			want: []string{"miss at B: 2 nodes, match/literal: multiply operand b to be a scalar constant, the same everywhere; constant 2.0", "match a=A x=x y=Y $w=2.0"},
		},
		{
			name: "a number takes its type from all operands beside it, and has its own where there is none",
			rule: `match: {a: "where(c, x, 0.1)", y: "add(a, exp(0.5))"}` + replaceX,
			graph: `
  input c : bool[4]
  input x : bfloat16[4]
  k = constant(0.1) : bfloat16[]
  n = constant(0.5) : float32[]
  h = constant(0.5) : bfloat16[]
  a = where(c, x, k) : bfloat16[4] @ A
  e = exp(n) : float32[] @ E
  y = add(a, e) : float32[4] @ Y
  b = where(c, x, k) : bfloat16[4] @ B
  f = exp(h) : bfloat16[] @ F
  z = add(b, f) : bfloat16[4] @ Z
  output y = y
  output z = z`,
			want: []string{"match a=A c=c x=x y=Y", "miss at B: 3 nodes, match/literal: exp operand a to be the constant 0.5, rounded; constant 0.5"},
		},
		{
			name: "an operand that the match itself makes of one other",
			rule: `match: {a: exp(x), b: negative(a), y: "subtract(b, z)"}` + replaceX,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  y = subtract(b, a) : float32[4] @ Y
  output y = y`,
			want: []string{"miss at A: 3 nodes, match/distinct: operands that the match does not make; one is a"},
		},
		{
			name: "a range that others read as well, on a path that comes back",
			rule: `match: {r: arange(stop=2*$n), a: "add(x, r)", y: "multiply(a, z)"}` + replaceX,
			graph: `
  input x : int32[4]
  r = arange(stop=4) : int32[4] @ R
  z = negative(r) : int32[4] @ Z
  a = add(x, r) : int32[4] @ A
  y = multiply(a, z) : int32[4] @ Y
  output y = y`,
			want: []string{"match a=A r=R x=x y=Y z=Z $n=2"},
		},
		{
			name: "a length of the first node of a graph",
			rule: `match: {r: arange(stop=4), a: "negative(r)", b: "reshape(a, shape=[dim(r, 0), 1])", y: "add(b, x)"}` + replaceX,
			graph: `
  r = arange(stop=4) : int32[4] @ R
  input x : int32[4, 1]
  a = negative(r) : int32[4] @ A
  b = reshape(a, shape=[4, 1]) : int32[4, 1] @ B
  y = add(b, x) : int32[4, 1] @ Y
  output y = y`,
			want: []string{"match a=A b=B r=R x=x y=Y"},
		},
		{
			name: "one axis of an op that takes several is an axis",
			rule: `match: {a: "sum(x, axis=$k, keepdims=true)", y: "softmax(a, axis=$k)"}` + replaceX,
			graph: `
  input x : float32[4, 4]
  a = sum(x, axis=-2, keepdims=true) : float32[1, 4] @ A
  y = softmax(a, axis=-2) : float32[1, 4] @ Y
  output y = y`,
			want: []string{"match a=A x=x y=Y $k=-2"},
		},
		{
			name: "expressions of misses, with what is known of their variables",
			rule: `match: {a: "reshape(x, shape=[$n, $n-3])", y: "slice(a, axis=-1, start=$k+1)"}` + replaceX,
			graph: `
  input x : float32[96]
  a = reshape(x, shape=[12, 8]) : float32[12, 8] @ A
  y = slice(a, axis=-1, start=1) : float32[12, 7] @ Y
  b = reshape(x, shape=[96, 1]) : float32[96, 1] @ B
  z = exp(b) : float32[96, 1] @ Z
  output y = y
  output z = z`,
			want: []string{"miss at Y: 2 nodes, match/attr: reshape shape=[$n, $n - 3], $n is 12; shape=[12, 8]"},
		},
		{
			name: "an expression whose variable has no value",
			rule: `match: {a: exp(x), y: "slice(a, axis=-1, start=$k+1)"}` + replaceX,
			graph: `
  input x : float32[8]
  a = exp(x) : float32[8] @ A
  y = slice(a, axis=-1, start=1) : float32[7] @ Y
  output y = y`,
			want: []string{"miss at A: 2 nodes, match/attr: slice start=$k + 1; start=1"},
		},
		{
			name: "as many operands of a variadic op as are written",
			rule: `match: {a: exp(x), y: "concatenate(a, u, v, axis=-1)"}` + replaceX,
			graph: `
  input x : float32[4]
  input u : float32[4]
  input v : float32[4]
  a = exp(x) : float32[4] @ A
  y = concatenate(a, u, v, axis=-1) : float32[12] @ Y
  b = exp(u) : float32[4] @ B
  z = concatenate(b, v, axis=-1) : float32[8] @ Z
  c = exp(v) : float32[4] @ C
  w = concatenate(c, u, v, x, axis=-1) : float32[16] @ W
  output y = y
  output z = z
  output w = w`,
			want: []string{"match a=A u=u v=v x=x y=Y", "miss at B: 1 nodes, match/operands: concatenate of 3 operands; 2 operands", "miss at C: 1 nodes, match/operands: concatenate of 3 operands; 4 operands"},
		},
		{
			name: "an operand that is written is there, one that is written none is not",
			rule: `match: {a: "layer_norm(x, w, none, eps=$e)", y: negative(a)}` + replaceX,
			graph: `
  input x : float32[4]
  input w : float32[4]
  a = layer_norm(x, w, eps=1.0) : float32[4] @ A
  b = negative(a) : float32[4] @ B
  c = layer_norm(b, eps=1.0) : float32[4] @ C
  d = negative(c) : float32[4] @ D
  e = layer_norm(d, w, x, eps=1.0) : float32[4] @ E
  f = negative(e) : float32[4] @ F
  output f = f`,
			want: []string{"match a=A w=w x=x y=B $e=1.0", "miss at C: 1 nodes, match/absent: layer_norm operand weight; no such operand",
				"miss at E: 1 nodes, match/present: no layer_norm operand bias; x"},
		},
		{
			name: "lines that only an absent operand joins",
			rule: `match: {a: "rms_norm(x, w?, eps=1.0)", b: "layer_norm(z, w?, eps=1.0)"}` + "\n    replace: {a: negative(x), b: negative(z)}",
			graph: `
  input x : float32[4]
  input z : float32[4]
  input w : float32[4]
  a = rms_norm(x, w, eps=1.0) : float32[4] @ A
  b = layer_norm(z, w, eps=1.0) : float32[4] @ B
  c = rms_norm(x, eps=1.0) : float32[4] @ C
  d = layer_norm(z, eps=1.0) : float32[4] @ D
  output a = a
  output b = b
  output c = c
  output d = d`,
			want: []string{"match a=A b=B w=w x=x z=z", "miss at C: 1 nodes, match/no-reader: b: layer_norm that reads a value; no such reader"},
		},
		{
			name: "numbers of either sign, written, given to a fragment, or decided by it",
			rule: `match: {a: "multiply(x, -0.5)", b: "scaled(a, -2.0)", c: "add(b, -(3))", y: "scaled(c, 4)"}` + replaceX,
			graph: `
  input x : float32[4]
  i = constant(-0.5) : float32[]
  j = constant(-2) : float32[]
  k = constant(-3) : float32[]
  l = constant(4) : float32[]
  m = constant(3) : float32[]
  a = multiply(x, i) : float32[4] @ A
  b = multiply(a, j) : float32[4] @ B
  c = add(k, b) : float32[4] @ C
  y = multiply(c, l) : float32[4] @ Y
  d = multiply(y, i) : float32[4] @ D
  e = multiply(d, j) : float32[4] @ E
  f = add(e, m) : float32[4] @ F
  z = multiply(f, l) : float32[4] @ Z
  output z = z`,
			want: []string{"match a=A b=B c=C x=x y=Y", "miss at F: 3 nodes, match/literal: add operand b to be the constant -3, rounded; constant 3.0"},
		},
		{
			name: "a scalar is one real number",
			rule: `match: {a: "multiply(x, $s)", y: exp(a)}` + replaceX,
			graph: `
  input x : float32[2]
  input v : float32[2]
  one = constant(0.5) : float32[]
  two = constant("base64:AAAAPwAAAD8=") : float32[2]
  a = multiply(x, one) : float32[2] @ A
  b = exp(a) : float32[2] @ B
  c = multiply(x, two) : float32[2] @ C
  d = exp(c) : float32[2] @ D
  e = multiply(x, v) : float32[2] @ E
  f = exp(e) : float32[2] @ F
  z = constant("base64:AAAAPwAAAAA=") : complex64[]
  g = multiply(x, z) : complex64[2] @ G
  h = exp(g) : complex64[2] @ H
  output b = b
  output d = d
  output f = f
  output h = h`,
			want: []string{"match a=A x=x y=B $s=0.5",
				"miss at C: 1 nodes, match/literal: multiply operand b to be a scalar constant, the same everywhere; constant \"base64:AAAAPwAAAD8=\"",
				"miss at E: 1 nodes, match/literal: multiply operand b to be a scalar constant, the same everywhere; v",
				"miss at G: 1 nodes, match/literal: multiply operand b to be a scalar constant, the same everywhere; constant \"base64:AAAAPwAAAAA=\""},
		},
		{
			name: "a number beside itself takes its own type",
			rule: `match: {a: "multiply(x, exp(add(0.5, 0.5)))", y: exp(a)}` + replaceX,
			graph: `
  input x : bfloat16[2]
  k = constant(0.5) : bfloat16[]
  s = add(k, k) : bfloat16[] @ S
  e = exp(s) : bfloat16[] @ E
  a = multiply(x, e) : bfloat16[2] @ A
  y = exp(a) : bfloat16[2] @ Y
  output y = y`,
			want: []string{"match a=A x=x y=Y"},
		},
		{
			name: "a scalar of a reader that was given up is free again",
			rule: `match: {a: exp(x), b: "multiply(x, $s)", y: sin(b)}` + "\n    results: [a, y]\n    replace: {a: negative(x), y: negative(x)}",
			graph: `
  input x : float32[4]
  i = constant(0.5) : float32[]
  j = constant(0.25) : float32[]
  a = exp(x) : float32[4] @ A
  b = multiply(x, i) : float32[4] @ B
  c = cos(b) : float32[4] @ C
  d = multiply(x, j) : float32[4] @ D
  y = sin(d) : float32[4] @ Y
  output a = a
  output c = c
  output y = y`,
			want: []string{"match a=A b=D x=x y=Y $s=0.25"},
		},
		{
			name: "of ways that fail, the one that got furthest is told, the first of those",
			rule: `match: {a: exp(x), b: "subtract(x, u)", c: sin(b), y: tan(c)}` + "\n    results: [a, y]\n    replace: {a: negative(x), y: negative(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  a = exp(x) : float32[4] @ A
  b = subtract(x, u) : float32[4] @ B
  c = cos(b) : float32[4] @ C
  d = subtract(x, u) : float32[4] @ D
  e = sin(d) : float32[4] @ E
  f = log(e) : float32[4] @ F
  g = subtract(x, a) : float32[4] @ G
  h = sin(g) : float32[4] @ H
  i = cos(h) : float32[4] @ I
  t = tan(u) : float32[4] @ T
  v = tan(t) : float32[4] @ V
  output c = c
  output f = f
  output i = i
  output v = v`,
			want: []string{"miss at A: 3 nodes, match/no-reader: y: tan that reads sin; no such reader"},
		},
		{
			name: "of two readers that are as near, the one before",
			rule: "match: {a: exp(x), b: sin(x)}\n    replace: {a: negative(x), b: negative(x)}",
			graph: `
  input x : float32[4]
  b = sin(x) : float32[4] @ BEFORE
  a = exp(x) : float32[4] @ A
  c = sin(x) : float32[4] @ BEHIND
  output a = a
  output b = b
  output c = c`,
			want: []string{"match a=A b=BEFORE x=x"},
		},
		{
			name: "half of a pattern is near: no other ops are tried",
			rule: `match: {a: tan(x), b: exp(a), c: sin(b), y: log(c)}` + replaceX,
			graph: `
  input x : float32[4]
  a = tan(x) : float32[4] @ A
  b = exp(a) : float32[4] @ B
  c = cos(b) : float32[4] @ C
  d = exp(c) : float32[4] @ D
  e = sin(d) : float32[4] @ E
  f = log(e) : float32[4] @ F
  output f = f`,
			want: []string{"miss at A: 2 nodes, match/no-reader: c: sin that reads exp; no such reader"},
		},
		{
			name: "one place that two ops come to is told once, two names for it are told both",
			rule: `match: {b: "power(sigmoid(x), u)", y: tan(b), z: cos(b), c: "subtract(log(x), u)", v: sinh(c)}` + "\n    replace: {y: negative(x), z: negative(x), v: negative(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  n = tanh(x) : float32[4] @ N
  b = power(n, u) : float32[4] @ B
  y = tan(b) : float32[4] @ Y
  z = cos(b) : float32[4] @ Z
  o = power(x, u) : float32[4] @ O
  output y = y
  output z = z
  output o = o`,
			want: []string{"miss at Y: 2 nodes, match/op: sigmoid; tanh"},
		},
		{
			name: "one node that two names do not fit",
			rule: `match: {y: "tan(power(sigmoid(x), u))", z: "cos(subtract(log(x), u))"}` + "\n    replace: {y: negative(x), z: negative(x)}",
			graph: `
  input x : float32[4]
  input u : float32[4]
  n = tanh(x) : float32[4] @ N
  b = power(n, u) : float32[4] @ B
  y = tan(b) : float32[4] @ Y
  c = subtract(n, u) : float32[4] @ C
  z = cos(c) : float32[4] @ Z
  d = power(u, u) : float32[4] @ D
  e = subtract(d, u) : float32[4] @ E
  output y = y
  output z = z
  output e = e`,
			want: []string{"miss at Y: 2 nodes, match/op: sigmoid; tanh", "miss at Z: 2 nodes, match/op: log; tanh"},
		},
		{
			name: "a spelling on a condition on a number, which is bound or given",
			rule: `match: {a: "along(x, $i)", b: "along(a, -2)", y: exp(b)}` + replaceX,
			graph: `
  input x : float32[4, 4, 4]
  a = softmax(x, axis=-2) : float32[4, 4, 4] @ A
  b = softmax(a, axis=-2) : float32[4, 4, 4] @ B
  y = exp(b) : float32[4, 4, 4] @ Y
  c = softmax(y, axis=-1) : float32[4, 4, 4] @ C
  d = softmax(c, axis=-2) : float32[4, 4, 4] @ D
  z = exp(d) : float32[4, 4, 4] @ Z
  output z = z`,
			want: []string{"match a=A b=B x=x y=Y $i=-2", "miss at Z: 3 nodes, match/when: when: k == -2; false"},
		},
		{
			name: "a spelling on a condition on a number that was given",
			rule: `match: {a: "along(x, -1)", y: exp(a)}` + replaceX,
			graph: `
  input x : float32[4, 4]
  a = softmax(x, axis=-1) : float32[4, 4] @ A
  y = exp(a) : float32[4, 4] @ Y
  output y = y`,
			want: []string{"miss at A: 2 nodes, match/when: when: k == -2; false"},
		},
		{
			name: "a number that is given to a fragment, in an expression",
			rule: `match: {a: "behind(x, 2)", b: "behind(a, $n)", y: exp(b)}` + replaceX,
			graph: `
  input x : float32[12]
  a = slice(x, axis=-1, start=3) : float32[9] @ A
  b = slice(a, axis=-1, start=2) : float32[7] @ B
  y = exp(b) : float32[7] @ Y
  c = slice(x, axis=-1, start=2) : float32[10] @ C
  d = slice(c, axis=-1, start=2) : float32[8] @ D
  z = exp(d) : float32[8] @ Z
  output y = y
  output z = z`,
			want: []string{"match a=A b=B x=x y=Y $n=1", "miss at Z: 3 nodes, match/attr: slice start=$k + 1; start=2"},
		},
		{
			name: "what a fragment is given and does not use stands for nothing",
			rule: `match: {a: "alone(x, z)", y: sin(a)}` + replaceX,
			graph: `
  input x : float32[4]
  a = exp(x) : float32[4] @ A
  y = sin(a) : float32[4] @ Y
  output y = y`,
			want: []string{"match a=A x=x y=Y z=none"},
		},
		{
			name: "a length of what stands for nothing is none",
			rule: `match: {a: "from(x, z)", y: sin(a)}` + replaceX,
			graph: `
  input x : float32[8]
  a = slice(x, axis=-1, start=4) : float32[4] @ A
  y = sin(a) : float32[4] @ Y
  output y = y`,
			want: []string{"miss at A: 2 nodes, match/attr: slice start=dim(z, -1); start=4"},
		},
		{
			name: "a number has no length",
			rule: `match: {a: "from(x, 0.5)", y: sin(a)}` + replaceX,
			graph: `
  input x : float32[8]
  a = slice(x, axis=-1, start=4) : float32[4] @ A
  y = sin(a) : float32[4] @ Y
  output y = y`,
			want: []string{"miss at A: 2 nodes, match/attr: slice start=dim(z, -1); start=4"},
		},
		{
			name: "of a miss's variables, those that the expression has",
			rule: `match: {a: "reshape(x, shape=[$n, $nn])", b: "exp(a)", y: "slice(b, axis=-1, start=3, stop=$nn-1)"}` + replaceX,
			graph: `
  input x : float32[96]
  a = reshape(x, shape=[12, 8]) : float32[12, 8] @ A
  b = exp(a) : float32[12, 8] @ B
  y = slice(b, axis=-1, start=3) : float32[12, 5] @ Y
  output y = y`,
			want: []string{"miss at A: 3 nodes, match/attr: slice stop=$nn - 1, $nn is 8; stop=absent"},
		},
		{
			name: "an attribute that is absent is no number, not even 0",
			rule: `match: {a: "sdpa(q, k, v, scale=1.0, window=$w-1, mask=\"window\")", y: exp(a)}` + "\n    replace: {y: negative(q)}",
			graph: `
  input q : float32[1, 2, 3, 8]
  input k : float32[1, 2, 5, 8]
  input v : float32[1, 2, 5, 8]
  a = sdpa(q, k, v, scale=1.0, mask="window", window=3) : float32[1, 2, 3, 8] @ A
  y = exp(a) : float32[1, 2, 3, 8] @ Y
  b = sdpa(q, k, v, scale=1.0) : float32[1, 2, 3, 8] @ B
  z = exp(b) : float32[1, 2, 3, 8] @ Z
  output y = y
  output z = z`,
			want: []string{"match a=A k=k q=q v=v y=Y $w=4", "miss at B: 2 nodes, match/attr: sdpa mask=\"window\"; mask=\"none\""},
		},
		{
			name: "an attribute that is absent is not 0",
			rule: `match: {a: "sdpa(q, k, v, scale=1.0, kv_len=0)", y: exp(a)}` + "\n    replace: {y: negative(q)}",
			graph: `
  input q : float32[1, 2, 3, 8]
  input k : float32[1, 2, 5, 8]
  input v : float32[1, 2, 5, 8]
  b = sdpa(q, k, v, scale=1.0) : float32[1, 2, 3, 8] @ B
  z = exp(b) : float32[1, 2, 3, 8] @ Z
  output z = z`,
			want: []string{"miss at B: 2 nodes, match/attr: sdpa kv_len=0; kv_len=absent"},
		},
		{
			name: "an operand that a reader that was given up lacks may be there for the next",
			rule: `match: {a: exp(x), b: "rms_norm(x, w?, eps=1.0)", y: sin(b)}` + "\n    results: [a, y]\n    replace: {a: negative(x), y: negative(x)}",
			graph: `
  input x : float32[4]
  input w : float32[4]
  a = exp(x) : float32[4] @ A
  b = rms_norm(x, eps=1.0) : float32[4] @ B
  c = cos(b) : float32[4] @ C
  d = rms_norm(x, w, eps=1.0) : float32[4] @ D
  y = sin(d) : float32[4] @ Y
  output a = a
  output c = c
  output y = y`,
			want: []string{"match a=A b=D w=w x=x y=Y"},
		},
		{
			name: "an operand that is a range of the match: whoever needs one makes another",
			rule: `match: {r: arange(stop=4), a: "subtract(x, r)", y: "multiply(a, z)"}` + replaceX,
			graph: `
  input x : int32[4]
  r = arange(stop=4) : int32[4] @ R
  a = subtract(x, r) : int32[4] @ A
  y = multiply(a, r) : int32[4] @ Y
  output y = y`,
			want: []string{"match a=A r=R x=x y=Y z=R"},
		},
		{
			name: "all results of an op, each by its name",
			rule: `match: {"q, s, b": "quantize(x, group_size=32)", t: exp(s), y: "add(t, b)"}` + "\n    results: [q, y]\n    replace: {q: negative(x), y: negative(x)}",
			graph: `
  input x : float32[4, 64]
  q, s, b = quantize(x, group_size=32) : uint32[4, 8], float32[4, 2], float32[4, 2] @ Q
  t = exp(s) : float32[4, 2] @ T
  y = add(b, t) : float32[4, 2] @ Y
  q2, s2, b2 = quantize(x, group_size=32) : uint32[4, 8], float32[4, 2], float32[4, 2] @ Q2
  u = exp(b2) : float32[4, 2] @ U
  z = add(u, s2) : float32[4, 2] @ Z
  output q = q
  output y = y
  output q2 = q2
  output z = z`,
			want: []string{"match b=Q q=Q s=Q t=T x=x y=Y", "miss at Q2: 1 nodes, match/no-reader: t: exp that reads quantize; no such reader"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := find(t, compile(t, c.rule), c.graph); !slices.Equal(got, c.want) {
				t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
		})
	}
}

// Small files do not become large patterns, nor many.
func TestCompileIsBounded(t *testing.T) {
	catalog, issues := catalog()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	const head = "zmlx: 1\nfamily: test\nfragments:\n"
	const rule = "rules:\n  - name: r\n    doc: A rule of this test.\n    numerics: exact\n"
	double, empty := "  f0(x): exp(x)\n", "  f0(x): x\n"
	for i := 1; i <= 24; i++ {
		double += fmt.Sprintf("  f%d(x): add(f%d(x), f%d(exp(x)))\n", i, i-1, i-1)
		empty += fmt.Sprintf("  f%d(x): f%d(f%d(x))\n", i, i-1, i-1)
	}
	// n uses of a fragment of two spellings, which all must be spelt alike if its
	// variable is the same.
	uses := func(n int, variable string) string {
		b, last := "    match:\n", "x"
		for i := range n {
			v := variable
			if v == "" {
				v = fmt.Sprintf("$o%d", i)
			}
			b += fmt.Sprintf("      v%d: t(%s, %s)\n", i, last, v)
			last = fmt.Sprintf("v%d", i)
		}
		return b + "    replace: {" + last + ": exp(x)}\n"
	}
	// n nodes, 50 a line
	chain := func(n int) string {
		b, last := "    match:\n", "x"
		for i := 0; n > 0; i, n = i+1, n-50 {
			b += fmt.Sprintf("      v%d: %s%s%s\n", i, strings.Repeat("exp(", min(n, 50)), last, strings.Repeat(")", min(n, 50)))
			last = fmt.Sprintf("v%d", i)
		}
		return b + "    replace: {" + last + ": x}\n"
	}
	const t2 = "  t(s, $o):\n    - {is: exp(s), set: {o: 1}}\n    - {is: sin(s), set: {o: 2}}\n"
	for _, c := range []struct {
		name, text string
		patterns   int
		want       string
	}{
		{"as many nodes as there may be", head + t2 + rule + chain(256), 1, ""},
		{"one node more", head + t2 + rule + chain(257), 0,
			"test.yaml:17:11: the pattern of test.r has more than 256 nodes, or its fragments stand for more than 4096 others"},
		// f11 of nothing is 4095 fragments, and exp one more op.
		{"as many fragments as there may be", head + empty + rule + "    match: {y: exp(f11(x))}\n    replace: {y: x}\n", 1, ""},
		{"one fragment more", head + empty + rule + "    match: {y: exp(f11(f0(x)))}\n    replace: {y: x}\n", 0,
			"test.yaml:33:16: the pattern of test.r has more than 256 nodes, or its fragments stand for more than 4096 others"},
		{"fragments that double", head + double + rule + "    match: {y: f24(x)}\n    replace: {y: exp(x)}\n", 0,
			"test.yaml:33:16: the pattern of test.r has more than 256 nodes"},
		{"fragments of nothing that double", head + empty + rule + "    match: {y: exp(f24(x))}\n    replace: {y: exp(x)}\n", 0,
			"test.yaml:33:16: the pattern of test.r has more than 256 nodes, or its fragments stand for more than 4096 others"},
		{"spellings that exclude each other", head + t2 + rule + uses(24, "$o"), 2, ""},
		{"spellings that go together, few", head + t2 + rule + uses(8, ""), 256, ""},
		{"spellings that go together, many", head + t2 + rule + uses(9, ""), 0,
			"test.yaml:8:11: more than 256 ways to expand the pattern of test.r"},
		{"alternatives of no operand", head + t2 + rule + "    match: {y: 'exp(any(x" + strings.Repeat(", x", 300) + "))'}\n    replace: {y: x}\n", 0,
			"test.yaml:8:11: more than 256 ways to expand the pattern of test.r"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, issues := rules.Parse("test.yaml", []byte(c.text))
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			set, issues := rules.Link([]*rules.File{f}, catalog)
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			patterns, err := Compile(set, set.Rule("test.r"))
			if len(patterns) != c.patterns || (err != nil) != (c.want != "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%d patterns, error %v; want %d, %q", len(patterns), err, c.patterns, c.want)
			}
		})
	}
}

// A shape says whether names and variables stand for things that are alike.
func TestAppendShape(t *testing.T) {
	patterns := compile(t, `match: {a: "rms_norm(x, w?, eps=$e)", y: negative(a)}`+"\n    replace: {y: negative(x)}")
	p, issues := graph.ParseText("test.zg", []byte(`zmlx 1
program test
case all
  input x : float32[4]
  input h : bfloat16[4]
  input long : float32[batch]
  input v : float32[4]
  a0 = rms_norm(x, eps=1) : float32[4]
  a1 = negative(a0) : float32[4]
  b0 = rms_norm(v, eps=1) : float32[4]
  b1 = negative(b0) : float32[4]
  c0 = rms_norm(x, eps=2) : float32[4]
  c1 = negative(c0) : float32[4]
  d0 = rms_norm(x, v, eps=1) : float32[4]
  d1 = negative(d0) : float32[4]
  e0 = rms_norm(h, eps=1) : bfloat16[4]
  e1 = negative(e0) : bfloat16[4]
  f0 = rms_norm(long, eps=1) : float32[batch]
  f1 = negative(f0) : float32[batch]
  output o1 = a1
  output o2 = b1
  output o3 = c1
  output o4 = d1
  output o5 = e1
  output o6 = f1
`), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	g := p.Cases[0].Graph
	var shapes []string
	for _, p := range patterns {
		p.Find(NewIndex(g), func(m *Match) { shapes = append(shapes, string(m.AppendShape(g, nil))) })
	}
	if len(shapes) != 6 {
		t.Fatalf("%d matches", len(shapes))
	}
	if shapes[0] != shapes[1] {
		t.Error("other values of the same types have another shape")
	}
	for i, s := range shapes[1:] {
		if slices.Contains(shapes[2+i:], s) {
			t.Errorf("match %d has the shape of one that differs", 1+i)
		}
	}
}

// A miss is at a line also where it is inside of one.
func TestMissLine(t *testing.T) {
	patterns := compile(t, `match: {a: "exp(negative(sin(x)))", y: row(a)}`+"\n    replace: {y: x}")
	for text, want := range map[string]string{
		"b = cos(x) : float32[4]\n  n = negative(b) : float32[4]\n  a = exp(n) : float32[4]\n  y = exp(a) : float32[4]":                            "a match/no-reader",
		"b = sin(x) : float32[4]\n  n = negative(b) : float32[4]\n  a = exp(n) : float32[4]\n  y = cos(a) : float32[4]\n  q = exp(y) : float32[4]": "y match/no-reader",
		"b = sin(m) : float32[4, 4]\n  n = negative(b) : float32[4, 4]\n  a = exp(n) : float32[4, 4]\n  y = exp(a) : float32[4, 4]":                "y match/when",
	} {
		p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\ncase all\n  input x : float32[4]\n  input m : float32[4, 4]\n  s = negative(x) : float32[4]\n  t = sin(s) : float32[4]\n  "+text+"\n  output y = y\n  output t = t\n"), nil)
		if issues.HasErrors() {
			t.Fatal(issues)
		}
		got := map[string]bool{}
		for _, pattern := range patterns {
			pattern.Explain(NewIndex(p.Cases[0].Graph), func(*Match) {}, func(m *Miss) { got[m.Line()+" "+m.Code] = true })
		}
		if !got[want] {
			t.Errorf("%s\nstopped at %v, want %s", text, got, want)
		}
	}
}

// A condition of a spelling is at the line that it is written in, also where the spelling is
// what another line makes, or what none does.
func TestMissLineOfCondition(t *testing.T) {
	for rule, want := range map[string]string{
		"match: {a: sin(flat(x)), b: cos(a), y: exp(b)}":                "a",
		"match: {a: sin(x), b: cos(flat(a)), y: exp(b)}":                "b",
		"match: {a: sin(x), b: cos(a), y: exp(flat(b))}":                "y",
		"match: {f: flat(x), a: sin(f), b: cos(a), y: exp(b)}":          "f",
		"match: {a: sin(x), b: cos(a), y: exp(flat(optional(tan(b))))}": "y",
	} {
		g := graphOf(t, `
  input x : float32[4, 4, 4]
  a = sin(x) : float32[4, 4, 4]
  b = cos(a) : float32[4, 4, 4]
  y = exp(b) : float32[4, 4, 4]
  z = exp(y) : float32[4, 4, 4]
  output z = z`)
		got := ""
		for _, p := range compile(t, rule+"\n    replace: {y: x}") {
			p.Explain(NewIndex(g), func(*Match) { got += "match" }, func(m *Miss) {
				if m.Code == CodeWhen {
					got += m.Line()
				}
			})
		}
		if got != want {
			t.Errorf("%s: stopped at %q, want %q", rule, got, want)
		}
	}
}

// An index has each node once, with the nodes of its op, in order; also where ops, of MLX or
// of kernels, occur as often as each other, and where one does not occur.
func TestIndex(t *testing.T) {
	g := graphOf(t, `
  input x : float32[4]
  input u : float32[4]
  a = kernel.swiglu(x, u) : float32[4]
  b = abs(a) : float32[4]
  h, c = kernel.add_rms_norm(x, u, x, eps=1.0) : float32[4], float32[4]
  d = kernel.swiglu(b, c) : float32[4]
  e = abs(d) : float32[4]
  f = exp(e) : float32[4]
  output f = f`)
	ix := NewIndex(g)
	ops := map[*graph.Op][]graph.NodeID{graph.LookupOp("log"): nil}
	for id := range graph.NodeID(g.NumNodes()) {
		ops[g.Node(id).Op] = append(ops[g.Node(id).Op], id)
	}
	catalog, _ := catalog()
	for _, name := range []string{"kernel.argmax", "kernel.swiglu", "kernel.add_rms_norm"} {
		ops[catalog.Op(name)] = ops[catalog.Op(name)]
	}
	for op, want := range ops {
		if got := ix.ofOp(op); !slices.Equal(got, want) {
			t.Errorf("%s is at %v, not %v", op.Name, got, want)
		}
	}
}

// A search of too many ways ends, and says so, however near it was.
func TestTooManyWays(t *testing.T) {
	// A tree of sums has two orders at each of them, and what is behind them never fits.
	var tree func(n int, leaf *int) string
	tree = func(n int, leaf *int) string {
		if n == 0 {
			*leaf++
			return fmt.Sprintf("x%d", *leaf)
		}
		return "add(" + tree(n-1, leaf) + ", " + tree(n-1, leaf) + ")"
	}
	for depth, want := range map[int]string{2: CodeOp, 4: CodeFuel} {
		text, values := "", make([]string, 1<<depth)
		for i := range values {
			values[i] = fmt.Sprintf("i%d", i)
			text += fmt.Sprintf("input i%d : float32[4]\n", i)
		}
		for n := 0; len(values) > 1; {
			var next []string
			for i := 0; i < len(values); i += 2 {
				text += fmt.Sprintf("n%d = add(%s, %s) : float32[4]\n", n, values[i], values[i+1])
				next = append(next, fmt.Sprintf("n%d", n))
				n++
			}
			values = next
		}
		g := graphOf(t, text+"c = cos(i0) : float32[4]\ny = subtract("+values[0]+", c) : float32[4]\ns = sin(y) : float32[4]\noutput s = s\n")
		p := compile(t, "match: {y: '"+"subtract("+tree(depth, new(int))+", sin(z))"+"'}\n    replace: {y: z}")[0]
		s := &search{p: p, ix: NewIndex(g), g: g}
		id := s.ix.ofOp(graph.LookupOp("subtract"))[0]
		if s.at(len(p.nodes)-1, id) || s.miss.Code != want || want == CodeFuel && s.steps != maxSteps+1 {
			t.Errorf("sums %d deep: %s after %d steps, not %s", depth, s.miss.Code, s.steps, want)
		}
	}
}

// A path that may come back is followed as far as maxConvex nodes; if it is longer, the match
// is refused.
func TestLongPath(t *testing.T) {
	for length, want := range map[int]int{10: 1, maxConvex: 1, maxConvex + 1: 0} {
		g := graph.New()
		add := func(op string, x graph.ValueID) graph.ValueID {
			out, err := g.Add(graph.LookupOp(op), "", []graph.ValueID{x})
			if err != nil {
				t.Fatal(err)
			}
			return out[0]
		}
		x := g.Input("x", graph.T(graph.Float32))
		p := add("log", x)
		end := p
		for range length {
			end = add("negative", end)
		}
		g.Output("p", p)
		g.Output("end", end)
		g.Output("q", add("tan", x))
		found := 0
		compile(t, "match: {p: log(x), q: tan(x)}\n    replace: {p: x, q: x}")[0].Find(NewIndex(g), func(*Match) { found++ })
		if found != want {
			t.Errorf("%d nodes on a path: %d matches, not %d", length, found, want)
		}
	}
}

// Names has every name of a pattern, those of operands that an expansion does without too.
func TestNames(t *testing.T) {
	for i, p := range compile(t, `match: {a: "optional(rms_norm(x, w?, eps=1.0))", y: "exp(a)"}`+"\n    replace: {y: x}") {
		if got, want := strings.Join(p.Names(), " "), "a w x y"; got != want {
			t.Errorf("expansion %d has %s, not %s", i, got, want)
		}
	}
}

// A clone of a miss lasts: the search goes on, and binds other values.
func TestCloneLasts(t *testing.T) {
	g := graphOf(t, `
  input x : float32[96]
  a = reshape(x, shape=[12, 8]) : float32[12, 8]
  b = exp(a) : float32[12, 8]
  c = reshape(x, shape=[16, 6]) : float32[16, 6]
  d = exp(c) : float32[16, 6]
  output b = b
  output d = d`)
	var misses []*Miss
	var want []string
	compile(t, `match: {a: "reshape(x, shape=[$n, $n])", y: exp(a)}`+"\n    replace: {y: x}")[0].Explain(NewIndex(g), func(*Match) {}, func(m *Miss) {
		text, _ := m.Text(g)
		want = append(want, text)
		misses = append(misses, m.Clone())
	})
	for i, m := range misses {
		if text, _ := m.Text(g); text != want[i] {
			t.Errorf("%s, and was %s", text, want[i])
		}
	}
	if len(want) != 2 || want[0] == want[1] {
		t.Errorf("%q are not two misses", want)
	}
}
