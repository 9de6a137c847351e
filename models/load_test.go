package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

const smolLM2 = "../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"

// TestLoadSmolLM2 loads the real model: all weights find their place.
func TestLoadSmolLM2(t *testing.T) {
	if _, err := os.Stat(smolLM2); err != nil {
		t.Skip("SmolLM2-135M-Instruct.Q4_1.gguf is not in .cache/models: `make setup` gets it")
	}
	m, err := Load(smolLM2)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Program.Verify(); err != nil {
		t.Error(err)
	}
	if len(m.Program.Params) != m.Weights.Len() {
		t.Errorf("%d parameters for %d tensors", len(m.Program.Params), m.Weights.Len())
	}
	if !slices.Equal(m.EOS, []int{2}) {
		t.Errorf("EOS = %v, want [2]", m.EOS)
	}
	if q := m.Program.Param("model.layers.3.mlp.up_proj.weight"); q == nil || q.Quant == nil || *q.Quant != (graph.Quant{Module: "model.layers.3.mlp.up_proj", Mode: "affine", Bits: 4, GroupSize: 32}) {
		t.Errorf("parameter is %+v", q)
	}
	tok, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if tok.Size() != 49152 {
		t.Errorf("%d tokens", tok.Size())
	}
	c, err := m.ChatTemplate()
	if err != nil || !strings.Contains(c.Source, "<|im_start|>") || c.Extra["eos_token"] != "<|im_end|>" {
		t.Errorf("chat template %q, extra %v, error %v", c.Source, c.Extra, err)
	}
	t.Logf("launches: decode %d, prefill %d", m.Program.Cases[0].Graph.Launches(), m.Program.Cases[1].Graph.Launches())
}

