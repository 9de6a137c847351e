package models

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// TestLatentProgramText pins every operation of the families with latent attention.
func TestLatentProgramText(t *testing.T) {
	yarn := map[string]any{"type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 1.0, "original_max_position_embeddings": 64}
	for name, config := range map[string][]byte{
		"glm4_moe_lite-4bit": tinyConfig(t, "glm4_moe_lite", map[string]any{"num_hidden_layers": 1, "first_k_dense_replace": 0, "torch_dtype": "bfloat16",
			"quantization": map[string]any{"group_size": 32, "bits": 4}}),
		"deepseek_v3": tinyConfig(t, "deepseek_v3", map[string]any{"num_hidden_layers": 1, "first_k_dense_replace": 0, "n_routed_experts": 8, "n_group": 2,
			"rope_scaling": yarn}),
		"deepseek_v32":   tinyConfig(t, "deepseek_v32", map[string]any{"num_hidden_layers": 1, "n_routed_experts": nil, "index_n_heads": 2, "index_head_dim": 32}),
		"kimi_k25-dense": tinyConfig(t, "kimi_k25", map[string]any{"num_hidden_layers": 1, "n_routed_experts": nil, "q_lora_rank": nil, "attention_bias": true}),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Build(mustParse(t, config), nil)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "programs", name+".zg"), p.Text())
		})
	}
}

// TestLatentConfigIssues: what mlx-lm ignores and the model does not is refused.
func TestLatentConfigIssues(t *testing.T) {
	for _, c := range []struct {
		modelType, key string
		value          any
		want           string
	}{
		{"glm4_moe_lite", "topk_method", "greedy", `config/unsupported topk_method: "greedy" is not supported; mlx-lm knows noaux_tc`},
		{"deepseek_v3", "scoring_func", "softmax", `config/unsupported scoring_func: mlx-lm always takes sigmoid in this model, not "softmax"`},
		{"deepseek_v3", "n_group", 3, `config/invalid n_group: 3 does not divide n_routed_experts, 4`},
		{"deepseek_v3", "n_group", 4, `config/invalid n_group: groups are scored by their two best experts, and have 1`},
		{"deepseek_v3", "topk_group", 2, `config/invalid topk_group: must be a whole number from 1 to 1, not 2`},
		{"deepseek_v3", "num_experts_per_tok", 5, `config/invalid num_experts_per_tok: must be a whole number from 1 to 4, not 5`},
		{"deepseek_v3", "routed_scaling_factor", 0, `config/invalid routed_scaling_factor: must be a number above 0, not 0`},
		{"deepseek_v3", "num_key_value_heads", 2, `config/unsupported num_key_value_heads: latent attention has as many as num_attention_heads, 4, not 2`},
		{"deepseek_v3", "qk_rope_head_dim", 15, `config/invalid qk_rope_head_dim: must be an even number, not 15`},
		{"deepseek_v3", "kv_lora_rank", 0, `config/invalid kv_lora_rank: must be a whole number from 1 to 1048576, not 0`},
		{"deepseek_v3", "hidden_act", "gelu", `config/unsupported hidden_act: mlx-lm always takes silu in this model, not "gelu"`},
		{"glm4_moe_lite", "tie_word_embeddings", true, `config/unsupported tie_word_embeddings: mlx-lm has a head of its own in this model`},
		{"glm4_moe_lite", "partial_rotary_factor", 0.5, `config/unsupported partial_rotary_factor: mlx-lm rotates all of qk_rope_head_dim in this model`},
		{"glm4_moe_lite", "rope_scaling", map[string]any{"type": "default", "mscale_all_dim": 1}, `config/missing rope_scaling.factor: the key is missing`},
		{"deepseek_v3", "rope_scaling", map[string]any{"type": "linear", "mscale_all_dim": 1e30, "factor": 1e30}, `config/invalid rope_scaling: mscale_all_dim makes the scale of attention 6.88`},
		{"deepseek_v3", "quantization_config", map[string]any{"quant_method": "fp8", "weight_block_size": []int{128, 128}}, `config/unsupported quantization_config.quant_method: "fp8" is not supported`},
		{"deepseek_v32", "index_head_dim", 8, `config/invalid index_head_dim: must be a whole number from 16 to 8192, not 8`},
		{"deepseek_v32", "index_topk", 0, `config/invalid index_topk: must be a whole number from 1 to 1048576, not 0`},
		{"deepseek_v32", "index_n_heads", 257, `config/invalid index_n_heads: must be a whole number from 1 to 256, not 257`},
		{"kimi_k25", "quantization_config", map[string]any{"quant_method": "compressed-tensors"}, `config/unsupported text_config.quantization_config.quant_method: "compressed-tensors" is not supported`},
		{"kimi_k25", "topk_method", "greedy", `config/unsupported text_config.topk_method: "greedy" is not supported; mlx-lm knows noaux_tc`},
	} {
		_, err := ParseConfig("config.json", tinyConfig(t, c.modelType, map[string]any{c.key: c.value}))
		if got := strings.TrimSpace(codes(err)); !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.key, c.value, got, c.want)
		}
	}
	if _, err := ParseConfig("config.json", []byte(`{"model_type": "kimi_k25"}`)); !strings.Contains(codes(err), "config/missing text_config: the key is missing") {
		t.Errorf("without text_config: %v", err)
	}
	// An MLX folder keeps the block of whoever published the model beside its own.
	mlx := map[string]any{"quantization": map[string]any{"group_size": 32, "bits": 4}, "quantization_config": map[string]any{"quant_method": "compressed-tensors"}}
	if _, err := ParseConfig("config.json", tinyConfig(t, "kimi_k25", mlx)); err != nil {
		t.Error(err)
	}
}

