package routing

import (
	"math"
	"testing"

	"zmlx-rewrite/graph"
)

// TestSum: figures of four tokens over four experts, counted by hand.
func TestSum(t *testing.T) {
	tokens := []Token{
		{[]int{0, 1}, []float64{0.5, 0.5}}, {[]int{1, 0}, []float64{1, 0}},
		{[]int{0, 2}, []float64{0.5, 0.5}}, {[]int{0, 1}, []float64{0.5, 0.5}},
	}
	s := Sum("l", 4, 2, tokens)
	if s.Counts[0] != 4 || s.Counts[1] != 3 || s.Counts[2] != 1 || s.Unused != 1 || s.Load != 2 || s.Mixing != 0.75 {
		t.Errorf("%+v", s)
	}
	// 4/8, 3/8, 1/8
	if want := 0.5 + 3.0/8*math.Log2(8.0/3) + 3.0/8; math.Abs(s.Entropy-want) > 1e-12 || math.Abs(s.Balance-want/2) > 1e-12 {
		t.Errorf("entropy %v, want %v", s.Entropy, want)
	}
	if p := s.Together[0]; p != (Pair{0, 1, 3, 1}) {
		t.Errorf("%+v", s.Together)
	}
	if top := s.Top(2); top[0] != 0 || top[1] != 1 {
		t.Errorf("%v", top)
	}
	if s.Weights[0] != 1.5 {
		t.Errorf("%v", s.Weights)
	}
}

// TestCompare: the order of a token's experts does not count, another expert does, and weights
// are compared by expert.
func TestCompare(t *testing.T) {
	a := Trace{{{[]int{3, 1}, []float64{0.75, 0.25}}, {[]int{0, 2}, []float64{0.5, 0.5}}}}
	b := Trace{{{[]int{1, 3}, []float64{0.25, 0.75}}, {[]int{0, 2}, []float64{0.5, 0.5}}}}
	if d := Compare(a, b); d.Other != 0 || d.Weight != 0 || d.First != -1 || d.Tokens != 2 {
		t.Errorf("%+v", d)
	}
	b[0][0].Weights = []float64{0.75, 0.25}
	if d := Compare(a, b); d.Weight != 0.5 {
		t.Errorf("swapped weights: %+v", d)
	}
	b[0][1].IDs = []int{0, 3}
	if d := Compare(a, b); d.Other != 1 || d.First != 1 || d.Layer != 0 {
		t.Errorf("another expert: %+v", d)
	}
}

// TestFind: a mixture is found by dataflow. A table of embeddings, whose rows are chosen too,
// is none, and neither is a product of a batch of matrices.
func TestFind(t *testing.T) {
	p, issues := graph.ParseText("t.zg", []byte(`zmlx 1
program p
param emb : float32[100, 8]
param odd : float32[4, 8, 16]
case all
  input tokens : int32[batch, seq_len]
  x = take(emb, tokens, axis=-2) : float32[batch, seq_len, 8]
  input picks : int32[batch, seq_len, 2]
  input scores : float32[batch, seq_len, 2]
  e = expand_dims(x, axis=[-3, -2]) : float32[batch, seq_len, 1, 1, 8]
  y = gather_mm(e, odd, none, picks) : float32[batch, seq_len, 2, 1, 16]
  s = squeeze(y, axis=-2) : float32[batch, seq_len, 2, 16]
  w = expand_dims(scores, axis=-1) : float32[batch, seq_len, 2, 1]
  z = multiply(s, w) : float32[batch, seq_len, 2, 16]
  output out = z
`), nil)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	g := p.Cases[0].Graph
	list := Find(g)
	if len(list) != 1 || list[0].Experts != 4 || list[0].K != 2 || g.InputName(list[0].IDs) != "picks" || g.InputName(list[0].Weights) != "scores" {
		t.Fatalf("%+v", list)
	}
	marked, _, err := Mark(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := marked.Verify(); err != nil {
		t.Fatal(err)
	}
	if len(marked.Cases[0].Graph.Outputs()) != 3 || len(g.Outputs()) != 1 {
		t.Error("the outputs are not added to a copy")
	}
}
