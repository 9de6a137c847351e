package graph

import (
	"strings"
	"testing"
)

func addTo(t *testing.T, g *Graph, op, scope string, in ...ValueID) ValueID {
	t.Helper()
	out, err := g.Add(LookupOp(op), scope, in)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// A patch gives the graph that the same changes in place give, and leaves the one that
// it began with as it was.
func TestPatch(t *testing.T) {
	typ := T(Float32, N(4))
	build := func() (g *Graph, x, w, a, b ValueID) {
		g = New()
		x, w = g.Input("x", typ), g.Param("w", typ)
		a = addTo(t, g, "exp", "m.0", x)
		b = addTo(t, g, "multiply", "m.0", a, w)
		g.Output("y", addTo(t, g, "negative", "m.1", b))
		return g, x, w, a, b
	}
	// What is put in: multiply(u, add(v, 2)), of which nothing reads the sine.
	h := New()
	u, v := h.Input("u", typ), h.Input("v", typ)
	addTo(t, h, "sin", "", u)
	h.Output("r", addTo(t, h, "multiply", "", u, addTo(t, h, "add", "", v, h.Scalar(Float32, 2))))
	h.Output("u", u)

	g, x, _, a, b := build()
	before := g.String()
	p := g.Patch(0, 0)
	q := p.Param("q", typ, true)
	if p.Param("q", typ, true) != q || p.Param("w", typ, false) != g.Params()["w"] {
		t.Error("a parameter is there twice")
	}
	out, err := p.Graft(h, "m.0", []ValueID{x, q})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Replace(b, a); err != nil { // replaced in turn
		t.Fatal(err)
	}
	if err := p.Replace(a, out[0]); err != nil {
		t.Fatal(err)
	}
	if out[1] != x {
		t.Error("an output that is an input has another value")
	}
	got, err := p.Apply()
	if err != nil {
		t.Fatal(err)
	}
	if g.String() != before {
		t.Error("the graph has changed")
	}

	want, x, _, a, b := build()
	q = want.Param("q", typ)
	r := addTo(t, want, "multiply", "m.0", x, addTo(t, want, "add", "m.0", q, want.Scalar(Float32, 2)))
	if err := want.Replace(b, a); err != nil {
		t.Fatal(err)
	}
	if err := want.Replace(a, r); err != nil {
		t.Fatal(err)
	}
	if err := want.Compact(); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := got.Verify(); err != nil {
		t.Error(err)
	}
}

// What does not fit is an error, not a broken graph.
func TestPatchErrors(t *testing.T) {
	g := New()
	x := g.Input("x", T(Float32, N(4)))
	a := addTo(t, g, "exp", "m", x)
	g.Output("y", a)
	h := New()
	h.Output("r", addTo(t, h, "negative", "", h.Input("u", T(Float16, N(4)))))
	p := g.Patch(0, 0)
	if _, err := p.Graft(h, "m", []ValueID{x}); err == nil || !strings.Contains(err.Error(), "float32[4] for input u of type float16[4]") {
		t.Errorf("a value of another type: %v", err)
	}
	if _, err := p.Graft(h, "m", nil); err == nil {
		t.Error("no values for inputs")
	}
	if err := p.Replace(a, p.Param("w", T(Float32, N(8)), true)); err == nil {
		t.Error("a value of another type takes its place")
	}
	h = New()
	h.Output("r", addTo(t, h, "negative", "", h.Input("u", T(Float32, N(4)))))
	out, err := p.Graft(h, "m", []ValueID{a})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Replace(a, out[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(); err == nil || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("a value that is made of itself: %v", err)
	}
}

func TestAppendAttrKey(t *testing.T) {
	attrs := []Attr{nil, N(1), Sym("n"), Sym("n").Add(N(1)), Dims{}, Dims{N(1)}, Dims{N(1), N(2)}, Float(1), Float(1 + 1e-12), Flag(false), Flag(true), Str(""), Str("a"), Float32, Float16,
		ScalarLiteral(Float32, 1), ScalarLiteral(Float32, 2), ScalarLiteral(Int32, 1), &Literal{Float32, []int{1}, AppendElem(nil, Float32, 1)}}
	seen := map[string]Attr{}
	for _, a := range attrs {
		key := string(AppendAttrKey(nil, a))
		if old, ok := seen[key]; ok {
			t.Errorf("%v and %v have one key", old, a)
		}
		seen[key] = a
	}
	if a, b := AppendAttrKey(nil, ScalarLiteral(Float32, 1)), AppendAttrKey(nil, ScalarLiteral(Float32, 1)); string(a) != string(b) {
		t.Error("equal literals have two keys")
	}
}
