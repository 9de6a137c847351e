package rewrite

import (
	"fmt"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
)

// tripletProgram has two quantized matrices, m.a and m.b, that read one input.
func tripletProgram(t testing.TB) *graph.Program {
	t.Helper()
	var b strings.Builder
	b.WriteString("zmlx 1\nprogram test\n")
	for _, m := range []string{"m.a", "m.b"} {
		for _, part := range []struct{ name, typ string }{{"biases", "float32[64, 2]"}, {"scales", "float32[64, 2]"}, {"weight", "uint32[64, 8]"}} {
			fmt.Fprintf(&b, "param %s.%s : %s quant(%q, part=%q, mode=\"affine\", bits=4, group_size=32)\n", m, part.name, part.typ, m, part.name)
		}
	}
	b.WriteString(`case all
  input x : float32[1, 64]
  a = quantized_matmul(x, m.a.weight, m.a.scales, m.a.biases, group_size=32) : float32[1, 64]
  b = quantized_matmul(x, m.b.weight, m.b.scales, m.b.biases, group_size=32) : float32[1, 64]
  y = multiply(a, b) : float32[1, 64]
  output out = y
`)
	p, issues := graph.ParseText("test.zg", []byte(b.String()), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return p
}

// TestTriplets: packed weights, scales and biases are put together in one and the same way,
// or the rule is refused at the match.
func TestTriplets(t *testing.T) {
	for _, tt := range []struct{ name, weights, reads, want string }{
		{"alike", "{w: 'concat(wa, wb)', s: 'concat(sa, sb)', z: 'concat(za, zb)'}", "w, s, z", ""},
		{"scales in another order", "{w: 'concat(wa, wb)', s: 'concat(sb, sa)', z: 'concat(za, zb)'}", "w, s, z",
			"m.a+b.weight is rearranged in another way than its scales, m.b+a.scales"},
		{"biases in another order", "{w: 'concat(wa, wb)', s: 'concat(sa, sb)', z: 'concat(zb, za)'}", "w, s, z",
			"m.a+b.weight is rearranged in another way than its biases, m.b+a.biases"},
		{"no scales", "{w: 'concat(wa, wb)', z: 'concat(za, zb)'}", "w, sa, z", "m.a+b.weight is rearranged without its scales"},
		{"both orders, read alike", "{w: 'concat(wa, wb)', s: 'concat(sa, sb)', z: 'concat(za, zb)', w2: 'concat(wb, wa)', s2: 'concat(sb, sa)', z2: 'concat(zb, za)'}",
			"w2, s2, z2", ""},
		{"both orders, read crosswise", "{w: 'concat(wa, wb)', s: 'concat(sa, sb)', z: 'concat(za, zb)', w2: 'concat(wb, wa)', s2: 'concat(sb, sa)', z2: 'concat(zb, za)'}",
			"w, s2, z", "quantized_matmul reads m.a+b.weight with m.b+a.scales, its scales in another order"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := setOf(t, `
zmlx: 1
family: test
rules:
  - name: r
    doc: A rule of this test.
    numerics: reordered
    match:
      a: quantized_matmul(x, wa, sa, za, ...)
      b: quantized_matmul(x, wb, sb, zb, ...)
      y: multiply(a, b)
    weights: `+tt.weights+`
    replace:
      ab: quantized_matmul(x, `+tt.reads+`, group_size=32)
      half: slice(ab, axis=-1, stop=64)
      y: negative(half)
`, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := Run(tripletProgram(t), &Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu"}})
			if err != nil {
				t.Fatal(err)
			}
			c := &res.Cases[0]
			got := ""
			for _, r := range c.Refusals(set.Rules()[0]) {
				_, got = r.Detail()
			}
			if got != tt.want || (len(c.Sites) == 1) != (tt.want == "") {
				t.Errorf("%d sites, refused with %q, not %q", len(c.Sites), got, tt.want)
			}
		})
	}
}

// TestTripletsOfMade: what an earlier round made of a part of a matrix has scales as well,
// though none of the names that a loaded model gives them.
func TestTripletsOfMade(t *testing.T) {
	m := &maker{base: tripletProgram(t)}
	table := newParams(m)
	halves := map[string]*graph.Param{}
	for _, module := range []string{"m.a", "m.b"} {
		for _, part := range parts {
			q, err := m.param(graph.Derived{Op: "split", Axis: -2, Stop: 32}, []*graph.Param{m.base.Param(module + "." + part)})
			if err != nil {
				t.Fatal(err)
			}
			if err := table.add(q); err != nil {
				t.Fatal(err)
			}
			halves[module+"."+part] = q.Param
		}
	}
	join := func(part, first, second string) *madeParam {
		q, err := m.param(graph.Derived{Op: "concat", Axis: -2}, []*graph.Param{halves[first+"."+part], halves[second+"."+part]})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	w, s, z := join("weight", "m.a", "m.b"), join("scales", "m.a", "m.b"), join("biases", "m.a", "m.b")
	if err := wholeTriplets(table, []*madeParam{w, s, z}); err != nil {
		t.Error(err)
	}
	if wholeTriplets(table, []*madeParam{w, join("scales", "m.b", "m.a"), z}) == nil {
		t.Error("halves are joined with scales in another order")
	}
	if wholeTriplets(table, []*madeParam{w, s}) == nil {
		t.Error("halves are joined without their biases")
	}
}
