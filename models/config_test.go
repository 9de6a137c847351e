package models

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// TestLlama3Freqs compares with the bits of mlx-lm (scripts/oracle/llama3_freqs.py).
func TestLlama3Freqs(t *testing.T) {
	text, err := os.ReadFile("testdata/llama3_freqs.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Dims    int
		Base    float64
		Scaling json.RawMessage
		Bits    []uint32
	}
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) < 6 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		var issues diag.List
		l := llama3Freqs(readJSON("config.json", r.Scaling, &issues), r.Dims, r.Base)
		if len(issues) > 0 || len(l.Data) != 4*len(r.Bits) {
			t.Fatalf("dims %d: %v, %d bytes", r.Dims, issues, len(l.Data))
		}
		for i, want := range r.Bits {
			if got := binary.LittleEndian.Uint32(l.Data[4*i:]); got != want {
				t.Errorf("dims %d, base %g, %s: frequency %d is %08x, mlx-lm has %08x", r.Dims, r.Base, r.Scaling, i, got, want)
			}
		}
	}
}

// TestYarn compares with the bits of mlx-lm (scripts/oracle/yarn_freqs.py).
func TestYarn(t *testing.T) {
	text, err := os.ReadFile("testdata/yarn_freqs.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Dims    int
		Base    float64
		Scaling json.RawMessage
		Mscale  float64
		Bits    []uint32
	}
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) < 8 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		var issues diag.List
		l, mscale := yarn(readJSON("config.json", r.Scaling, &issues), r.Dims, r.Base)
		if len(issues) > 0 || len(l.Data) != 4*len(r.Bits) {
			t.Fatalf("dims %d: %v, %d bytes", r.Dims, issues, len(l.Data))
		}
		if mscale != r.Mscale {
			t.Errorf("%s: mscale is %v, mlx-lm has %v", r.Scaling, mscale, r.Mscale)
		}
		for i, want := range r.Bits {
			if got := binary.LittleEndian.Uint32(l.Data[4*i:]); got != want {
				t.Errorf("dims %d, base %g, %s: frequency %d is %08x, mlx-lm has %08x", r.Dims, r.Base, r.Scaling, i, got, want)
			}
		}
	}
}

