package rounding

import (
	"context"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// TestSame says which pairs of graphs round in the same way. y is the result of both.
func TestSame(t *testing.T) {
	const head = "zmlx 1\nprogram p\n"
	for _, c := range []struct {
		name, inputs, a, b string
		same               bool
	}{
		{"sums commute", "x : float16[4]; z : float16[4]", "y = add(x, z) : float16[4]", "y = add(z, x) : float16[4]", true},
		{"and do not associate", "x : float16[4]; z : float16[4]; u : float16[4]",
			"s = add(x, z) : float16[4]\n  y = add(s, u) : float16[4]", "s = add(z, u) : float16[4]\n  y = add(x, s) : float16[4]", false},
		{"differences do not commute", "x : float16[4]; z : float16[4]", "y = subtract(x, z) : float16[4]", "y = subtract(z, x) : float16[4]", false},
		{"elements keep their places", "x : float16[4]", "y = multiply(x, x) : float16[4]",
			"i = arange(start=3, stop=-1, step=-1) : int32[4]\n  r = take(x, i, axis=-1) : float16[4]\n  y = multiply(r, x) : float16[4]", false},
		{"a view of a sum is a sum of views", "x : float16[2, 3]; z : float16[2, 3]",
			"s = add(x, z) : float16[2, 3]\n  y = transpose(s, axes=[1, 0]) : float16[3, 2]",
			"a = transpose(x, axes=[1, 0]) : float16[3, 2]\n  b = transpose(z, axes=[1, 0]) : float16[3, 2]\n  y = add(a, b) : float16[3, 2]", true},
		{"wider and back is nothing", "x : float16[4]", "w = astype(x, dtype=float32) : float32[4]\n  y = astype(w, dtype=float16) : float16[4]",
			"y = reshape(x, shape=[4]) : float16[4]", true},
		{"narrower and back is something", "x : float32[4]", "w = astype(x, dtype=float16) : float16[4]\n  y = astype(w, dtype=float32) : float32[4]",
			"y = reshape(x, shape=[4]) : float32[4]", false},
		{"a step in a wider type is another", "x : float16[4]", "s = multiply(x, x) : float16[4]\n  y = astype(s, dtype=float32) : float32[4]",
			"w = astype(x, dtype=float32) : float32[4]\n  y = multiply(w, w) : float32[4]", false},
		{"but not one that rounds nothing", "x : float16[4]", "s = negative(x) : float16[4]\n  y = astype(s, dtype=float32) : float32[4]",
			"w = astype(x, dtype=float32) : float32[4]\n  y = negative(w) : float32[4]", true},
		{"constants are their values", "x : float16[4]", "c = constant(0.5) : float16[]\n  y = multiply(x, c) : float16[4]",
			"c = constant(0.25) : float16[]\n  y = multiply(x, c) : float16[4]", false},
		{"a product is one with all its operands", "x : float32[2, 8]; w : float32[8, 4]", "y = matmul(x, w) : float32[2, 4]", "y = matmul(x, w) : float32[2, 4]", true},
		{"columns of a wider product are others", "x : float32[2, 8]; w : float32[8, 4]; v : float32[8, 4]", "y = matmul(x, w) : float32[2, 4]",
			"c = concatenate(w, v, axis=-1) : float32[8, 8]\n  m = matmul(x, c) : float32[2, 8]\n  y = slice(m, axis=-1, stop=4) : float32[2, 4]", false},
		{"rows are chosen by known indices", "x : float32[6]; z : float32[4]",
			"i = arange(start=2, stop=6) : int32[4]\n  a = take(x, i, axis=-1) : float32[4]\n  y = add(a, z) : float32[4]",
			"a = slice(x, axis=-1, start=2) : float32[4]\n  y = add(a, z) : float32[4]", true},
		{"rows of one element are summed by nothing", "x : float32[4, 1]", "y = sum(x, axis=-1) : float32[4]", "y = squeeze(x, axis=-1) : float32[4]", true},
	} {
		var sides [2]*Array
		for i, body := range []string{c.a, c.b} {
			text := head + "case all\n"
			for _, in := range strings.Split(c.inputs, "; ") {
				text += "  input " + in + "\n"
			}
			p, issues := graph.ParseText("p.zg", []byte(text+"  "+body+"\n  output y = y\n"), nil)
			if issues.HasErrors() {
				t.Fatalf("%s: %v", c.name, issues)
			}
			out, err := Run(context.Background(), p.Cases[0].Graph, nil)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			sides[i] = out["y"]
		}
		if same := slices.EqualFunc(sides[0].V, sides[1].V, Step.Same); same != c.same {
			t.Errorf("%s: %t", c.name, same)
		}
	}
}