// TestNullIsNone: where mlx-lm has a default of its own, null is another thing than a key
// that is not there.
func TestNullIsNone(t *testing.T) {
	for text, want := range map[string]string{
		`{"model_type": "glm4_moe_lite"}`:                                                                  "64 experts, 1 shared, q_lora_rank 768",
		`{"model_type": "glm4_moe_lite", "n_routed_experts": null}`:                                        "0 experts, 1 shared, q_lora_rank 768",
		`{"model_type": "glm4_moe_lite", "n_shared_experts": null, "q_lora_rank": null}`:                   "64 experts, 0 shared, q_lora_rank 0",
		`{"model_type": "glm4_moe_lite", "n_shared_experts": 2, "q_lora_rank": 8, "n_routed_experts": 16}`: "16 experts, 2 shared, q_lora_rank 8",
	} {
		n := mustParse(t, []byte(text)).net.(*glm4MoeLite)
		if got := fmt.Sprintf("%d experts, %d shared, q_lora_rank %d", n.gate.experts, n.sharedExperts, n.attention.qLoraRank); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// published returns weights for a program as they were before mlx-lm's sanitize took
// kv_b_proj apart: element i of each kv_b_proj is the number i.
func published(t *testing.T, config []byte) map[string]*weights.Tensor {
	t.Helper()
	p, err := Build(mustParse(t, config), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := zeros(t, p)
	for name, x := range w {
		if module, ok := strings.CutSuffix(name, ".embed_q.weight"); ok {
			heads, rank, nope := x.Shape[0], x.Shape[1], x.Shape[2]
			v := w[module+".unembed_out.weight"]
			rows := heads * (nope + v.Shape[1])
			data := make([]byte, 0, 4*rows*rank)
			for i := range rows * rank {
				data = binary.LittleEndian.AppendUint32(data, uint32(i))
			}
			if w[module+".kv_b_proj.weight"], err = weights.New("", x.DType, []int{rows, rank}, weights.Raw(data)); err != nil {
				t.Fatal(err)
			}
			delete(w, name)
			delete(w, module+".unembed_out.weight")
		}
	}
	return w
}

// TestKVBIsSplit: kv_b_proj of a published checkpoint becomes a matrix a head for the
// keys, turned, and one for the values.
func TestKVBIsSplit(t *testing.T) {
	edit := map[string]any{"torch_dtype": "float32", "v_head_dim": 48}
	config := tinyConfig(t, "deepseek_v3", edit)
	m, err := Load(writeFolder(t, config, published(t, config)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Program.Verify(); err != nil {
		t.Error(err)
	}
	const heads, nope, value, rank = 4, 32, 48, 64
	read := func(name string, shape ...int) []uint32 {
		x := m.Weights.Get(name)
		if x == nil || !slices.Equal(x.Shape, shape) {
			t.Fatalf("%s: %+v, want shape %v", name, x, shape)
		}
		b := make([]byte, x.NumBytes())
		if err := x.ReadInto(b); err != nil {
			t.Fatal(err)
		}
		var all []uint32
		for ; len(b) > 0; b = b[4:] {
			all = append(all, binary.LittleEndian.Uint32(b))
		}
		return all
	}
	k := read("model.layers.1.self_attn.embed_q.weight", heads, rank, nope)
	v := read("model.layers.1.self_attn.unembed_out.weight", heads, value, rank)
	for h := range heads {
		for r := range rank {
			for i := range nope {
				if got, want := k[(h*rank+r)*nope+i], uint32((h*(nope+value)+i)*rank+r); got != want {
					t.Fatalf("embed_q[%d, %d, %d] is element %d of kv_b_proj, want %d", h, r, i, got, want)
				}
			}
			for i := range value {
				if got, want := v[(h*value+i)*rank+r], uint32((h*(nope+value)+nope+i)*rank+r); got != want {
					t.Fatalf("unembed_out[%d, %d, %d] is element %d of kv_b_proj, want %d", h, i, r, got, want)
				}
			}
		}
	}
}

// TestKVBRefused: a kv_b_proj that cannot be taken apart is an error, never a guess.
func TestKVBRefused(t *testing.T) {
	config := tinyConfig(t, "glm4_moe_lite", nil)
	at := "model.layers.0.self_attn."
	load := func(edit func(w map[string]*weights.Tensor)) string {
		w := published(t, tinyConfig(t, "glm4_moe_lite", map[string]any{"torch_dtype": "float32"}))
		edit(w)
		_, err := Load(writeFolder(t, config, w))
		return codes(err)
	}
	zero := func(shape ...int) *weights.Tensor {
		n := 4
		for _, d := range shape {
			n *= d
		}
		x, err := weights.New("", graph.Float32, shape, weights.Raw(make([]byte, n)))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for what, c := range map[string]struct {
		edit func(w map[string]*weights.Tensor)
		want string
	}{
		"quantized": {func(w map[string]*weights.Tensor) { w[at+"kv_b_proj.scales"] = zero(256, 2) },
			"weights/unsupported " + at + "kv_b_proj: is quantized as one matrix; taking it apart would quantize it a second time"},
		"of another shape": {func(w map[string]*weights.Tensor) { w[at+"kv_b_proj.weight"] = zero(255, 64) },
			"weights/shape " + at + "kv_b_proj.weight: has type float32[255, 64]; config.json asks for shape [256, 64]"},
		"left over": {func(w map[string]*weights.Tensor) {
			w[at+"embed_q.weight"], w[at+"unembed_out.weight"] = zero(4, 64, 32), zero(4, 32, 64)
		},
			"weights/unused " + at + "kv_b_proj.weight: a glm4_moe_lite model of this configuration has no such weight"},
		"missing": {func(w map[string]*weights.Tensor) { delete(w, at+"kv_b_proj.weight") },
			"weights/missing " + at + "embed_q.weight: the weight is missing"},
	} {
		if got := load(c.edit); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got\n%swant\n%s", what, got, c.want)
		}
	}
}

// TestLatentDrops: which weights mlx-lm leaves out of a checkpoint.
func TestLatentDrops(t *testing.T) {
	for _, modelType := range latent {
		net := mustParse(t, tinyConfig(t, modelType, nil)).net
		for name, by := range map[string]string{
			"model.layers.2.eh_proj.weight":                     "glm4_moe_lite deepseek_v32",
			"model.layers.61.eh_proj.weight":                    "glm4_moe_lite deepseek_v32 deepseek_v3 kimi_k2",
			"model.layers.1.self_attn.rotary_emb.inv_freq":      "deepseek_v3 kimi_k2",
			"model.layers.x.eh_proj.weight":                     "",
			"model.layers.1.eh_proj.weight":                     "",
			"language_model.model.layers.61.eh_proj.weight":     "kimi_k25",
			"language_model.model.layers.1.rotary_emb.inv_freq": "kimi_k25 deepseek_v3 kimi_k2",
			"language_model.model.layers.1.eh_proj.weight":      "",
			"vision_tower.encoder.weight":                       "kimi_k25",
			"mm_projector.weight":                               "kimi_k25",
			"language_model.vision_tower.weight":                "",
			"lm_head.weight":                                    "",
		} {
			if got, want := net.drops(name), slices.Contains(strings.Fields(by), modelType); got != want {
				t.Errorf("%s drops %s: %v, want %v", modelType, name, got, want)
			}
		}
	}
}
