package graph

import (
	"strings"
	"testing"
)

// splitHalf is a kernel with two results, for tests of what the op table lacks.
var splitHalf = &Op{Name: "kernel.split_half", Operands: operands("x", "shift?", "scale?"), Results: 2, Launches: 1,
	Attrs: []AttrSpec{{Name: "mode", Kind: KindWord, Default: Str("plain")}, floatDefault("eps", 1e-6)},
	Infer: func(c *Call) ([]Type, error) { return []Type{c.In[0], c.In[0]}, nil }}

func testResolve(name string) *Op {
	if name == splitHalf.Name {
		return splitHalf
	}
	return nil
}

const sample = `zmlx 1
program llama
param ` + "`a+b.weight`" + ` : uint32[3072, 72] = concat(model.a.weight, model.b.weight, axis=-2)
param lut : float32[3] = permute(lut.file, axis=-1, perm=[2, 0, 1])
param lut.file : float32[3]
param model.a.biases : float16[1536, 18] quant("model.a", part="biases", mode="affine", bits=4, group_size=32)
param model.a.scales : float16[1536, 18] quant("model.a", part="scales", mode="affine", bits=4, group_size=32)
param model.a.weight : uint32[1536, 72] quant("model.a", part="weight", mode="affine", bits=4, group_size=32)
param model.b.weight : uint32[1536, 72]
param model.norm.weight : float16[576]
param v2 : float16[4, 576]
case decode when seq_len == 1 && batch <= 8
  input tokens : int32[batch, 1]
  input ` + "`cache 0`" + ` : float16[batch, 3, kv_cap, 64]
  v0 = take(v2, tokens, axis=-2) : float16[batch, 1, 576] @ model.embed_tokens
  v1 = rms_norm(v0, model.norm.weight, eps=1e-05) : float16[batch, 1, 576] @ model.layers.0
  v3 = quantized_matmul(v1, model.a.weight, model.a.scales, model.a.biases, group_size=32) : float16[batch, 1, 1536] @ ` + "`model layers`" + `
  v4 = constant(1.5) : float32[]
  v5, v6 = kernel.split_half(v3, none, v4, mode="fast") : float16[batch, 1, 1536], float16[batch, 1, 1536]
  v7 = slice(v6, axis=-1, stop=kv_cap - 1) : float16[batch, 1, kv_cap - 1]
  v8 = constant("base64:AAABAAIA") : int16[3]
  v9 = constant(nan) : bfloat16[]
  v10 = constant(-inf) : float16[]
  v11 = constant(true) : bool[]
  v12 = constant(-9223372036854775808) : int64[]
  output logits = v5
  output ` + "`cache 0`" + ` = ` + "`cache 0`" + `
case
  input tokens : int32[batch, seq_len]
  input ` + "`cache 0`" + ` : float16[batch, 3, kv_cap, 64]
  output logits = lut
  output ` + "`cache 0`" + ` = tokens
`

func mustParse(t testing.TB, text string) *Program {
	t.Helper()
	p, issues := ParseText("test.zg", []byte(text), testResolve)
	if err := issues.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTextRoundTrip(t *testing.T) {
	p := mustParse(t, sample)
	got := string(p.Text())
	if got != sample {
		t.Errorf("printed:\n%s\nread:\n%s", got, sample)
	}
	if q := mustParse(t, got); q.Hash() != p.Hash() {
		t.Error("the hash changes with a round trip")
	}
	q := mustParse(t, strings.Replace(sample, "program llama\n", "program llama\nwindow 128\n", 1))
	if q.Window != 128 || q.Hash() == p.Hash() || mustParse(t, string(q.Text())).Window != 128 {
		t.Errorf("a window of 128 was read as %d, with the same hash: %v", q.Window, q.Hash() == p.Hash())
	}
	one := "param model.norm.weight : float16[576]\nparam norm.one : float16[576] = increment(model.norm.weight)\n"
	text := strings.Replace(sample, "param model.norm.weight : float16[576]\n", one, 1)
	if p := mustParse(t, text); string(p.Text()) != text || p.Verify() != nil {
		t.Errorf("printed:\n%s\nread:\n%s\n%v", p.Text(), text, p.Verify())
	}
	if err := p.Verify(); err != nil {
		t.Error(err)
	}
}

func TestReshapedParameter(t *testing.T) {
	const text = "zmlx 1\nprogram small\nparam a : uint8[2, 3, 4] = reshape(b, shape=[2, 3, 4])\nparam b : uint8[6, 4]\ncase\n  output o = b\n"
	p := mustParse(t, text)
	if got := string(p.Text()); got != text {
		t.Errorf("printed:\n%s\nread:\n%s", got, text)
	}
	other := strings.ReplaceAll(text, "2, 3, 4", "3, 2, 4")
	if mustParse(t, other).Hash() == p.Hash() {
		t.Error("the shape does not count in the hash")
	}
	d := *p.Param("a").From
	for _, shape := range [][]int{nil, {24, 2}, {5}, {-6, -4}, {0}, {1 << 62, 4, 24}} {
		d.Shape = shape
		if got, err := d.Infer([]Type{T(Uint8, N(6), N(4))}); err == nil {
			t.Errorf("24 elements as %v are %s", shape, got)
		}
	}
}
