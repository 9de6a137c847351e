package gguf

import "maps"

// GPT-OSS in GGUF: names and keys as gguf-py 0.19 has them and llama.cpp's converter
// (conversion/gpt_oss.py) writes them. Gate and up projections are apart there, as in
// mlx-lm.

const (
	gptOSS = "gpt_oss"
	// sinks are a parameter of self_attn itself in mlx-lm.
	sinks = "attn_sinks"
)

func gptOSSArchs(modules map[string]string) map[string]arch {
	delete(modules, "ffn_norm")
	maps.Copy(modules, map[string]string{
		"post_attention_norm": "post_attention_layernorm", sinks: "self_attn.sinks", "ffn_gate_inp": "mlp.router",
		"ffn_gate_exps": "mlp.experts.gate_proj", "ffn_up_exps": "mlp.experts.up_proj", "ffn_down_exps": "mlp.experts.down_proj",
	})
	return map[string]arch{"gpt-oss": {modelType: gptOSS, class: "GptOssForCausalLM", modules: modules, moe: true}}
}

// gptOSS turns the keys that architectures share into those of GPT-OSS. As in mlx-lm,
// layers with a window and without one take turns where nothing else is said.
func (h *hf) gptOSS(c map[string]any) {
	c["intermediate_size"] = h.integer("expert_feed_forward_length")
	c["num_local_experts"] = h.integer("expert_count")
	c["num_experts_per_tok"] = h.integer("expert_used_count")
	c["sliding_window"] = h.integer("attention.sliding_window")
	if v, ok := h.f.Get(h.prefix + "attention.sliding_window_pattern"); ok {
		h.fail(v.At, "metadata", "%sattention.sliding_window_pattern is not supported", h.prefix)
	}
}
