package graph

import (
	"math/rand/v2"
	"strings"
	"testing"

	"zmlx-rewrite/graph/syntax"
)

// call adds a node to g, with attributes by name.
func call(t testing.TB, g *Graph, op string, in []ValueID, attrs map[string]Attr) ValueID {
	t.Helper()
	o := mustOp(op)
	list := make([]Attr, len(o.Attrs))
	for k, a := range attrs {
		list[o.AttrIndex(k)] = a
	}
	out, err := g.Add(o, "s", in, list...)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// recipe is a random graph before it gets an order: node i reads nodes below i.
type recipe struct {
	ops     []string
	in      [][]int
	outputs []int
}

func randomRecipe(r *rand.Rand, n int) recipe {
	rec := recipe{}
	for i := range n {
		switch k := r.IntN(4); {
		case i < 2:
			rec.ops, rec.in = append(rec.ops, ""), append(rec.in, nil)
		case k == 0:
			rec.ops, rec.in = append(rec.ops, "exp"), append(rec.in, []int{r.IntN(i)})
		case k == 1:
			rec.ops, rec.in = append(rec.ops, "constant"), append(rec.in, []int{r.IntN(3)})
		default:
			rec.ops, rec.in = append(rec.ops, []string{"add", "subtract"}[r.IntN(2)]), append(rec.in, []int{r.IntN(i), r.IntN(i)})
		}
	}
	for range 3 {
		rec.outputs = append(rec.outputs, r.IntN(n))
	}
	return rec
}

// build adds the nodes of a recipe in the given order of positions, which must
// put operands first. Nodes that no output needs come along.
func (rec recipe) build(t *testing.T, order []int) *Graph {
	g := New()
	ids := make([]ValueID, len(rec.ops))
	x := g.Input("x", T(Float16, Sym("n")))
	for _, i := range order {
		in := make([]ValueID, 0, 2)
		for _, k := range rec.in[i] {
			if rec.ops[i] != "constant" {
				in = append(in, ids[k])
			}
		}
		switch {
		case i == 0:
			ids[i] = x
		case i == 1:
			ids[i] = g.Param("w", T(Float16, Sym("n")))
		case rec.ops[i] == "constant":
			ids[i] = call(t, g, "add", []ValueID{x, g.Scalar(Float16, float64(rec.in[i][0]))}, nil)
		default:
			ids[i] = call(t, g, rec.ops[i], in, nil)
		}
	}
	for k, i := range rec.outputs {
		g.Output(string(rune('a'+k)), ids[i])
	}
	return g
}

// randomOrder is a random topological order of a recipe.
func (rec recipe) randomOrder(r *rand.Rand) []int {
	done := make([]bool, len(rec.ops))
	var order []int
	for len(order) < len(rec.ops) {
		i := r.IntN(len(rec.ops))
		ready := !done[i]
		for _, k := range rec.in[i] {
			ready = ready && (done[k] || rec.ops[i] == "constant")
		}
		if ready {
			done[i] = true
			order = append(order, i)
		}
	}
	return order
}

// Two graphs of the same nodes added in different orders are the same text after
// Compact, and have the same hash before and after.
func TestCompactForgetsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		rec := randomRecipe(r, 2+r.IntN(20))
		g, h := rec.build(t, rec.randomOrder(r)), rec.build(t, rec.randomOrder(r))
		for _, x := range []*Graph{g, h} {
			if err := x.Verify(); err != nil {
				t.Fatal(err)
			}
		}
		if g.Hash() != h.Hash() {
			t.Fatalf("hashes differ:\n%s\n%s", g, h)
		}
		before := g.Hash()
		for _, x := range []*Graph{g, h} {
			if err := x.Compact(); err != nil {
				t.Fatal(err)
			}
			if err := x.Verify(); err != nil {
				t.Fatal(err)
			}
		}
		if g.String() != h.String() {
			t.Fatalf("after Compact:\n%s\n%s", g, h)
		}
		if g.Hash() != before {
			t.Fatalf("Compact changes the hash of\n%s", g)
		}
	}
}

