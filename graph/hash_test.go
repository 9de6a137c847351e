package graph

import (
	"strings"
	"testing"
)

// Each change of the text changes the hash, or does not.
func TestHashSees(t *testing.T) {
	base := mustParse(t, sample).Hash()
	for _, c := range []struct {
		what, old, new string
		same           bool
	}{
		{"program's name", "program llama", "program other", true},
		{"case's name", "case decode when", "case when", true},
		{"scope", "@ model.layers.0\n", "@ elsewhere\n", true},
		{"names of values", "v5, v6", "v50, v6", true}, // with the use below
		{"a dead node", "  v4 = constant(1.5) : float32[]\n", "  v4 = constant(1.5) : float32[]\n  dead = exp(v4) : float32[]\n", true},
		{"order of independent nodes", "  v0 = take(v2, tokens, axis=-2) : float16[batch, 1, 576] @ model.embed_tokens\n", "  v44 = constant(1.5) : float32[]\n  v0 = take(v2, tokens, axis=-2) : float16[batch, 1, 576] @ model.embed_tokens\n", true},
		{"spelling of an axis", "axis=-2) : float16[batch", "axis=0) : float16[batch", true},
		{"spelling of a float", "eps=1e-05", "eps=0.0000100", true},
		{"attribute at its default", "model.a.biases, group_size=32)", "model.a.biases, bits=4, group_size=32)", true},
		{"condition", "seq_len == 1 &&", "seq_len <= 1 &&", false},
		{"float attribute", "eps=1e-05", "eps=1e-06", false},
		{"word", `mode="fast"`, `mode="slow"`, false},
		{"word left out", `, mode="fast"`, "", false},
		{"operand", "split_half(v3, none, v4", "split_half(v3, v4, none", false},
		{"operand left out", "split_half(v3, none, v4", "split_half(v3", false},
		{"constant", "constant(1.5)", "constant(1.25)", false},
		{"type of a constant", "constant(1.5) : float32[]", "constant(1.5) : float64[]", false},
		{"which result", "output logits = v5", "output logits = v6", false},
		{"output's name", "output logits", "output scores", false},
		{"input's type", "seq_len]", "seq_len + 1]", false},
		{"quantization", "bits=4, group_size=32", "bits=8, group_size=32", false},
		{"order of derivation", "concat(model.a.weight, model.b.weight", "concat(model.b.weight, model.a.weight", false},
		{"rows of a permutation", "perm=[2, 0, 1]", "perm=[2, 1, 0]", false},
		{"unused parameter's type", "lut.file : float32[3]", "lut.file : int32[3]", false},
		{"unused parameter", "param v2 ", "param unused : int8[1]\nparam v2 ", false},
		{"unused input", "case\n", "case\n", true},
	} {
		if strings.Count(sample, c.old) == 0 {
			t.Fatalf("%s: nothing to change", c.what)
		}
		text := strings.ReplaceAll(sample, c.old, c.new)
		switch c.what {
		case "names of values":
			text = strings.ReplaceAll(text, "logits = v5", "logits = v50")
		case "unused parameter's type":
			text = strings.ReplaceAll(text, "lut : float32[3]", "lut : int32[3]")
		}
		if got := mustParse(t, text).Hash(); (got == base) != c.same {
			t.Errorf("%s: hash equal is %v", c.what, got == base)
		}
	}
	// An input that nothing reads is part of the signature.
	with := strings.ReplaceAll(sample, "  output logits", "  input extra : int8[]\n  output logits")
	if mustParse(t, with).Hash() == base {
		t.Error("an unused input does not count")
	}
	if mustParse(t, strings.ReplaceAll(with, "extra : int8", "extra : int16")).Hash() == mustParse(t, with).Hash() {
		t.Error("the type of an unused input does not count")
	}
	// Cases in another order are another program.
	p := mustParse(t, sample)
	p.Cases[0], p.Cases[1] = p.Cases[1], p.Cases[0]
	if p.Hash() == base {
		t.Error("the order of cases does not count")
	}
}

func TestValueHashes(t *testing.T) {
	g := New()
	x := g.Input("x", T(Float16, N(4)))
	y := g.Input("y", T(Float16, N(4)))
	a, b := call(t, g, "add", []ValueID{x, y}, nil), call(t, g, "add", []ValueID{x, y}, nil)
	swapped := call(t, g, "add", []ValueID{y, x}, nil)
	c, d := g.Scalar(Float16, 0), g.Scalar(Float16, 0)
	zero := g.Scalar(BFloat16, 0)
	minus := g.Constant(&Literal{DType: Float16, Shape: []int{}, Data: []byte{0, 0x80}})
	h := g.ValueHashes()
	if h[a] != h[b] || h[c] != h[d] {
		t.Error("equal values have different hashes")
	}
	seen := map[Hash]bool{}
	for _, v := range []ValueID{x, y, a, swapped, c, zero, minus} {
		if seen[h[v]] {
			t.Errorf("value %d has the hash of another", v)
		}
		seen[h[v]] = true
	}
}

// The hash is part of file formats: it may not change from one version of the
// project to the next. If this fails on purpose, raise hashVersion.
func TestHashIsStable(t *testing.T) {
	const want = "eaaf51007aee5fae2d2de05aeaa673df5aef223aefb4613c960e7758f9ba1006"
	if got := mustParse(t, sample).Hash().String(); got != want {
		t.Errorf("hash is %s, was %s", got, want)
	}
}