// TestLoadAs widens the real model: codes stay, and every other number is the same.
func TestLoadAs(t *testing.T) {
	if _, err := os.Stat(smolLM2); err != nil {
		t.Skip("SmolLM2-135M-Instruct.Q4_1.gguf is not in .cache/models: `make setup` gets it")
	}
	plain, err := Load(smolLM2)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	m, err := LoadAs(smolLM2, graph.Float32)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range m.Program.Params {
		if q.Type.DType != graph.Float32 && q.Type.DType != graph.Uint32 {
			t.Errorf("%s has type %s", q.Name, q.Type)
		}
	}
	for _, c := range m.Program.Cases {
		for _, o := range c.Graph.Outputs() {
			if got := c.Graph.Type(o.Value); got.DType != graph.Float32 {
				t.Errorf("%s: %s has type %s", c.Name, o.Name, got)
			}
		}
	}
	const name = "model.layers.3.mlp.up_proj.scales"
	narrow, wide := plain.Weights.Get(name), m.Weights.Get(name)
	a, b := make([]byte, narrow.NumBytes()), make([]byte, wide.NumBytes())
	if err := errors.Join(narrow.ReadInto(a), wide.ReadInto(b)); err != nil {
		t.Fatal(err)
	}
	for i := range narrow.Size() {
		if x, y := graph.DecodeElem(narrow.DType, a[2*i:]), graph.DecodeElem(graph.Float32, b[4*i:]); x != y {
			t.Fatalf("element %d is %v, was %v", i, y, x)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := wide.ReadInto(b); err == nil {
		t.Error("the file is not closed")
	}
}

// TestLoadAsHalf rounds a model, but not what chooses its experts, and computes with the
// rounded numbers in float32.
func TestLoadAsHalf(t *testing.T) {
	const dir = "../testdata/trained/lfm2_moe"
	half, err := LoadAs(dir, graph.BFloat16)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	wide, err := LoadAs(dir, graph.BFloat16, graph.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer wide.Close()
	exact, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer exact.Close()
	biases, rounded := 0, 0
	for _, q := range half.Program.Params {
		want := graph.BFloat16
		switch {
		case strings.HasSuffix(q.Name, ".expert_bias"):
			want = graph.Float32
			biases++
		case !q.Type.DType.IsFloat():
			continue
		}
		if q.Type.DType != want {
			t.Errorf("%s is %s", q.Name, q.Type)
		}
		if got := wide.Program.Param(q.Name).Type.DType; got != graph.Float32 {
			t.Errorf("%s is %s in float32", q.Name, got)
		}
		h, w, e := half.Weights.Get(q.Name), wide.Weights.Get(q.Name), exact.Weights.Get(q.Name)
		a, b, c := make([]byte, h.NumBytes()), make([]byte, w.NumBytes()), make([]byte, e.NumBytes())
		if err := errors.Join(h.ReadInto(a), w.ReadInto(b), e.ReadInto(c)); err != nil {
			t.Fatal(err)
		}
		for i := range h.Size() {
			x, y := graph.DecodeElem(h.DType, a[h.DType.Size()*i:]), graph.DecodeElem(graph.Float32, b[4*i:])
			if x != y {
				t.Fatalf("element %d of %s is %v, was %v", i, q.Name, y, x)
			}
			if y != graph.DecodeElem(graph.Float32, c[4*i:]) {
				rounded++
			}
		}
	}
	if biases != 3 || rounded == 0 {
		t.Errorf("%d biases, %d numbers were rounded", biases, rounded)
	}
}

// latent are the model types with multi-head latent attention.
var latent = []string{"deepseek_v3", "deepseek_v32", "glm4_moe_lite", "kimi_k2", "kimi_k25"}

// tinyConfig returns a small configuration of each architecture, changed by edit.
func tinyConfig(t testing.TB, modelType string, edit map[string]any) []byte {
	c := map[string]any{
		"model_type": modelType, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_attention_heads": 4,
		"num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "vocab_size": 100, "rope_theta": 10000.0, "tie_word_embeddings": true,
		"max_position_embeddings": 512, "torch_dtype": "float16",
	}
	if modelType == "qwen3_moe" {
		maps.Copy(c, map[string]any{"num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1, "mlp_only_layers": []int{},
			"moe_intermediate_size": 64, "norm_topk_prob": true})
	}
	if modelType == "mixtral" {
		maps.Copy(c, map[string]any{"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16})
	}
	if modelType == "gpt_oss" {
		maps.Copy(c, map[string]any{"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16, "tie_word_embeddings": false})
	}
	if strings.HasPrefix(modelType, "lfm2") {
		maps.Copy(c, map[string]any{"num_hidden_layers": 3, "layer_types": []string{"conv", "full_attention", "full_attention"}, "head_dim": 16,
			"norm_eps": 1e-6, "conv_bias": false, "conv_L_cache": 3, "block_dim": 64, "block_multiple_of": 32, "block_ffn_dim_multiplier": 1.0,
			"block_auto_adjust_ff_dim": true, "moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": true,
			"use_expert_bias": true, "num_dense_layers": 1})
	}
	if modelType == "qwen3_next" {
		maps.Copy(c, map[string]any{"num_hidden_layers": 4, "full_attention_interval": 2, "num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1, "mlp_only_layers": []int{0},
			"moe_intermediate_size": 64, "shared_expert_intermediate_size": 64, "norm_topk_prob": true, "partial_rotary_factor": 0.25, "linear_num_value_heads": 4,
			"linear_num_key_heads": 2, "linear_key_head_dim": 32, "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4})
	}
	if modelType == "gemma3" || modelType == "gemma3_text" {
		c["sliding_window_pattern"] = 1
	}
	if slices.Contains(latent, modelType) {
		maps.Copy(c, map[string]any{"num_key_value_heads": 4, "head_dim": nil, "tie_word_embeddings": false, "n_routed_experts": 4, "num_experts_per_tok": 2,
			"n_shared_experts": 1, "moe_intermediate_size": 64, "kv_lora_rank": 64, "q_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
			"first_k_dense_replace": 1})
		delete(c, "head_dim")
	}
	for k, v := range edit {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	if modelType == "kimi_k25" {
		whole := map[string]any{"model_type": modelType, "text_config": c}
		for _, k := range []string{"torch_dtype", "quantization", "eos_token_id"} {
			if v, ok := c[k]; ok {
				whole[k] = v
				delete(c, k)
			}
		}
		c = whole
	}
	if modelType == "gemma3" { // all but these are in text_config
		whole, text := map[string]any{}, map[string]any{}
		for k, v := range c {
			if slices.Contains([]string{"model_type", "vocab_size", "torch_dtype", "quantization", "text_config", "eos_token_id"}, k) {
				whole[k] = v
			} else {
				text[k] = v
			}
		}
		if _, ok := whole["text_config"]; !ok {
			whole["text_config"] = text
		}
		c = whole
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustParse(t testing.TB, text []byte) *Config {
	t.Helper()
	c, err := ParseConfig("config.json", text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// zeros returns weights of zeros for all parameters of a program.
func zeros(t testing.TB, p *graph.Program) map[string]*weights.Tensor {
	t.Helper()
	all := map[string]*weights.Tensor{}
	for _, q := range p.Params {
		var shape []int
		for _, d := range q.Type.Shape {
			shape = append(shape, d.Int())
		}
		n, _ := weights.NumBytes(q.Type.DType, shape)
		x, err := weights.New(q.Name, q.Type.DType, shape, weights.Raw(make([]byte, n)))
		if err != nil {
			t.Fatal(err)
		}
		all[q.Name] = x
	}
	return all
}

// writeFolder writes a model's folder.
func writeFolder(t testing.TB, config []byte, tensors map[string]*weights.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	var sorted iter.Seq[*weights.Tensor] = func(yield func(*weights.Tensor) bool) {
		for _, name := range slices.Sorted(maps.Keys(tensors)) {
			if !yield(tensors[name].Renamed(name)) {
				return
			}
		}
	}
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), sorted, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// codes returns the codes and messages of an error's issues, one a line.
func codes(err error) string {
	var list diag.List
	var issue *diag.Issue
	switch {
	case err == nil:
		return ""
	case errors.As(err, &list):
	case errors.As(err, &issue):
		list = diag.List{issue}
	default:
		return err.Error()
	}
	var b strings.Builder
	for _, i := range list {
		b.WriteString(i.Code + " " + i.Scope + i.Message + "\n")
	}
	return b.String()
}

// TestWeightsAreAccountedFor checks that what is missing, left over or of another
// shape is reported by name, all at once.
func TestWeightsAreAccountedFor(t *testing.T) {
	config := tinyConfig(t, "qwen3", nil)
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := zeros(t, p)
	m, err := Load(writeFolder(t, config, w))
	if err != nil {
		t.Fatal(err)
	}
	m.Close()

	delete(w, "model.layers.0.self_attn.q_norm.weight")
	w["model.layers.1.mlp.up_proj.weight"] = w["model.layers.1.mlp.down_proj.weight"]
	w["model.layers.7.mlp.up_proj.weight"] = w["model.norm.weight"]
	w["model.layers.0.mlp.up_proj.bias"] = w["model.norm.weight"]
	w["lm_head.weight"] = w["model.norm.weight"] // dropped: the embeddings are tied
	_, err = Load(writeFolder(t, config, w))
	want := `weights/missing model.layers.0.self_attn.q_norm.weight: the weight is missing; it should be float16[32]
weights/shape model.layers.1.mlp.up_proj.weight: has type float16[64, 128]; config.json asks for shape [128, 64]
weights/unused model.layers.0.mlp.up_proj.bias: a qwen3 model of this configuration has no such weight
weights/unused model.layers.7.mlp.up_proj.weight: a qwen3 model of this configuration has no such weight
`
	if got := codes(err); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestExpertsAreStacked gives a qwen3_moe checkpoint as Hugging Face publishes it,
// with one matrix an expert.
func TestExpertsAreStacked(t *testing.T) {
	config := tinyConfig(t, "qwen3_moe", nil)
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := zeros(t, p)
	const stacked = "model.layers.1.mlp.switch_mlp.up_proj.weight"
	for name, x := range w {
		before, after, ok := strings.Cut(name, ".switch_mlp.")
		if !ok {
			continue
		}
		delete(w, name)
		for e := range x.Shape[0] {
			n := x.NumBytes() / x.Shape[0]
			w[before+".experts."+string(rune('0'+e))+"."+after], err = weights.New("", x.DType, x.Shape[1:], weights.Raw(bytes.Repeat([]byte{byte(e + 1)}, n)))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	m, err := Load(writeFolder(t, config, w))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Program.Verify(); err != nil {
		t.Error(err)
	}
	q, x := m.Program.Param(stacked), m.Weights.Get(stacked)
	if q == nil || q.From == nil || q.From.Op != "stack" || len(q.From.Args) != 4 || x == nil {
		t.Fatalf("parameter %+v, tensor %v", q, x)
	}
	got := make([]byte, x.NumBytes())
	if err := x.ReadInto(got); err != nil {
		t.Fatal(err)
	}
	for e, n := 0, len(got)/4; e < 4; e++ {
		if want := bytes.Repeat([]byte{byte(e + 1)}, n); !bytes.Equal(got[e*n:(e+1)*n], want) {
			t.Errorf("expert %d is not in its place", e)
		}
	}
	if v, ok := m.Weights.ViewOf("model.layers.1.mlp.experts.2.up_proj.weight"); !ok || v.Owner != stacked {
		t.Errorf("expert 2 is not a view of the stack: %+v", v)
	}

	delete(w, "model.layers.0.mlp.experts.3.down_proj.weight")
	_, err = Load(writeFolder(t, config, w))
	if got, want := codes(err), "weights/missing model.layers.0.mlp.experts.3.down_proj.weight: the weight is missing, and that of expert 0 is there\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPublishedLFM2 gives an lfm2_moe checkpoint the names and layouts of Hugging Face:
// w1, w2 and w3, one matrix an expert, filters with their taps last.
func TestPublishedLFM2(t *testing.T) {
	config := tinyConfig(t, "lfm2_moe", nil)
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := zeros(t, p)
	names := strings.NewReplacer("gate_proj", "w1", "down_proj", "w2", "up_proj", "w3")
	for name, x := range w {
		before, after, expert := strings.Cut(name, ".switch_mlp.")
		switch {
		case strings.HasSuffix(name, "conv.conv.weight"):
			data := make([]byte, x.NumBytes())
			for i := range data {
				data[i] = byte(i)
			}
			// The 3 taps of a channel stand together either way: the bytes stay.
			if w[name], err = weights.New("", x.DType, []int{64, 1, 3}, weights.Raw(data)); err != nil {
				t.Fatal(err)
			}
		case expert:
			delete(w, name)
			for e := range x.Shape[0] {
				n := x.NumBytes() / x.Shape[0]
				if w[fmt.Sprintf("%s.experts.%d.%s", before, e, names.Replace(after))], err = weights.New("", x.DType, x.Shape[1:], weights.Raw(make([]byte, n))); err != nil {
					t.Fatal(err)
				}
			}
		case strings.Contains(name, ".feed_forward."):
			delete(w, name)
			w[names.Replace(name)] = x
		}
	}
	m, err := Load(writeFolder(t, config, w))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Program.Verify(); err != nil {
		t.Error(err)
	}
	conv := m.Weights.Get("model.layers.0.conv.conv.weight")
	data := make([]byte, conv.NumBytes())
	if err := conv.ReadInto(data); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(conv.Shape, []int{64, 3, 1}) || data[5] != 5 || data[100] != 100 {
		t.Errorf("the filter is %v, %v", conv.Shape, data[:8])
	}
	if q := m.Program.Param("model.layers.1.feed_forward.switch_mlp.up_proj.weight"); q == nil || q.From == nil || len(q.From.Args) != 4 ||
		q.From.Args[2] != "model.layers.1.feed_forward.experts.2.up_proj.weight" {
		t.Errorf("experts are %+v", q)
	}
	if m.Weights.Get("model.layers.0.feed_forward.gate_proj.weight") == nil {
		t.Error("w1 of the dense layer has kept its name")
	}

	// A filter of a shape that is neither is refused by its name.
	if w["model.layers.0.conv.conv.weight"], err = weights.New("", graph.Float16, []int{3, 64, 1}, weights.Raw(make([]byte, 384))); err != nil {
		t.Fatal(err)
	}
	_, err = Load(writeFolder(t, config, w))
	if got, want := codes(err), "weights/shape model.layers.0.conv.conv.weight: has type float16[3, 64, 1]; config.json asks for shape [64, 3, 1]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestQuantizedExpertsAreStacked gives a mixtral checkpoint of mlx-lm's first days,
// where each expert is a module with weight, scales and biases.
func TestQuantizedExpertsAreStacked(t *testing.T) {
	config := tinyConfig(t, "mixtral", map[string]any{"quantization": map[string]any{"group_size": 32, "bits": 4}})
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := zeros(t, p)
	for name, x := range w {
		before, after, ok := strings.Cut(name, ".switch_mlp.")
		if !ok {
			continue
		}
		delete(w, name)
		after = strings.NewReplacer("gate_proj", "w1", "down_proj", "w2", "up_proj", "w3").Replace(after)
		for e := range x.Shape[0] {
			n := x.NumBytes() / x.Shape[0]
			if w[before+".experts."+string(rune('0'+e))+"."+after], err = weights.New("", x.DType, x.Shape[1:], weights.Raw(make([]byte, n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	m, err := Load(writeFolder(t, config, w))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Program.Verify(); err != nil {
		t.Error(err)
	}
	const module = "model.layers.0.block_sparse_moe.switch_mlp.down_proj"
	for _, part := range []string{"weight", "scales", "biases"} {
		q := m.Program.Param(module + "." + part)
		if q == nil || q.From == nil || q.From.Op != "stack" || q.From.Args[3] != "model.layers.0.block_sparse_moe.experts.3.w2."+part ||
			q.Part != part || q.Quant == nil || *q.Quant != (graph.Quant{Module: module, Mode: "affine", Bits: 4, GroupSize: 32}) {
			t.Errorf("%s: %+v", part, q)
		}
	}

	delete(w, "model.layers.0.block_sparse_moe.experts.2.w1.scales")
	_, err = Load(writeFolder(t, config, w))
	if got, want := codes(err), "weights/missing model.layers.0.block_sparse_moe.experts.2.w1.scales: the weight is missing; it should be float16[128, 2]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestQuantizationComesFromWeights: modules that config.json does not name are
// packed as their weights are; those that it names, as it says.
func TestQuantizationComesFromWeights(t *testing.T) {
	packed := map[string]any{"quantization": map[string]any{"group_size": 64, "bits": 8, "model.layers.0.self_attn.q_proj": false,
		"model.layers.1.self_attn.q_proj": map[string]any{"group_size": 32, "bits": 6}}}
	p, err := Build(mustParse(t, tinyConfig(t, "llama", packed)), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The folder says 4 bits where nothing is named; what is there has 8.
	packed["quantization"].(map[string]any)["bits"] = 4
	m, err := Load(writeFolder(t, tinyConfig(t, "llama", packed), zeros(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for module, want := range map[string]*graph.Quant{
		"model.layers.0.self_attn.q_proj": nil,
		"model.layers.1.self_attn.q_proj": {Mode: "affine", Bits: 6, GroupSize: 32},
		"model.layers.1.self_attn.k_proj": {Mode: "affine", Bits: 8, GroupSize: 64},
		"model.embed_tokens":              {Mode: "affine", Bits: 8, GroupSize: 64},
	} {
		got := m.Program.Param(module + ".weight").Quant
		if want != nil {
			want.Module = module
		}
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, want %+v", module, got, want)
		}
	}
}

// TestLoadFromHub resolves an id in the layout of huggingface_hub.
func TestLoadFromHub(t *testing.T) {
	config := tinyConfig(t, "llama", nil)
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_HOME", home)
	repo := filepath.Join(home, "hub", "models--org--tiny")
	for _, dir := range []string{"snapshots", "refs"} {
		if err := os.MkdirAll(filepath.Join(repo, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(writeFolder(t, config, zeros(t, p)), filepath.Join(repo, "snapshots", "abc123")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("org/tiny"); !strings.Contains(codes(err), "model/open") {
		t.Errorf("without refs/main: %v", err)
	}
	if err := os.WriteFile(filepath.Join(repo, "refs", "main"), []byte("abc123"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Load("org/tiny")
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	for _, id := range []string{"org/other", "tiny", "../tiny", "org/tiny/x", "/org/tiny", "org/..", "./tiny"} {
		if _, err := Load(id); !strings.Contains(codes(err), "model/open") {
			t.Errorf("Load(%q) gave %v", id, err)
		}
	}
}

// stops checks where generation ends.
func stops(t *testing.T, path string, want ...int) {
	t.Helper()
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tok, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Stops(tok); !slices.Equal(got, want) {
		t.Errorf("generation ends at %v, not %v", got, want)
	}
}

// A GGUF file names the ends of a text, of a turn and of a message.
func TestStopsOfGGUF(t *testing.T) {
	stops(t, "gguf/testdata/tiny-llama.gguf", 2, 4, 5)
}

// TestFolderText finds the chat template and the tokens that end a generation
// where transformers and mlx-lm do.
func TestFolderText(t *testing.T) {
	config := tinyConfig(t, "llama", map[string]any{"eos_token_id": 7})
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := writeFolder(t, config, zeros(t, p))
	check := func(source, eosToken string, eos ...int) {
		t.Helper()
		m, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c, err := m.ChatTemplate()
		if got, _ := c.Extra["eos_token"].(string); err != nil || c.Source != source || got != eosToken || !slices.Equal(m.EOS, eos) {
			t.Errorf("template %q, eos_token %q, EOS %v, error %v", c.Source, got, m.EOS, err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check("", "", 7)
	write("generation_config.json", "{broken")
	write("tokenizer_config.json", `{"chat_template": "one", "eos_token": {"content": "<e>"}}`)
	check("one", "<e>", 7)
	write("generation_config.json", `{"eos_token_id": [3, 4]}`)
	write("tokenizer_config.json", `{"chat_template": [{"name": "tools", "template": "x"}, {"name": "default", "template": "two"}], "eos_token": "</s>", "bos_token": null}`)
	check("two", "</s>", 3, 4)
	write("chat_template.jinja", "three")
	check("three", "</s>", 3, 4)
	write("tokenizer_config.json", `{"chat_template_type": "deepseek_v32"}`)
	if m, err := Load(dir); err != nil {
		t.Error(err)
	} else {
		if _, err := m.ChatTemplate(); !strings.Contains(codes(err), "model/text") {
			t.Errorf("a template in Python: %v", err)
		}
		m.Close()
	}

	// The tokenizer's own end token counts besides.
	write("tokenizer_config.json", `{"eos_token": "<|im_end|>"}`)
	text, err := os.ReadFile("tokenizer/testdata/smollm.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	write("tokenizer.json", string(text))
	stops(t, dir, 3, 4, 902)
	write("generation_config.json", `{"eos_token_id": 902}`)
	stops(t, dir, 902)
	os.Remove(filepath.Join(dir, "generation_config.json"))
	stops(t, dir, 7, 902)
	os.Remove(filepath.Join(dir, "tokenizer_config.json"))
	stops(t, dir, 7)
	write("tokenizer_config.json", `{"eos_token": "<nowhere>"}`)
	if m, err := Load(dir); err != nil {
		t.Error(err)
	} else {
		if _, err := m.Tokenizer(); !strings.Contains(codes(err), "tokenizer/vocab") {
			t.Errorf("an end token outside of the vocabulary: %v", err)
		}
		m.Close()
	}

	// Kimi's folders have no tokenizer.json.
	os.Remove(filepath.Join(dir, "tokenizer.json"))
	for name, from := range map[string]string{"tiktoken.model": "tiktoken.model", "tokenizer_config.json": "tiktoken.config.json"} {
		text, err := os.ReadFile(filepath.Join("tokenizer/testdata", from))
		if err != nil {
			t.Fatal(err)
		}
		write(name, string(text))
	}
	stops(t, dir, 7, 904)

	m, err := Load(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Tokenizer(); m.Weights != nil || !strings.Contains(codes(err), "model/text") {
		t.Errorf("a configuration alone: weights %v, tokenizer error %v", m.Weights, err)
	}
	write("notes.txt", "x")
	if _, err := Load(filepath.Join(dir, "notes.txt")); !strings.Contains(codes(err), "model/open") {
		t.Errorf("a text file gave %v", err)
	}
}

func BenchmarkLoadSmolLM2(b *testing.B) {
	if _, err := os.Stat(smolLM2); err != nil {
		b.Skip("SmolLM2-135M-Instruct.Q4_1.gguf is not in .cache/models: `make setup` gets it")
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := Load(smolLM2)
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}

// TestLFM2FromGGUF: the names and the configuration that a GGUF file gives make a model.
func TestLFM2FromGGUF(t *testing.T) {
	for _, name := range []string{"tiny-lfm2", "tiny-lfm2moe"} {
		m, err := Load("gguf/testdata/" + name + ".gguf")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer m.Close()
		if err := m.Program.Verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if q := m.Program.Param("model.layers.2.conv.conv.weight"); q == nil || q.Type.String() != "float32[64, 3, 1]" {
			t.Errorf("%s: the filter is %+v", name, q)
		}
	}
}