func TestReplace(t *testing.T) {
	g := New()
	x := g.Input("x", T(Float16, N(4)))
	unused := g.Input("unused", T(Int32))
	a := call(t, g, "exp", []ValueID{x}, nil)
	b := call(t, g, "sin", []ValueID{a}, nil)
	g.Output("y", b)
	g.Output("z", a)
	c := call(t, g, "cos", []ValueID{x}, nil)
	d := call(t, g, "tan", []ValueID{c}, nil)
	if err := g.Replace(a, unused); err == nil {
		t.Error("a replacement of another type is taken")
	}
	if err := g.Replace(a, c); err != nil {
		t.Fatal(err)
	}
	if err := g.Replace(c, d); err == nil {
		// d reads c, so that a -> c -> d closes a loop.
		loop := g.Clone()
		if err := loop.VerifyNodes([]NodeID{loop.values[d].Def}); err != nil {
			t.Error(err)
		}
		if err := loop.Compact(); err == nil || !strings.Contains(err.Error(), "cycle") {
			t.Error("a cycle is not found:", err)
		}
	}
	delete(g.repl, c)
	if err := g.Verify(); err == nil {
		t.Error("a graph with pending replacements verifies")
	}
	clone := g.Clone()
	if err := clone.Compact(); err != nil {
		t.Fatal(err)
	}
	want := "  input x : float16[4]\n  input unused : int32[]\n  v0 = cos(x) : float16[4] @ s\n  v1 = sin(v0) : float16[4] @ s\n  output y = v1\n  output z = v0\n"
	if got := clone.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := g.NumNodes(); n != 6 {
		t.Errorf("Compact of a clone leaves %d nodes of the original", n)
	}
}

// Spellings that mean the same to MLX become the same node.
func TestAttributesNormal(t *testing.T) {
	const head = "zmlx 1\ncase\n  input x : float16[n, 6, 8]\n  input i : int32[2]\n"
	for _, c := range []struct{ written, want string }{
		{"sum(x, axis=[2, 0]) : float16[6]", "sum(x, axis=[-3, -1]) : float16[6]"},
		{"sum(x, axis=2, keepdims=false) : float16[n, 6]", "sum(x, axis=-1) : float16[n, 6]"},
		{"softmax(x, axis=2) : float16[n, 6, 8]", "softmax(x) : float16[n, 6, 8]"},
		{"take(x, i, axis=1) : float16[n, 2, 8]", "take(x, i, axis=-2) : float16[n, 2, 8]"},
		{"reshape(x, shape=[-1, 48]) : float16[n, 48]", "reshape(x, shape=[n, 48]) : float16[n, 48]"},
		{"unflatten(x, axis=2, shape=[2, -1]) : float16[n, 6, 2, 4]", "unflatten(x, axis=-1, shape=[2, 4]) : float16[n, 6, 2, 4]"},
		{"transpose(x, axes=[0, -1, 1]) : float16[n, 8, 6]", "transpose(x, axes=[0, 2, 1]) : float16[n, 8, 6]"},
		{"expand_dims(x, axis=[0, -1]) : float16[1, n, 6, 8, 1]", "expand_dims(x, axis=[-5, -1]) : float16[1, n, 6, 8, 1]"},
		{"slice(x, axis=[2], start=[-2]) : float16[n, 6, 2]", "slice(x, axis=-1, start=6) : float16[n, 6, 2]"},
		{"slice(x, axis=[2, 1], start=[0, 1], stop=[8, 3], strides=[1, 1]) : float16[n, 2, 8]", "slice(x, axis=-2, start=1, stop=3) : float16[n, 2, 8]"},
		{"slice(x, axis=[1, 0], stop=[-1, -1]) : float16[n - 1, 5, 8]", "slice(x, axis=[-3, -2], stop=[n - 1, 5]) : float16[n - 1, 5, 8]"},
		{"slice(x, axis=[0], start=[0], stop=[n]) : float16[n, 6, 8]", "slice(x, axis=[]) : float16[n, 6, 8]"},
		{"slice(x, axis=1, strides=[4]) : float16[n, 2, 8]", "slice(x, axis=-2, strides=[4]) : float16[n, 2, 8]"},
		{"argpartition(x, kth=-3, axis=2) : uint32[n, 6, 8]", "argpartition(x, kth=5) : uint32[n, 6, 8]"},
		{"argpartition(x, kth=-1, axis=0) : uint32[n, 6, 8]", "argpartition(x, kth=n - 1, axis=-3) : uint32[n, 6, 8]"},
		{"arange(stop=3, dtype=int32) : int32[3]", "arange(stop=3) : int32[3]"},
		{"rms_norm(x, eps=1) : float16[n, 6, 8]", "rms_norm(x, eps=1.0) : float16[n, 6, 8]"},
		{"rms_norm(x, none, eps=0.00001) : float16[n, 6, 8]", "rms_norm(x, eps=1e-05) : float16[n, 6, 8]"},
		{"sdpa(y, y, y, none, none, scale=1, mask=\"none\") : float16[n, 1, 6, 8]", "sdpa(y, y, y, scale=1.0) : float16[n, 1, 6, 8]"},
	} {
		text := func(call string) string {
			return head + "  y = expand_dims(x, axis=-3) : float16[n, 1, 6, 8]\n  v = " + call + "\n  output o = v\n"
		}
		p, q := mustParse(t, text(c.written)), mustParse(t, text(c.want))
		if got := string(p.Text()); got != string(q.Text()) || !strings.Contains(got, "= "+strings.ReplaceAll(c.want, "y,", "v0,")+"\n") {
			t.Errorf("%s is printed\n%s\nwant %s", c.written, got, c.want)
		}
		if p.Hash() != q.Hash() {
			t.Errorf("%s and %s have two hashes", c.written, c.want)
		}
	}
}

