package matcher

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// graphOf parses the lines of a graph; parameters come first.
func graphOf(t *testing.T, text string) *graph.Graph {
	t.Helper()
	catalog, issues := catalog()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	params, lines := "", ""
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "param ") {
			params += line + "\n"
		} else {
			lines += "  " + line + "\n"
		}
	}
	p, issues := graph.ParseText("test.zg", []byte("zmlx 1\nprogram test\n"+params+"case all\n"+lines), catalog.Op)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return p.Cases[0].Graph
}

// first returns the first match of the largest pattern of a rule in a graph.
func first(t *testing.T, rule, text string) (*Pattern, *Match, *graph.Graph) {
	t.Helper()
	g := graphOf(t, text)
	for _, pattern := range compile(t, rule) {
		var found *Match
		pattern.Find(NewIndex(g), func(m *Match) {
			if found == nil {
				found = m
			}
		})
		if found != nil {
			return pattern, found, g
		}
	}
	t.Fatal("no match")
	return nil, nil, nil
}

// TestRender makes graphs of what a pattern matched: each is the part that was matched,
// and nothing else of the graph that it was found in.
func TestRender(t *testing.T) {
	for _, c := range []struct{ name, rule, graph, want string }{
		{"values, parameters and constants, one of them absent",
			`match: {a: "rms_norm(x, w?, eps=$e)", b: "rms_norm(a, v?, eps=$e)", m: "multiply(b, $s)", y: "add(m, c)"}` + "\n    replace: {y: x}",
			`
  input u : float32[4]
  param norm.weight : float32[4]
  x = exp(u) : float32[4]
  s = constant(0.5) : float32[]
  c = constant(2) : float32[]
  a = rms_norm(x, norm.weight, eps=0.25) : float32[4]
  b = rms_norm(a, eps=0.25) : float32[4]
  m = multiply(s, b) : float32[4]
  y = add(m, c) : float32[4]
  z = negative(y) : float32[4]
  output z = z`,
			`
  param w : float32[4]
  input x : float32[4]
  c = constant(2.0) : float32[]
  s = constant(0.5) : float32[]
  a = rms_norm(x, w, eps=0.25) : float32[4]
  b = rms_norm(a, eps=0.25) : float32[4]
  m = multiply(b, s) : float32[4]
  y = add(m, c) : float32[4]
  output y = y`},
		{"numbers take the type of what is beside them",
			`match: {a: "add(multiply(x, 2), 0.1)", y: "bend(subtract(3, a), $w)"}` + "\n    replace: {y: x}",
			`
  input x : bfloat16[4]
  k = constant(2) : bfloat16[]
  f = constant(0.1) : bfloat16[]
  n = constant(3) : bfloat16[]
  a = multiply(x, k) : bfloat16[4]
  b = add(a, f) : bfloat16[4]
  c = subtract(n, b) : bfloat16[4]
  y = cos(c) : bfloat16[4]
  output y = y`,
			`
  input x : bfloat16[4]
  k = constant(2.0) : bfloat16[]
  f = constant(0.1) : bfloat16[]
  n = constant(3.0) : bfloat16[]
  a = multiply(x, k) : bfloat16[4]
  b = add(a, f) : bfloat16[4]
  c = subtract(n, b) : bfloat16[4]
  y = cos(c) : bfloat16[4]
  output y = y`},
		{"a number beside several takes the type of all; numbers that fragments are given",
			`match: {a: "where(c, x, 0.1)", b: "add(a, z)", m: "scaled(b, -2)", y: "scaled(m, $s)"}` + "\n    replace: {y: x}",
			`
  input c : bool[4]
  input x : bfloat16[4]
  input z : float32[4]
  k = constant(0.1) : bfloat16[]
  m = constant(-2) : float32[]
  s = constant(0.25) : float32[]
  a = where(c, x, k) : bfloat16[4]
  b = add(a, z) : float32[4]
  d = multiply(b, m) : float32[4]
  y = multiply(d, s) : float32[4]
  output y = y`,
			`
  input c : bool[4]
  input x : bfloat16[4]
  input z : float32[4]
  k = constant(0.1) : bfloat16[]
  m = constant(-2) : float32[]
  s = constant(0.25) : float32[]
  a = where(c, x, k) : bfloat16[4]
  b = add(a, z) : float32[4]
  d = multiply(b, m) : float32[4]
  y = multiply(d, s) : float32[4]
  output y = y`},
		{"two numbers that spellings decide",
			`match: {a: "turn(x, $f)", b: "turn(a, $h)", m: "multiply(b, $f)", y: "multiply(m, $h)"}` + "\n    replace: {y: x}",
			`
  input x : float32[4]
  f = constant(0.5) : float32[]
  h = constant(2) : float32[]
  a = sin(x) : float32[4]
  b = cos(a) : float32[4]
  m = multiply(b, f) : float32[4]
  y = multiply(m, h) : float32[4]
  output y = y`,
			`
  input x : float32[4]
  f = constant(0.5) : float32[]
  h = constant(2) : float32[]
  a = sin(x) : float32[4]
  b = cos(a) : float32[4]
  m = multiply(b, f) : float32[4]
  y = multiply(m, h) : float32[4]
  output y = y`},
		{"attributes: open ones, words, lists, expressions of every kind",
			`match: {a: "softmax(x, ...)", b: "reshape(a, shape=[rows(x), 2, dim(x, -1)-$k+2-4])", c: "reshape(b, shape=[size(b)])", d: "slice(c, axis=-1, start=-$k)", e: "astype(d, dtype=float16)", y: "softmax(e, axis=-1, precise=true)"}` + "\n    replace: {y: x}",
			`
  input x : float32[6, 8]
  a = softmax(x, axis=-2, precise=true) : float32[6, 8]
  b = reshape(a, shape=[6, 2, 4]) : float32[6, 2, 4]
  c = reshape(b, shape=[48]) : float32[48]
  d = slice(c, axis=-1, start=46) : float32[2]
  e = astype(d, dtype=float16) : float16[2]
  y = softmax(e, precise=true) : float16[2]
  output y = y`,
			`
  input x : float32[6, 8]
  a = softmax(x, axis=-2, precise=true) : float32[6, 8]
  b = reshape(a, shape=[6, 2, 4]) : float32[6, 2, 4]
  c = reshape(b, shape=[48]) : float32[48]
  d = slice(c, axis=-1, start=46) : float32[2]
  e = astype(d, dtype=float16) : float16[2]
  y = softmax(e, precise=true) : float16[2]
  output y = y`},
		{"a product, a sum, two results",
			`match: {a: "reshape(x, shape=[2*$k, dim(x, 0)])", p: exp(a), q: "reshape(a, shape=[$k, 1+11])"}` + "\n    replace: {p: x, q: x}",
			`
  input x : float32[6, 8]
  a = reshape(x, shape=[8, 6]) : float32[8, 6]
  p = exp(a) : float32[8, 6]
  q = reshape(a, shape=[4, 12]) : float32[4, 12]
  output p = p
  output q = q`,
			`
  input x : float32[6, 8]
  a = reshape(x, shape=[8, 6]) : float32[8, 6]
  p = exp(a) : float32[8, 6]
  q = reshape(a, shape=[4, 12]) : float32[4, 12]
  output p = p
  output q = q`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, m, g := first(t, c.rule, c.graph)
			got, err := p.Render(m.Sample(g))
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Compact(); err != nil {
				t.Fatal(err)
			}
			ordered, err := graphOf(t, c.want).Ordered()
			if err != nil {
				t.Fatal(err)
			}
			if got.Hash() != ordered.Hash() {
				t.Errorf("got\n%s\nwant\n%s", got, ordered)
			}
			again := 0
			p.Find(NewIndex(got), func(*Match) { again++ })
			if again != 1 {
				t.Errorf("the pattern matches %d times in what was made of it", again)
			}
		})
	}
}

