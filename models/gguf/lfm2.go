package gguf

import (
	"maps"
	"strings"

	"zmlx-rewrite/models/weights"
)

// LFM2 in GGUF: names and keys as gguf-py 0.19 has them, and what llama.cpp computes
// (src/models/lfm2.cpp).

const (
	// lfm2Filter is a matrix [channels, taps] in GGUF.
	lfm2Filter = "shortconv.conv"
	// lfm2Bias has no module of its own in mlx-lm.
	lfm2Bias = "exp_probs_b"
)

func lfm2Archs() map[string]arch {
	layers := map[string]string{
		"attn_norm": "operator_norm", "ffn_norm": "ffn_norm",
		"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.out_proj",
		"attn_q_norm": "self_attn.q_layernorm", "attn_k_norm": "self_attn.k_layernorm",
		lfm2Filter: "conv.conv", "shortconv.in_proj": "conv.in_proj", "shortconv.out_proj": "conv.out_proj",
	}
	dense := map[string]string{"ffn_gate": "feed_forward.w1", "ffn_down": "feed_forward.w2", "ffn_up": "feed_forward.w3"}
	experts := map[string]string{
		"ffn_gate": "feed_forward.gate_proj", "ffn_down": "feed_forward.down_proj", "ffn_up": "feed_forward.up_proj",
		"ffn_gate_inp": "feed_forward.gate", lfm2Bias: "feed_forward.expert_bias",
		"ffn_gate_exps": "feed_forward.switch_mlp.gate_proj", "ffn_up_exps": "feed_forward.switch_mlp.up_proj",
		"ffn_down_exps": "feed_forward.switch_mlp.down_proj",
	}
	maps.Copy(dense, layers)
	maps.Copy(experts, layers)
	return map[string]arch{
		"lfm2":    {modelType: "lfm2", class: "Lfm2ForCausalLM", modules: dense, embeddingNorm: true},
		"lfm2moe": {modelType: "lfm2_moe", class: "Lfm2MoeForCausalLM", modules: experts, embeddingNorm: true, moe: true},
	}
}

// lfm2Heads returns the heads of keys and values, which GGUF gives for each layer: none
// in those that have a convolution. Where there is one number, all layers attend.
func (h *hf) lfm2Heads(layers int64) (heads int64, types []any) {
	const key = "attention.head_count_kv"
	v, _ := h.f.Get(h.prefix + key)
	var list []int64
	switch data := v.Data.(type) {
	case []int32:
		for _, n := range data {
			list = append(list, int64(n))
		}
	case []uint32:
		for _, n := range data {
			list = append(list, int64(n))
		}
	}
	if int64(len(list)) != layers {
		h.fail(v.At, "metadata", "%s%s is %v; it must be a whole number for each of the %d layers", h.prefix, key, v, layers)
		return 1, nil
	}
	for _, n := range list {
		switch {
		case n == 0:
			types = append(types, "conv")
			continue
		case n < 0 || heads != 0 && n != heads:
			h.fail(v.At, "metadata", "%s%s is %v; layers with attention must have the same number of heads", h.prefix, key, v)
			return 1, nil
		}
		heads = n
		types = append(types, "full_attention")
	}
	return max(heads, 1), types
}

// lfm2 turns the keys that architectures share into those of LFM2.
func (h *hf) lfm2(c map[string]any, moe bool) {
	c["norm_eps"] = c["rms_norm_eps"]
	delete(c, "rms_norm_eps")
	delete(c, "attention_bias")
	c["conv_L_cache"] = h.integer("shortconv.l_cache")
	c["conv_bias"] = false
	if !moe {
		if v, ok := h.f.Get(h.prefix + "expert_count"); ok && h.count("expert_count") != 0 {
			h.fail(v.At, "metadata", "a lfm2 with experts is not supported")
		}
		c["block_dim"] = c["hidden_size"]
		c["block_ff_dim"] = c["intermediate_size"] // as adjusted
		c["block_multiple_of"] = int64(1)
		c["block_auto_adjust_ff_dim"] = false
		return
	}
	c["num_experts"] = h.integer("expert_count")
	c["num_experts_per_tok"] = h.integer("expert_used_count")
	c["moe_intermediate_size"] = h.integer("expert_feed_forward_length")
	dense := h.count("leading_dense_block_count")
	c["num_dense_layers"] = dense
	// What llama.cpp computes for this architecture, and the file does not say.
	c["norm_topk_prob"] = true
	c["routed_scaling_factor"] = 1.0
	c["use_expert_bias"] = false
	for i := range h.f.Tensors {
		if strings.Contains(h.f.Tensors[i].Name, "."+lfm2Bias+".") {
			c["use_expert_bias"] = true
		}
	}
	const sigmoid = 2 // LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID
	if n := h.count("expert_gating_func"); n != sigmoid {
		v, _ := h.f.Get(h.prefix + "expert_gating_func")
		h.fail(v.At, "metadata", "%sexpert_gating_func is %d; only the sigmoid, %d, is supported", h.prefix, n, sigmoid)
	}
	if v, ok := h.f.Get(h.prefix + "expert_weights_scale"); ok {
		if x, isFloat := v.Float(); !isFloat || x != 1 {
			h.fail(v.At, "metadata", "%sexpert_weights_scale = %v is not supported", h.prefix, v)
		}
	}
}

// lfm2Tensor gives an array of module the shape and the name that mlx-lm has.
func (h *hf) lfm2Tensor(t *Tensor, module, name string, x *weights.Tensor) (*weights.Tensor, error) {
	switch {
	case module == lfm2Bias:
		if name = strings.TrimSuffix(name, ".bias"); strings.HasSuffix(name, ".weight") {
			return nil, h.fail(t.at, "unknown-tensor", "tensor %q is no bias", t.Name)
		}
	case module == lfm2Filter:
		if len(x.Shape) != 2 || !x.DType.IsFloat() {
			return nil, h.fail(t.at, "dimensions", "tensor %q of shape %v and type %v is no matrix of floating-point filters", t.Name, t.Shape, t.Type)
		}
		return weights.Reshape(name, x, x.Shape[0], x.Shape[1], 1)
	}
	return x.Renamed(name), nil
}
