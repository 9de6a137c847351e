package gguf

import (
	"math"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// gemmaArchs are the three architectures of Gemma, whose norms llama.cpp stores with 1
// added to their weights.
func gemmaArchs(attention, dense, qkNorm, around map[string]string, join func(...map[string]string) map[string]string) map[string]arch {
	return map[string]arch{
		"gemma":  {modelType: "gemma", class: "GemmaForCausalLM", modules: join(attention, dense), plusOne: true},
		"gemma2": {modelType: "gemma2", class: "Gemma2ForCausalLM", modules: join(attention, dense, around), plusOne: true},
		"gemma3": {modelType: "gemma3_text", class: "Gemma3ForCausalLM", modules: join(attention, dense, qkNorm, around), plusOne: true},
	}
}

// gemma adds to a configuration what is special about Gemma. What llama.cpp computes and
// the file does not say is said here: queries are scaled by the size of a head, but by
// that of hidden_size / heads in the 27b models, which it knows by their layers.
func (h *hf) gemma(c map[string]any) {
	scalar := func(layersOf27b int64) int64 {
		if c["num_hidden_layers"] == layersOf27b {
			return c["hidden_size"].(int64) / c["num_attention_heads"].(int64)
		}
		return c["head_dim"].(int64)
	}
	for _, key := range []string{"attn_logit_softcapping", "final_logit_softcapping"} {
		if h.has(key) {
			c[key] = h.float(key)
		}
	}
	switch c["model_type"] {
	case "gemma2":
		c["query_pre_attn_scalar"] = scalar(46)
		if h.has("attention.sliding_window") {
			c["sliding_window"] = h.integer("attention.sliding_window")
		}
	case "gemma3_text":
		c["query_pre_attn_scalar"] = scalar(62)
		c["rope_local_base_freq"] = 10000.0
		if h.has("rope.freq_base_swa") {
			c["rope_local_base_freq"] = h.float("rope.freq_base_swa")
		}
		c["sliding_window_pattern"] = int64(1) // the converter says no window then
		if h.has("attention.sliding_window") {
			c["sliding_window"], c["sliding_window_pattern"] = h.integer("attention.sliding_window"), int64(6)
		}
	}
}

// minusOne takes the 1 away that the converter added to the weight of a norm. Programs
// add it again, as mlx-lm does; a weight to which that does not give the file's number is
// an error.
func (h *hf) minusOne(t *Tensor, parts []*weights.Tensor) ([]*weights.Tensor, error) {
	x := parts[0]
	if len(parts) > 1 || !x.DType.IsFloat() {
		return nil, h.fail(t.at, "dimensions", "tensor %q is the weight of a norm, and has type %v", t.Name, t.Type)
	}
	dtype, size := x.DType, x.DType.Size()
	original := func(src []byte) float64 { return graph.Round(dtype, graph.DecodeElem(dtype, src)-1) }
	data := make([]byte, x.NumBytes())
	if err := x.ReadInto(data); err != nil {
		return nil, err
	}
	for i := 0; i < len(data); i += size {
		v := graph.DecodeElem(dtype, data[i:])
		if back := graph.Round(dtype, 1+original(data[i:])); back != v || math.IsInf(v, 0) {
			return nil, h.fail(t.at, "norm", "tensor %q: element %d, %v, is not 1 more than any number of type %v", t.Name, i/size, v, dtype).
				WithHint("Gemma's norms are stored with 1 added to their weights; convert the Hugging Face model with mlx_lm.convert instead")
		}
	}
	x, err := weights.Map(x, dtype, func(dst, src []byte) {
		for i := 0; i < len(src); i += size {
			graph.AppendElem(dst[i:i], dtype, original(src[i:]))
		}
	})
	return []*weights.Tensor{x}, err
}

// isNorm reports whether a module of a file is a norm.
func isNorm(module string) bool { return strings.HasSuffix(module, "norm") }
