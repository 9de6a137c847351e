package proof

import (
	"context"
	"math/rand/v2"
	"testing"

	"zmlx-rewrite/graph"
)

// TestAsOnCUDA: what a rule that unpacks a matrix first is held against on CUDA is MLX's product of
// many rows, which rounds each weight; elsewhere it is one that does not.
func TestAsOnCUDA(t *testing.T) {
	const head = `zmlx 1
program p
case all
  input x : bfloat16[3, 64]
  input w : uint32[8, 8]
  input s : bfloat16[8, 1]
  input b : bfloat16[8, 1]
`
	read := func(text string) *graph.Graph {
		p, issues := graph.ParseText("p.zg", []byte(head+text), nil)
		if issues.HasErrors() {
			t.Fatal(issues)
		}
		return p.Cases[0].Graph
	}
	before := read("  y = quantized_matmul(x, w, s, b) : bfloat16[3, 8]\n  output out = y\n")
	after := read("  d = dequantize(w, s, b) : bfloat16[8, 64]\n  t = transpose(d, axes=[1, 0]) : bfloat16[64, 8]\n  y = matmul(x, t) : bfloat16[3, 8]\n  output out = y\n")
	// A product in float32 unpacks in float32, whatever its scales are.
	mixed := read("  x2 = astype(x, dtype=float32) : float32[3, 64]\n  z = quantized_matmul(x2, w, s, b) : float32[3, 8]\n  y = astype(z, dtype=bfloat16) : bfloat16[3, 8]\n  output out = y\n")
	// mxfp4 has no biases, and its numbers are the same in any type.
	const fp4 = "  e = astype(s, dtype=uint8) : uint8[8, 1]\n  f = concatenate(e, e, axis=-1) : uint8[8, 2]\n"
	packed := read(fp4 + "  y = quantized_matmul(x, w, f, bits=4, group_size=32, mode=\"mxfp4\") : bfloat16[3, 8]\n  output out = y\n")
	unpacked := read(fp4 + "  d = dequantize(w, f, bits=4, group_size=32, mode=\"mxfp4\") : bfloat16[8, 64]\n  t = transpose(d, axes=[1, 0]) : bfloat16[64, 8]\n  y = matmul(x, t) : bfloat16[3, 8]\n  output out = y\n")
	if g, err := (&pair{target: "cuda", before: packed, after: unpacked}).asOnCUDA(); err != nil || g.Cost().Packed != 0 {
		t.Errorf("mxfp4: %v", err)
	}
	for _, c := range []struct {
		target        string
		before, after *graph.Graph
		rounded       bool
	}{{"cuda", before, after, true}, {"metal", before, after, false}, {"cuda", before, before, false}, {"cuda", mixed, after, false}} {
		p := &pair{in: &Instance{Program: &graph.Program{}}, target: c.target, before: c.before, after: c.after}
		g, err := p.asOnCUDA()
		if err != nil {
			t.Fatal(err)
		}
		if rounded := g.Cost().Packed == 0; rounded != c.rounded {
			t.Errorf("on %s: unpacked is %v\n%s", c.target, rounded, g)
		}
		in, err := p.sample(context.Background(), rand.New(rand.NewPCG(1, 1)), normalStyle)
		if err != nil {
			t.Fatal(err)
		}
		got, err1 := runRef(context.Background(), g, in)
		want, err2 := runRef(context.Background(), after, in)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if same := firstDifference(got["out"], want["out"]) < 0; same != c.rounded {
			t.Errorf("on %s: the same bits as unpacked by hand: %v", c.target, same)
		}
	}
}
