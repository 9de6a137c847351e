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
	const t2 = "  t(s, $o):\n    - {is: exp(s), set: {o: 1}}\n    - {is: sin(s), set: {o: 2}}\n"
	for _, c := range []struct {
		name, text string
		patterns   int
		want       string
	}{
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
