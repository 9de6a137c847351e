package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// The norms of Gemma give back the file's numbers when 1 is added, or the file is refused.
func TestGemmaNorms(t *testing.T) {
	data, err := os.ReadFile("testdata/tiny-gemma3.gguf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("tiny-gemma3.gguf", data)
	if err != nil {
		t.Fatal(err)
	}
	hf, err := f.HF()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.Store()
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for name, path := range map[string]string{"output_norm": "model.norm", "blk.5.attn_q_norm": "model.layers.5.self_attn.q_norm", "blk.0.ffn_norm": "model.layers.0.pre_feedforward_layernorm"} {
		stored, weight := raw.Get(name+".weight"), hf.Weights.Get(path+".weight")
		if stored == nil || weight == nil {
			t.Fatalf("no %s, or no %s", name, path)
		}
		a, b := make([]byte, stored.NumBytes()), make([]byte, weight.NumBytes())
		if stored.ReadInto(a) != nil || weight.ReadInto(b) != nil || len(a) != len(b) {
			t.Fatalf("%s cannot be read", name)
		}
		for i := 0; i < len(a); i += 4 {
			if v, w := graph.DecodeElem(graph.Float32, a[i:]), graph.DecodeElem(graph.Float32, b[i:]); float64(float32(1+w)) != v {
				t.Errorf("%s: 1 + %v is not %v", name, w, v)
			}
		}
		norms++
	}
	if norms != 3 {
		t.Errorf("%d norms", norms)
	}

	at := bytes.Index(data, first(t, raw.Get("blk.2.ffn_norm.weight").ReadInto, 128))
	if at < 0 {
		t.Fatal("the norm is not in the file")
	}
	for _, v := range []float32{1e-10, -0.1, float32(math.Inf(1)), float32(math.NaN())} {
		bad := slices.Clone(data)
		binary.LittleEndian.PutUint32(bad[at+4:], math.Float32bits(v))
		f, err := Parse("bad.gguf", bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.HF(); err == nil || !strings.Contains(err.Error(), `tensor "blk.2.ffn_norm.weight": element 1, `) || !strings.Contains(err.Error(), "is not 1 more than any number of type float32") {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func first(t *testing.T, read func([]byte) error, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if err := read(b); err != nil {
		t.Fatal(err)
	}
	return b
}