// TestRenderNeeds: what a sample lacks is said, with the line of the rule.
func TestRenderNeeds(t *testing.T) {
	const rule = `match: {a: "multiply(x, $s)", b: "slice(a, axis=-1, start=dim(z, -1))", c: "rms_norm(b, w?, eps=$e)", y: "slice(c, axis=-1, stop=$n+1)", q: "concatenate(z, x, u, axis=-1)"}` + "\n    results: [y, q]\n    replace: {y: x, q: x}"
	p, m, g := first(t, rule, `
  input x : float32[8]
  input z : float32[2]
  input u : float32[8]
  s = constant(0.5) : float32[]
  a = multiply(x, s) : float32[8]
  b = slice(a, axis=-1, start=2) : float32[6]
  c = rms_norm(b, eps=1.0) : float32[6]
  y = slice(c, axis=-1, stop=4) : float32[4]
  q = concatenate(z, x, u, axis=-1) : float32[18]
  output y = y
  output q = q`)
	if names := slices.Sorted(maps.Keys(m.Sample(g).Types)); !slices.Equal(names, []string{"u", "x", "z"}) {
		t.Errorf("the sample has types of %v", names)
	}
	for want, change := range map[string]func(*Sample){
		"":                   func(*Sample) {},
		"a: x has no type":   func(s *Sample) { delete(s.Types, "x") },
		"a: $s is not known": func(s *Sample) { delete(s.Vars, "s") },
		"b: start of slice: dim(z, -1) is not known": func(s *Sample) { delete(s.Types, "z") },
		"c: eps of rms_norm: $e is not known":        func(s *Sample) { delete(s.Vars, "e") },
		"y: stop of slice: $n is not known":          func(s *Sample) { delete(s.Vars, "n") },
		"q: u has no type":                           func(s *Sample) { delete(s.Types, "u") },
	} {
		s := m.Sample(g)
		change(s)
		got := ""
		if _, err := p.Render(s); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	s := m.Sample(g)
	s.Types["z"] = graph.T(graph.Float32)
	if _, err := p.Render(s); err == nil || err.Error() != "b: start of slice: dim(z, -1) is not known" {
		t.Errorf("of a scalar: %v", err)
	}
	p = compile(t, `match: {a: "from(x, 0.5)", y: sin(a)}`+"\n    replace: {y: x}")[0]
	if _, err := p.Render(&Sample{Types: map[string]graph.Type{"x": graph.T(graph.Float32, graph.N(8))}}); err == nil || err.Error() != "a: start of slice: dim(0.5, -1) is not known" {
		t.Errorf("of a number: %v", err)
	}
}

// TestMatch: what a match says of itself.
func TestMatch(t *testing.T) {
	p, m, g := first(t, `match: {r: "arange(stop=$n)", a: "rms_norm(x, w?, eps=$e)", s: "kernel.swiglu(a, u)", t: exp(s), y: "add(t, r)"}`+"\n    replace: {y: x}", `
  input x : float32[4]
  input u : float32[4]
  r = arange(stop=4) : int32[4]
  a = rms_norm(x, eps=1.0) : float32[4] @ A
  s = kernel.swiglu(a, u) : float32[4] @ S
  n = exp(s) : float32[4]
  y = add(n, r) : float32[4] @ Y
  output y = y`)
	for name, there := range map[string]bool{"x": true, "a": true, "y": true, "r": true, "w": false, "none": false} {
		if v, ok := m.Value(g, name); ok != there || ok == (v == graph.None) {
			t.Errorf("%s: value %d, %t", name, v, ok)
		}
	}
	if v, _ := m.Value(g, "s"); g.Def(v).Scope != "S" {
		t.Errorf("s is at %s", g.Def(v).Scope)
	}
	if m.Var("e") == nil || m.Var("n") == nil || m.Var("k") != nil {
		t.Errorf("variables e %v, n %v, k %v", m.Var("e"), m.Var("n"), m.Var("k"))
	}
	b := m.Bindings(g)
	if v := b.Values["y"]; len(b.Values) != len(p.Names()) || g.Def(v).Scope != "Y" || len(b.Vars) != 2 || b.Values["w"] != graph.None {
		t.Errorf("bindings %v", b)
	}
	// The range may stay, and what is left is rms_norm, the kernel, exp and add.
	if c := p.Cost(); c.Launches != 4 || c.Own != 3 || p.Size() != 5 {
		t.Errorf("%d launches, %d of them MLX's, %d nodes", c.Launches, c.Own, p.Size())
	}
	for op, has := range map[string]bool{"add": true, "rms_norm": true, "log": false} {
		if p.HasOp(map[*graph.Op]bool{graph.LookupOp(op): true}) != has {
			t.Errorf("has op %s: not %t", op, has)
		}
	}
	var lines []string
	for i := range p.Size() {
		lines = append(lines, p.Line(i))
	}
	if got := strings.Join(lines, " "); got != "r a s t y" {
		t.Errorf("lines %s", got)
	}
}

// TestBetter: a miss that got further is nearer; of two that got as far, that of the
// smaller pattern.
func TestBetter(t *testing.T) {
	small, large := &Pattern{nodes: make([]pnode, 3)}, &Pattern{nodes: make([]pnode, 5)}
	one, two := &Miss{Pattern: small, Matched: 1}, &Miss{Pattern: small, Matched: 2}
	of5 := &Miss{Pattern: large, Matched: 2}
	for _, c := range []struct {
		m, o *Miss
		want bool
	}{{one, nil, true}, {two, one, true}, {one, two, false}, {two, two, false}, {two, of5, true}, {of5, two, false}, {of5, one, true}, {one, of5, false}} {
		if got := c.m.Better(c.o); got != c.want {
			t.Errorf("%+v better than %+v: %t", c.m, c.o, got)
		}
	}
}

// TestRarest: a search begins at the op that is rarest in the graph, the first of those,
// and nowhere if one is missing.
func TestRarest(t *testing.T) {
	g := graphOf(t, `
  input x : float32[4]
  a = exp(x) : float32[4]
  b = exp(a) : float32[4]
  c = sin(b) : float32[4]
  d = cos(c) : float32[4]
  e = tanh(d) : float32[4]
  f = tanh(e) : float32[4]
  output f = f`)
	for rule, want := range map[string]int{
		"match: {a: sin(x), y: exp(a)}": 0, "match: {a: exp(x), y: sin(a)}": 1, "match: {a: exp(x), b: sin(a), y: cos(b)}": 1,
		"match: {a: cos(x), b: sin(a), y: exp(b)}": 0, "match: {a: exp(x), b: tanh(a), y: sin(b)}": 2, "match: {a: exp(x), y: log(a)}": -1,
	} {
		if got := compile(t, rule+"\n    replace: {y: x}")[0].rarest(NewIndex(g)); got != want {
			t.Errorf("%s: begins at %d, not %d", rule, got, want)
		}
	}
}

// TestReaders: of the readers of a value, 32 are tried and no more.
func TestReaders(t *testing.T) {
	for wrong, want := range map[int]int{0: 1, 31: 1, 32: 0, 40: 0} {
		text := "input x : float32[4]\ninput u : float32[4]\na = exp(x) : float32[4]\n"
		outputs := "output a = a\n"
		for i := range wrong {
			text += fmt.Sprintf("w%d = add(x, u) : float32[4]\n", i)
			outputs += fmt.Sprintf("output w%d = w%d\n", i, i)
		}
		g := graphOf(t, text+"b = add(x, u) : float32[4]\ny = sin(b) : float32[4]\n"+outputs+"output y = y\n")
		p := compile(t, `match: {a: exp(x), b: "add(x, u)", y: sin(b)}`+"\n    results: [a, y]\n    replace: {a: x, y: x}")[0]
		found := 0
		s := &search{p: p, ix: NewIndex(g), g: g}
		for _, id := range s.ix.ofOp(graph.LookupOp("exp")) {
			if s.at(0, id) {
				found++
			}
		}
		if found != want {
			t.Errorf("behind %d readers that do not fit: %d matches, not %d", wrong, found, want)
		}
	}
}

// TestManyPaths: the check for paths that come back goes to each node once, however many
// paths lead there.
func TestManyPaths(t *testing.T) {
	text := "input x : float32[4]\np = log(x) : float32[4]\nv0 = negative(p) : float32[4]\n"
	for i := range 60 {
		text += fmt.Sprintf("a%d = exp(v%d) : float32[4]\nb%d = sin(v%d) : float32[4]\nv%d = add(a%d, b%d) : float32[4]\n", i, i, i, i, i+1, i, i)
	}
	g := graphOf(t, text+"q = tan(x) : float32[4]\noutput q = q\noutput v = v60\n")
	found := 0
	for _, p := range compile(t, "match: {p: log(x), q: tan(x)}\n    replace: {p: x, q: x}") {
		p.Find(NewIndex(g), func(*Match) { found++ })
	}
	if found != 1 {
		t.Errorf("%d matches", found)
	}
}
