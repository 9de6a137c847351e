package models

import (
	"bytes"
	"math"
	"testing"

	"zmlx-rewrite/graph"
)

// TestRandomWeights: every parameter of a reference configuration has weights, of the
// deviation that keeps activations at their size; parts that are read apart are the same
// bytes as the whole; heavy tails are heavy.
func TestRandomWeights(t *testing.T) {
	for _, name := range []string{"Qwen3-30B-A3B-4bit", "gpt-oss-20b-MXFP4-Q4", "LFM2-8B-A1B-4bit", "gemma-2-9b"} {
		cfg, _ := ReferenceConfig(name)
		p, err := Build(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := RandomWeights(p, 1, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, q := range p.Params {
			if w.Get(q.Name) == nil {
				t.Errorf("%s: no %s", name, q.Name)
			}
		}
	}
	cfg, _ := ReferenceConfig("Qwen3-30B-A3B-4bit")
	p, err := Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string, seed uint64, heavy bool) []byte {
		w, err := RandomWeights(p, seed, heavy)
		if err != nil {
			t.Fatal(err)
		}
		x := w.Get(name)
		data := make([]byte, x.NumBytes())
		if err := x.ReadInto(data); err != nil {
			t.Fatal(err)
		}
		part := make([]byte, 101)
		if _, err := x.ReadAt(part, 333); err != nil || !bytes.Equal(part, data[333:434]) {
			t.Errorf("%s: a part is not the whole's (%v)", name, err)
		}
		return data
	}
	const module = "model.layers.1.self_attn.q_proj"
	codes, scales, biases := read(module+".weight", 1, false), read(module+".scales", 1, false), read(module+".biases", 1, false)
	sum, squares, n := 0.0, 0.0, 0.0
	for i, b := range codes {
		s, o := graph.DecodeElem(graph.BFloat16, scales[i/32*2:]), graph.DecodeElem(graph.BFloat16, biases[i/32*2:])
		for _, c := range []byte{b & 15, b >> 4} {
			v := s*float64(c) + o
			sum, squares, n = sum+v, squares+v*v, n+1
		}
	}
	if d := math.Sqrt(squares/n) * math.Sqrt(2048); d < 0.9 || d > 1.2 || math.Abs(sum/n)*math.Sqrt(2048) > 0.02 {
		t.Errorf("mean %v, deviation %v of a usual one", sum/n, d)
	}
	if bytes.Equal(scales, read(module+".scales", 2, false)) {
		t.Error("another seed gives the same weights")
	}
	most := func(data []byte) float64 {
		top, squares := 0.0, 0.0
		for i := 0; i < len(data); i += 2 {
			v := math.Abs(graph.DecodeElem(graph.BFloat16, data[i:]))
			top, squares = max(top, v), squares+v*v
		}
		return top / math.Sqrt(squares/float64(len(data)/2))
	}
	if a, b := most(scales), most(read(module+".scales", 1, true)); a > 2 || b < 10 {
		t.Errorf("the largest scale is %v times the usual one, with heavy tails %v times", a, b)
	}
}