func TestFloatText(t *testing.T) {
	f32 := func(v float32) Float { return Float(v) }
	for v, want := range map[Float]string{
		1: "1.0", f32(1e-5): "1e-05", 1e-5: "1e-05", f32(0.1): "0.1", 0.1: "0.1", 1.0 / 3: "0.3333333333333333", f32(1.0 / 3): "0.33333334",
		1e300: "1e+300", 1 << 30: "1.0737418e+09", -0.125: "-0.125",
	} {
		if got := v.String(); got != want {
			t.Errorf("%v is printed %s, want %s", float64(v), got, want)
		}
	}
}

// Every scalar of 16 bits, and many of the others, reads back bit for bit.
func TestLiteralText(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	check := func(l *Literal) {
		t.Helper()
		e, err := syntax.Parse(l.String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := literalOf(l.Type(), e); err != nil || !got.Equal(l) {
			t.Fatalf("%s %s of bytes % x reads back as %v: %v", l.DType, l.String(), l.Data, got, err)
		}
	}
	checkLine := func(l *Literal) {
		t.Helper()
		check(l)
		text := "zmlx 1\ncase\n  v0 = constant(" + l.String() + ") : " + l.Type().String() + "\n  output o = v0\n"
		p := mustParse(t, text)
		g := p.Cases[0].Graph
		if got := g.Literal(g.Outputs()[0].Value); !got.Equal(l) {
			t.Fatalf("%s of bytes % x reads back as % x", l.String(), l.Data, got.Data)
		}
		if got := string(p.Text()); got != strings.Replace(text, "zmlx 1\n", "zmlx 1\nprogram\n", 1) {
			t.Fatalf("printed %s, read %s", got, text)
		}
	}
	for _, d := range DTypes() {
		n := 300
		if d.Size() <= 2 {
			n = 1 << (8 * d.Size())
		}
		for i := range n {
			data := make([]byte, d.Size())
			for k := range data {
				data[k] = byte(r.Uint32())
				if d.Size() <= 2 {
					data[k] = byte(i >> (8 * k))
				}
			}
			check(&Literal{DType: d, Shape: []int{}, Data: data})
		}
		checkLine(ScalarLiteral(d, 1))
		checkLine(&Literal{DType: d, Shape: []int{0, 3}, Data: []byte{}})
		checkLine(&Literal{DType: d, Shape: []int{1, 2}, Data: make([]byte, 2*d.Size())})
	}
}
