package upcycle

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/gguf"
)

const smollm2 = "../../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"

func needSmolLM2(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(smollm2); err != nil {
		t.Skip("SmolLM2 is not in .cache/models: scripts/setup-model.sh fetches it")
	}
}

// TestWrite reads a slice of two layers back.
func TestWrite(t *testing.T) {
	needSmolLM2(t)
	dir := filepath.Join(t.TempDir(), "made", "moe")
	if err := Write(smollm2, dir, 2); err != nil {
		t.Fatal(err)
	}
	dense, err := models.Load(smollm2)
	if err != nil {
		t.Fatal(err)
	}
	defer dense.Close()
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	read := func(m *models.Model, name string) []byte {
		t.Helper()
		x := m.Weights.Get(name)
		if x == nil {
			t.Fatalf("no tensor %s", name)
		}
		b := make([]byte, x.NumBytes())
		if err := x.ReadInto(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	same := func(name, of string) {
		t.Helper()
		if !bytes.Equal(read(m, name), read(dense, of)) {
			t.Errorf("%s is not %s", name, of)
		}
	}
	same("model.layers.1.self_attn.q_proj.scales", "model.layers.1.self_attn.q_proj.scales")
	same("model.norm.weight", "model.norm.weight")
	same("lm_head.weight", "model.embed_tokens.weight")
	same("lm_head.biases", "model.embed_tokens.biases")

	packed, one := read(m, "model.layers.1.block_sparse_moe.switch_mlp.down_proj.weight"), read(dense, "model.layers.1.mlp.down_proj.weight")
	if !bytes.Equal(packed, slices.Repeat(one, experts)) {
		t.Error("experts have other packed weights")
	}
	scales, one := read(m, "model.layers.1.block_sparse_moe.switch_mlp.up_proj.scales"), read(dense, "model.layers.1.mlp.up_proj.scales")
	for e, factor := range []float32{0.994, 0.998, 1.002, 1.006} {
		for i := 0; i < len(one); i += 2 {
			want := graph.Float16Bits(float64(float32(graph.DecodeElem(graph.Float16, one[i:])) * factor))
			at := scales[e*len(one)+i:]
			if got := uint16(at[0]) | uint16(at[1])<<8; got != want {
				t.Fatalf("scale %d of expert %d is %04x, want %04x", i/2, e, got, want)
			}
		}
	}
	if p := m.Program.Param("model.layers.0.block_sparse_moe.gate.weight"); p == nil || !p.Type.Equal(graph.T(graph.Float16, graph.N(4), graph.N(576))) {
		t.Errorf("router %+v", p)
	}

	mine, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := dense.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	const text = "<|im_start|>user\nWhy are 365 days ünïque?  <b>&\n\n"
	if a, b := mine.Encode(text, true), theirs.Encode(text, true); !slices.Equal(a, b) || !slices.Equal(m.Stops(mine), dense.Stops(theirs)) {
		t.Errorf("tokens %v, of the file %v; stops %v and %v", a, b, m.Stops(mine), dense.Stops(theirs))
	}
	a, err := m.ChatTemplate()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := dense.ChatTemplate(); err != nil || a.Source != b.Source || a.Extra["eos_token"] != b.Extra["eos_token"] {
		t.Errorf("chat template %q, of the file %q, %v", a.Source, b.Source, err)
	}
}

// TestDeterministic: the same bytes twice; nothing is left of what fails; what is
// there is not written over.
func TestDeterministic(t *testing.T) {
	needSmolLM2(t)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := Ensure(smollm2, a, 1); err != nil {
		t.Fatal(err)
	}
	if err := Write(smollm2, b, 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", stampName} {
		x, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		if y, err := os.ReadFile(filepath.Join(b, name)); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs, %v", name, err)
		}
	}
	before, _ := os.Stat(filepath.Join(a, "config.json"))
	if err := Write(smollm2, a, 1); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a folder that is there: %v", err)
	}
	if err := Ensure(smollm2, a, 1); err != nil {
		t.Error(err)
	}
	if after, err := os.Stat(filepath.Join(a, "config.json")); err != nil || !os.SameFile(before, after) {
		t.Errorf("a folder that fits was written again, %v", err)
	}
	// Of another number of layers: it is stale.
	if err := Ensure(smollm2, a, 2); err != nil {
		t.Error(err)
	}
	if m, err := models.Load(a); err != nil || m.Program.Param("model.layers.1.input_layernorm.weight") == nil {
		t.Errorf("a stale folder was left, %v", err)
	} else {
		m.Close()
	}
	if err := Write(smollm2, filepath.Join(dir, "c"), 31); err == nil {
		t.Error("31 layers of 30")
	}
	if err := Write(smollm2, filepath.Join(a, "config.json", "d"), 1); err == nil {
		t.Error("a folder inside a file")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestReference: what the profile's expectations are checked on is what is made.
func TestReference(t *testing.T) {
	needSmolLM2(t)
	f, err := gguf.Open(smollm2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hf, err := f.HF()
	if err != nil {
		t.Fatal(err)
	}
	got, err := marshal(configOf(hf.Config, hf.Config["quantization"].(map[string]any), 30))
	if err != nil {
		t.Fatal(err)
	}
	const file = "../reference/SmolLM2-135M-MoE.json"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs, %v; got\n%s", file, err, got)
	}
}

// TestRefuses: what is no dense, quantized SmolLM2.
func TestRefuses(t *testing.T) {
	for _, file := range []string{"../gguf/testdata/tiny-qwen3moe.gguf", "../gguf/testdata/tiny-mixtral.gguf", "../gguf/testdata/none.gguf"} {
		dir := filepath.Join(t.TempDir(), "x")
		if err := Ensure(file, dir, 1); err == nil {
			t.Errorf("%s is taken", file)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s left a folder", file)
		}
	}
}