// TestConfigIssues gives configurations with something wrong in them: each must be
// refused by an issue that names the key.
func TestConfigIssues(t *testing.T) {
	for _, c := range []struct {
		name, modelType string
		edit            map[string]any
		want            string // code and message
	}{
		{"unknown", "lfm3", nil, `config/unknown-model model_type: "lfm3" is not supported`},
		{"no type", "llama", map[string]any{"model_type": nil}, `config/missing model_type: the key is missing`},
		{"missing", "qwen3", map[string]any{"head_dim": nil, "vocab_size": nil}, "config/missing vocab_size: the key is missing\nconfig/missing head_dim: the key is missing"},
		{"layers", "llama", map[string]any{"num_hidden_layers": 1000000000}, `config/invalid num_hidden_layers: must be a whole number from 1 to 1000, not 1000000000`},
		{"no layers", "llama", map[string]any{"num_hidden_layers": 0}, `config/invalid num_hidden_layers: must be a whole number from 1 to 1000, not 0`},
		{"beyond 64 bits", "llama", map[string]any{"vocab_size": json.RawMessage("1e30")}, `config/invalid vocab_size: must be a whole number from 1 to 16777216, not 1e30`},
		{"text", "llama", map[string]any{"hidden_size": "64"}, `config/invalid hidden_size: must be a whole number from 1 to 1048576, not "64"`},
		{"experts", "qwen3_moe", map[string]any{"num_experts": 5000}, `config/invalid num_experts: must be a whole number from 0 to 4096, not 5000`},
		{"too many chosen", "qwen3_moe", map[string]any{"num_experts_per_tok": 5}, `config/invalid num_experts_per_tok: must be a whole number from 1 to 4, not 5`},
		{"dense layers", "qwen3_moe", map[string]any{"mlp_only_layers": []int{0, 1, 1}}, `config/invalid mlp_only_layers: has 3 entries for 2 layers`},
		{"heads", "llama", map[string]any{"num_key_value_heads": 3}, `config/invalid num_key_value_heads: 3 does not divide num_attention_heads, 4`},
		{"odd head", "llama", map[string]any{"head_dim": 33}, `config/invalid head_dim: must be an even number above 0, not 33`},
		{"no head left", "llama", map[string]any{"head_dim": nil, "hidden_size": 2}, `config/invalid head_dim: must be an even number above 0, not 0`},
		{"eps", "llama", map[string]any{"rms_norm_eps": 0}, `config/invalid rms_norm_eps: must be a number above 0, not 0`},
		{"theta", "qwen3", map[string]any{"rope_theta": json.RawMessage("1e39")}, `config/invalid rope_theta: must be a number above 0, not 1e39`},
		{"no theta", "qwen3", map[string]any{"rope_theta": nil}, `config/missing rope_theta: the key is missing`},
		{"longrope", "qwen3", map[string]any{"rope_scaling": map[string]any{"rope_type": "longrope", "factor": 4.0}}, `config/unsupported rope_scaling.rope_type: rotary embedding of type "longrope" is not supported`},
		{"yarn without factor", "qwen3", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn"}}, `config/missing rope_scaling.factor: the key is missing`},
		{"yarn of nothing", "qwen3", map[string]any{"rope_theta": 1, "rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0}}, `config/invalid rope_scaling: rotary embedding of type yarn needs a rope_theta other than 1`},
		{"yarn turned around", "qwen3", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "mscale": -100}}, `config/invalid rope_scaling.mscale: mscale and mscale_all_dim scale queries and keys by -12.862943611198906`},
		{"yarn's beta", "qwen3", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "beta_fast": 0}}, `config/invalid rope_scaling.beta_fast: must be a number above 0, not 0`},
		{"yarn of another scale", "llama", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5}}, `config/unsupported rope_scaling.attention_factor: mlx-lm takes 1.138629436111989, which it computes from factor and mscale`},
		{"type before rope_type", "llama", map[string]any{"rope_scaling": map[string]any{"type": "dynamic", "rope_type": "default"}}, `config/unsupported rope_scaling.type: rotary embedding of type "dynamic" is not supported`},
		{"linear without factor", "llama", map[string]any{"rope_scaling": map[string]any{"type": "linear"}}, `config/missing rope_scaling.factor: the key is missing`},
		{"ignored by mlx-lm", "qwen3_moe", map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2}}, `config/unsupported rope_scaling: scaled rotary embedding is not supported for qwen3_moe`},
		{"ignored scaling", "mixtral", map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2}}, `config/unsupported rope_scaling: scaled rotary embedding is not supported for mixtral`},
		{"ignored head", "mixtral", map[string]any{"head_dim": 32}, `config/unsupported head_dim: only hidden_size / num_attention_heads, 16, is supported for mixtral`},
		{"ignored window", "mixtral", map[string]any{"sliding_window": 4096}, `config/unsupported sliding_window: sliding-window attention is not supported`},
		{"no kv heads", "mixtral", map[string]any{"num_key_value_heads": nil}, `config/missing num_key_value_heads: the key is missing`},
		{"more than experts", "mixtral", map[string]any{"num_experts_per_tok": 5}, `config/invalid num_experts_per_tok: must be a whole number from 1 to 4, not 5`},
		{"no attention", "lfm2", map[string]any{"layer_types": []string{"conv", "conv", "conv"}}, `config/unsupported layer_types: 0 of 3 layers have attention; there must be some with it and some without`},
		{"attention only", "lfm2_moe", map[string]any{"full_attn_idxs": []int{2, 1, 0, 1}, "layer_types": nil}, `config/unsupported full_attn_idxs: 3 of 3 layers have attention; there must be some with it and some without`},
		{"layer by number", "lfm2", map[string]any{"full_attn_idxs": []int{3}, "layer_types": nil}, "config/invalid full_attn_idxs: names a layer that is none of the 3\nconfig/unsupported full_attn_idxs: 0 of 3 layers have attention; there must be some with it and some without"},
		{"layers twice", "lfm2", map[string]any{"full_attn_idxs": []int{1}}, `config/invalid full_attn_idxs: names other layers than layer_types does`},
		{"no layer types", "lfm2_moe", map[string]any{"layer_types": nil}, `config/missing layer_types: the key is missing`},
		{"other layers", "lfm2", map[string]any{"layer_types": []string{"conv", "full_attention", "sliding_attention"}}, `config/unsupported layer_types: layer 2 has "sliding_attention"; only full_attention and conv are supported`},
		{"few layer types", "lfm2_moe", map[string]any{"layer_types": []string{"conv"}}, "config/invalid layer_types: has 1 entries for 3 layers\nconfig/unsupported layer_types: 0 of 3 layers have attention; there must be some with it and some without"},
		{"one tap", "lfm2", map[string]any{"conv_L_cache": 1}, `config/invalid conv_L_cache: must be a whole number from 2 to 1024, not 1`},
		{"feed-forward input", "lfm2", map[string]any{"block_dim": 96}, `config/invalid block_dim: is 96, and hidden_size 64; they must be the same`},
		{"no feed-forward", "lfm2", map[string]any{"intermediate_size": nil}, `config/missing intermediate_size: the key is missing`},
		{"adjusted away", "lfm2", map[string]any{"block_ff_dim": 1}, `config/invalid block_ff_dim: its adjusted size, 0, is not from 1 to 1048576`},
		{"adjusted beyond", "lfm2", map[string]any{"block_ffn_dim_multiplier": 1e30, "block_multiple_of": 1000000}, `config/invalid intermediate_size: its adjusted size, 2000000, is not from 1 to 1048576`},
		{"own head", "lfm2_moe", map[string]any{"tie_word_embeddings": false, "tie_embedding": false}, "config/unsupported tie_word_embeddings: a head of its own is not supported for this model\nconfig/unsupported tie_embedding: a head of its own is not supported for this model"},
		{"other theta", "lfm2", map[string]any{"theta": 5}, `config/unsupported theta: is not rope_theta, 10000, which mlx-lm goes by`},
		{"ignored scaling", "lfm2", map[string]any{"rope_parameters": map[string]any{"rope_type": "linear", "factor": 2}}, `config/unsupported rope_scaling: scaled rotary embedding is not supported for lfm2`},
		{"no parameters", "lfm2", map[string]any{"rope_parameters": []int{}}, `config/invalid rope_parameters: must be an object, not []`},
		{"ignored head", "lfm2_moe", map[string]any{"head_dim": 32}, `config/unsupported head_dim: only hidden_size / num_attention_heads, 16, is supported`},
		{"gelu", "lfm2", map[string]any{"block_use_swiglu": false}, `config/unsupported block_use_swiglu: only blocks with swiglu are supported`},
		{"more than experts", "lfm2_moe", map[string]any{"num_experts_per_tok": 5}, `config/invalid num_experts_per_tok: must be a whole number from 1 to 4, not 5`},
		{"no scale", "lfm2_moe", map[string]any{"routed_scaling_factor": 0}, `config/invalid routed_scaling_factor: must be a number above 0, not 0`},
		{"window", "llama", map[string]any{"layer_types": []string{"full_attention", "sliding_attention"}}, `config/unsupported layer_types: layer 1 has "sliding_attention"; only full_attention is supported`},
		{"layer types", "llama", map[string]any{"layer_types": []string{"full_attention"}}, `config/invalid layer_types: has 1 entries for 2 layers`},
		{"sliding", "qwen3", map[string]any{"use_sliding_window": true}, `config/unsupported use_sliding_window: sliding-window attention is not supported`},
		{"bias", "qwen3", map[string]any{"attention_bias": true}, `config/unsupported attention_bias: mlx-lm has no biases in the attention of this model`},
		{"another limit", "gpt_oss", map[string]any{"swiglu_limit": 10}, `config/unsupported swiglu_limit: only 7 is supported for gpt_oss`},
		{"no biases", "gpt_oss", map[string]any{"attention_bias": false}, `config/unsupported attention_bias: mlx-lm has biases in the attention of this model`},
		{"tied", "gpt_oss", map[string]any{"tie_word_embeddings": true}, `config/unsupported tie_word_embeddings: mlx-lm has a head of its own in this model`},
		{"odd layers", "gpt_oss", map[string]any{"num_hidden_layers": 3}, `config/invalid layer_types: has 2 entries for 3 layers`},
		{"one kind of layers", "gpt_oss", map[string]any{"layer_types": []string{"full_attention", "full_attention"}}, `config/unsupported layer_types: has no layer with sliding_attention; mlx-lm needs one`},
		{"chunked", "gpt_oss", map[string]any{"layer_types": []string{"full_attention", "chunked_attention"}}, `config/unsupported layer_types: layer 1 has "chunked_attention"; only sliding_attention and full_attention are supported`},
		{"no window", "gpt_oss", map[string]any{"sliding_window": 0}, `config/invalid sliding_window: must be a whole number from 1 to 1073741824, not 0`},
		{"gpt heads", "gpt_oss", map[string]any{"num_key_value_heads": 3, "num_experts_per_tok": 5}, "config/invalid num_experts_per_tok: must be a whole number from 1 to 4, not 5\nconfig/invalid num_key_value_heads: 3 does not divide num_attention_heads, 4"},
		{"skipped modules", "gpt_oss", map[string]any{"quantization_config": map[string]any{"quant_method": "mxfp4", "modules_to_not_convert": 7}}, `config/invalid quantization_config.modules_to_not_convert: must be a list of text, not 7`},
		{"ignored scaling of gemma", "gemma", map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2}}, `config/unsupported rope_scaling: mlx-lm does not scale the rotary embedding of this model`},
		{"a head", "gemma2", map[string]any{"tie_word_embeddings": false}, `config/unsupported tie_word_embeddings: mlx-lm has no head of its own for this model`},
		{"bias of gemma", "gemma", map[string]any{"attention_bias": true}, `config/unsupported attention_bias: mlx-lm has no biases in the attention of this model`},
		{"no cap", "gemma2", map[string]any{"attn_logit_softcapping": json.RawMessage("null"), "final_logit_softcapping": json.RawMessage("null")}, "config/unsupported attn_logit_softcapping: mlx-lm computes this model with capped logits only\nconfig/unsupported final_logit_softcapping: mlx-lm computes this model with capped logits only"},
		{"a cap of 0", "gemma2", map[string]any{"final_logit_softcapping": 0}, `config/invalid final_logit_softcapping: must be a number above 0, not 0`},
		{"scale", "gemma2", map[string]any{"query_pre_attn_scalar": -1}, `config/invalid query_pre_attn_scalar: must be a number above 0, not -1`},
		{"ignored cap", "gemma3_text", map[string]any{"attn_logit_softcapping": 50.0}, `config/unsupported attn_logit_softcapping: mlx-lm does not cap the logits of this model`},
		{"pattern", "gemma3_text", map[string]any{"sliding_window_pattern": 6}, `config/invalid sliding_window_pattern: 6 is more than the 2 layers: mlx-lm needs a layer that sees everything`},
		{"no pattern", "gemma3_text", map[string]any{"sliding_window_pattern": 0}, `config/invalid sliding_window_pattern: must be a whole number from 1 to 1000, not 0`},
		{"no rows", "gemma3_text", map[string]any{"sliding_window": 0}, `config/invalid sliding_window: must be a whole number from 1 to 2147483647, not 0`},
		{"another pattern", "gemma3_text", map[string]any{"sliding_window_pattern": 2, "layer_types": []string{"full_attention", "sliding_attention"}}, `config/unsupported layer_types: layer 0 has "full_attention"; sliding_window_pattern, 2, makes it sliding_attention`},
		{"a pattern of more", "gemma3_text", map[string]any{"layer_types": []string{"full_attention"}}, `config/invalid layer_types: has 1 entries for 2 layers`},
		{"both ways", "gemma3_text", map[string]any{"use_bidirectional_attention": true}, `config/unsupported use_bidirectional_attention: mlx-lm lets no token of this model see later ones`},
		{"scaled window", "gemma3_text", map[string]any{"rope_parameters": map[string]any{"sliding_attention": map[string]any{"rope_type": "linear", "factor": 2, "rope_theta": 1e4}}}, `config/unsupported rope_parameters: mlx-lm does not scale the rotary embedding of layers with a window`},
		{"heads of gemma", "gemma3_text", map[string]any{"num_key_value_heads": 3}, `config/invalid num_key_value_heads: 3 does not divide num_attention_heads, 4`},
		{"no text", "gemma3", map[string]any{"text_config": 1}, `config/invalid text_config: must be an object, not 1`},
		{"inner", "gemma3", map[string]any{"hidden_size": 0}, `config/invalid text_config.hidden_size: must be a whole number from 1 to 1048576, not 0`},
		{"two vocabularies", "gemma3", map[string]any{"text_config": map[string]any{"vocab_size": 99}}, `config/unsupported text_config.vocab_size: differs from the vocab_size of the whole model, 100, which mlx-lm takes`},
		{"heads of values", "qwen3_next", map[string]any{"linear_num_value_heads": 3}, `config/invalid linear_num_value_heads: 3 is no multiple of linear_num_key_heads, 2`},
		{"no attention", "qwen3_next", map[string]any{"full_attention_interval": 5}, `config/invalid full_attention_interval: 5 is more than the 4 layers: mlx-lm needs a layer with attention`},
		{"nothing else", "qwen3_next", map[string]any{"full_attention_interval": 1}, `config/invalid full_attention_interval: must be a whole number from 2 to 1000, not 1`},
		{"an odd part", "qwen3_next", map[string]any{"partial_rotary_factor": 0.1}, `config/invalid partial_rotary_factor: rotates 3 of the 32 elements of a head; it must be an even number of them`},
		{"other layers", "qwen3_next", map[string]any{"layer_types": []string{"linear_attention", "full_attention", "full_attention", "full_attention"}}, `config/unsupported layer_types: layer 2 has "full_attention"; full_attention_interval, 2, makes it linear_attention`},
		{"taps", "qwen3_next", map[string]any{"linear_conv_kernel_dim": 1}, `config/invalid linear_conv_kernel_dim: must be a whole number from 2 to 64, not 1`},
		{"wide heads", "qwen3_next", map[string]any{"linear_num_key_heads": 4096, "linear_num_value_heads": 4096, "linear_key_head_dim": 8192}, `config/invalid linear_key_head_dim: all heads together have more than 1048576 elements`},
		{"dtype", "llama", map[string]any{"torch_dtype": "float8_e4m3fn"}, `config/unsupported torch_dtype: element type "float8_e4m3fn" is not supported`},
		{"bool", "qwen3", map[string]any{"tie_word_embeddings": "yes"}, `config/invalid tie_word_embeddings: must be true or false, not "yes"`},
		{"bits", "llama", map[string]any{"quantization": map[string]any{"group_size": 64, "bits": 7}}, `config/invalid quantization.bits: must be 2, 3, 4, 5, 6 or 8, not 7`},
		{"group", "llama", map[string]any{"quantization": map[string]any{"group_size": 48, "bits": 4}}, `config/invalid quantization.group_size: must be 32, 64 or 128, not 48`},
		{"no bits", "llama", map[string]any{"quantization": map[string]any{"group_size": 64}}, `config/missing quantization.bits: the key is missing`},
		{"mode", "llama", map[string]any{"quantization": map[string]any{"group_size": 64, "bits": 4, "mode": "nf4"}}, `config/invalid quantization.mode: mode "nf4" is not one of affine, mxfp4, mxfp8, nvfp4`},
		{"mxfp4 in 64", "llama", map[string]any{"quantization": map[string]any{"group_size": 64, "bits": 4, "mode": "mxfp4"}}, `config/invalid quantization.mode: mode mxfp4 has 4 bits in groups of 32, not 4 in groups of 64`},
		{"override", "llama", map[string]any{"quantization": map[string]any{"group_size": 64, "bits": 4, "lm_head": map[string]any{"bits": 9}}}, `config/invalid quantization.lm_head.bits: must be a whole number from 2 to 8, not 9`},
		{"awq", "llama", map[string]any{"quantization_config": map[string]any{"quant_method": "awq", "bits": 4}}, `config/unsupported quantization_config.quant_method: "awq" is not supported`},
		{"activations", "llama", map[string]any{"quantize_activations": true}, `config/unsupported quantize_activations: quantized activations are not supported`},
		{"own code", "llama", map[string]any{"model_file": "modeling.py"}, `config/unsupported model_file: a model that brings its own Python code cannot be built`},
	} {
		t.Run(c.name, func(t *testing.T) {
			edit := maps.Clone(c.edit)
			modelType := c.modelType
			if !slices.Contains(ModelTypes(), modelType) {
				edit, modelType = map[string]any{"model_type": c.modelType}, "llama"
			}
			_, err := ParseConfig("config.json", tinyConfig(t, modelType, edit))
			if got := strings.TrimSpace(codes(err)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestConfigPositions checks the line and column of issues, and that files which
// are no JSON objects are refused.
func TestConfigPositions(t *testing.T) {
	for text, want := range map[string]string{
		"{\n \"model_type\": \"llama\",\n  \"vocab_size\": -3}":   "config.json:3:17: vocab_size: must be",
		"{\"model_type\": \"llama\",\n\"model_type\": \"llama\"}": `config.json:2:1: key "model_type" is there twice`,
		"[]":                        "config.json:1:1: expected a JSON object",
		"":                          "config.json:1:1: not valid JSON: unexpected end",
		"{\"a\": 1":                 "config.json:1:7: not valid JSON",
		"{\"a\": tru}":              "config.json:1:10: not valid JSON",
		"{} {}":                     "config.json:1:4: not valid JSON",
		`{"rope_scaling": {"a": 1}`: "not valid JSON",
	} {
		_, err := ParseConfig("config.json", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want %q", text, err, want)
		}
	}
	if _, err := ParseConfig("config.json", make([]byte, maxConfigBytes+1)); !strings.Contains(codes(err), "config/too-big") {
		t.Errorf("a large file gave %v", err)
	}
}

// TestConfigKeys reads keys and values that are spelt unusually.
func TestConfigKeys(t *testing.T) {
	var issues diag.List
	f := readJSON("x", []byte(" {\"\\u0061\" :\t-1 , \"b\\\"\":\"}\",\n\"c\":{\"d\":[{}, \"]\"]}\r,\"e\":null,\"f\":[1, 2 ],\"g\":7}"), &issues)
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	for key, want := range map[string]string{"a": "-1", `b"`: `"}"`, "c": `{"d":[{}, "]"]}`, "f": "[1, 2 ]", "g": "7"} {
		if got := string(f.values[key].raw); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if len(f.values) != 5 || string(f.object("c").values["d"].raw) != `[{}, "]"]` || !slices.Equal(f.ints("f"), []int{1, 2}) || !slices.Equal(f.ints("g"), []int{7}) {
		t.Errorf("values %v", f.values)
	}
}

// TestConfigAllocation holds what reading allocates against the bound of all
// readers: 64 times the input and 16 MiB.
func TestConfigAllocation(t *testing.T) {
	repeat := func(n int, item func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(item(i))
		}
		return b.String()
	}
	llama := strings.TrimSuffix(string(tinyConfig(t, "llama", nil)), "}")
	for name, text := range map[string]string{
		"keys":       "{" + repeat(300000, func(i int) string { return fmt.Sprintf(`"%x":1,`, i) }) + `"x":1}`,
		"duplicates": "{" + repeat(500000, func(int) string { return `"":1,` }) + `"x":1}`,
		"modules":    llama + `,"quantization":{"bits":4,"group_size":64,` + repeat(300000, func(i int) string { return fmt.Sprintf(`"%x":{},`, i) }) + `"x":true}}`,
		"bad":        llama + `,"quantization":{"bits":4,"group_size":64,` + repeat(60000, func(i int) string { return fmt.Sprintf(`"%x":{"bits":7},`, i) }) + `"x":true}}`,
		"deep":       `{"quantization":` + strings.Repeat(`{"":`, 9000) + "1" + strings.Repeat("}", 9000) + "}",
		"lists":      llama + `,"eos_token_id":[` + repeat(900000, func(int) string { return "1,1," }) + `1]}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseConfig("config.json", []byte(text))
		runtime.ReadMemStats(&after)
		if n := strings.Count(codes(err), "\n"); n > 200 {
			t.Errorf("%s: %d issues", name, n) // each costs a search for its line
		}
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(64*len(text)+16<<20); got > most {
			t.Errorf("%s: %d bytes make reading allocate %d, more than %d", name, len(text), got, most)
		}
	}
}

// TestRopeParameters reads what transformers 5 writes.
func TestRopeParameters(t *testing.T) {
	for _, modelType := range ModelTypes() {
		c := mustParse(t, tinyConfig(t, modelType, map[string]any{"rope_theta": nil,
			"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 123456.0}}))
		p, err := Build(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		g, found := p.Cases[0].Graph, 0
		for i := range g.NumNodes() {
			if n := g.Node(graph.NodeID(i)); n.Op.Name == "rope" {
				found++
				if b := n.Attr("base"); !b.Equal(graph.Float(123456)) {
					t.Errorf("%s: base is %v", modelType, b)
				}
			}
		}
		want := 4
		if modelType == "deepseek_v32" {
			want += 2 // of its indexers' keys
		}
		if found != want {
			t.Errorf("%s: %d rope nodes", modelType, found)
		}
	}
}

// FuzzConfig: no text makes reading or building panic, hang or allocate without
// bound, and what builds also verifies.
func FuzzConfig(f *testing.F) {
	for _, r := range references() {
		f.Add(r.text)
	}
	for _, modelType := range ModelTypes() {
		f.Add(tinyConfig(f, modelType, nil))
		f.Add(tinyConfig(f, modelType, map[string]any{"quantization": map[string]any{"group_size": 32, "bits": 3, "model.embed_tokens": false},
			"rope_scaling": map[string]any{"type": "linear", "factor": 3}, "tie_word_embeddings": false}))
	}
	f.Add(tinyConfig(f, "qwen3_moe", map[string]any{"mlp_only_layers": []int{0, -1}, "norm_topk_prob": false, "num_experts_per_tok": 1}))
	for _, modelType := range []string{"gemma3", "gemma3_text"} {
		f.Add(tinyConfig(f, modelType, map[string]any{"sliding_window_pattern": 2, "sliding_window": 16, "rope_local_base_freq": 100.0, "torch_dtype": "float16"}))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig("config.json", text)
		if err != nil || layers(c) > 8 {
			return // many layers are the same again, only slower
		}
		p, err := Build(c, nil)
		if err != nil {
			if _, ok := err.(diag.List); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if err := p.Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

func layers(c *Config) int {
	switch n := c.net.(type) {
	case *llama:
		return n.numHiddenLayers
	case *lfm2:
		return n.numHiddenLayers
	case *lfm2MoE:
		return n.numHiddenLayers
	case *qwen3:
		return n.numHiddenLayers
	case *qwen3MoE:
		return n.numHiddenLayers
	case *qwen3Next:
		return n.numHiddenLayers
	case *gemma:
		return n.numHiddenLayers
	case *gemma2:
		return n.numHiddenLayers
	case *gemma3Text:
		return n.numHiddenLayers
	case gemma3:
		return n.numHiddenLayers
	case *mixtral:
		return n.numHiddenLayers
	case *gptOSS:
		return n.numHiddenLayers
	case *deepseekV3:
		return n.numHiddenLayers
	case *deepseekV32:
		return n.numHiddenLayers
	case *glm4MoeLite:
		return n.numHiddenLayers
	case *kimiK25:
		return n.numHiddenLayers
	}
	panic("an architecture that this test does not know")
}
