package models

import (
	"math"
	"strings"

	"zmlx-rewrite/graph"
)

// gemma3Text is mlx_lm/models/gemma3_text.py.
type gemma3Text struct {
	gemmaDecoder
	slidingWindow, slidingWindowPattern int
	attention                           gemma3Attention
}

// gemma3Attention is class Attention, with the rotary embeddings of both kinds of layers.
type gemma3Attention struct {
	attention // its rope is that of the layers which see everything
	local     rope
	scale     float64
}

func newGemma3Text(f *fields) network {
	return gemma3From(f, f.intOr("vocab_size", 262144, 1, maxVocab), 4, 1)
}

func gemma3From(f *fields, vocab, heads, kvHeads int) *gemma3Text {
	n := &gemma3Text{gemmaDecoder: gemmaDecoder{
		decoder: decoder{
			hiddenSize:        f.intOr("hidden_size", 1152, 1, maxSize),
			numHiddenLayers:   f.intOr("num_hidden_layers", 26, 1, maxLayers),
			vocabSize:         vocab,
			rmsNormEps:        f.positiveOr("rms_norm_eps", 1e-6),
			tieWordEmbeddings: f.boolOr("tie_word_embeddings", true),
		},
		intermediateSize: f.intOr("intermediate_size", 6912, 1, maxSize),
	}}
	n.slidingWindow = f.intOr("sliding_window", 512, 1, 1<<31-1)
	n.slidingWindowPattern = f.intOr("sliding_window_pattern", 6, 1, maxLayers)
	if n.slidingWindowPattern > n.numHiddenLayers {
		f.fail("sliding_window_pattern", "invalid", "%d is more than the %d layers: mlx-lm needs a layer that sees everything", n.slidingWindowPattern, n.numHiddenLayers)
	}

	a := &n.attention
	a.heads = f.intOr("num_attention_heads", heads, 1, maxHeads)
	a.kvHeads = f.intOr("num_key_value_heads", kvHeads, 1, maxHeads)
	if a.heads%a.kvHeads != 0 {
		f.fail("num_key_value_heads", "invalid", "%d does not divide num_attention_heads, %d", a.kvHeads, a.heads)
	}
	a.eps = n.rmsNormEps
	a.scale = math.Pow(f.positiveOr("query_pre_attn_scalar", 256), -0.5)
	a.setHeadDim(f, f.intOr("head_dim", 256, 2, maxHeadDim))
	a.rope, a.local = gemma3Ropes(f, a.headDim)

	// mlx-lm ignores these keys; what it then computes is not the model.
	for _, key := range []string{"attn_logit_softcapping", "final_logit_softcapping"} {
		if f.has(key) {
			f.fail(key, "unsupported", "mlx-lm does not cap the logits of this model")
		}
	}
	types := f.texts("layer_types")
	if types != nil && len(types) != n.numHiddenLayers {
		f.fail("layer_types", "invalid", "has %d entries for %d layers", len(types), n.numHiddenLayers)
	}
	for i, t := range types {
		if want := map[bool]string{true: "sliding_attention", false: "full_attention"}[n.isSliding(i)]; t != want {
			f.fail("layer_types", "unsupported", "layer %d has %q; sliding_window_pattern, %d, makes it %s", i, t, n.slidingWindowPattern, want)
			break
		}
	}
	f.noGemmaBias()
	return n
}

// gemma3Ropes reads the rotary embeddings of the layers that see everything and of those
// with a window. Files written by transformers 5 have both in rope_parameters.
func gemma3Ropes(f *fields, dims int) (global, local rope) {
	if p := f.object("rope_parameters"); p != nil && (p.has("full_attention") || p.has("sliding_attention")) {
		of := func(key string, otherwise float64) rope {
			q := p.object(key)
			if q == nil {
				return rope{dims: dims, base: otherwise, scale: 1}
			}
			return scaledRope(q, q, dims, otherwise)
		}
		global, local = of("full_attention", 1e6), of("sliding_attention", 1e4)
	} else {
		global, local = newRope(f, dims, 1e6), rope{dims: dims, base: f.positiveOr("rope_local_base_freq", 1e4), scale: 1}
	}
	if local.scale != 1 || local.freqs != nil {
		f.fail("rope_parameters", "unsupported", "mlx-lm does not scale the rotary embedding of layers with a window")
	}
	return global, local
}

func (n *gemma3Text) isSliding(layer int) bool { return (layer+1)%n.slidingWindowPattern != 0 }

func (n *gemma3Text) window() int {
	if n.slidingWindowPattern == 1 {
		return 0
	}
	return n.slidingWindow
}

func (n *gemma3Text) forward(m module, tokens value) value {
	// The scale is rounded to bfloat16 whatever the type of the activations is.
	scale := graph.Round(graph.BFloat16, math.Sqrt(float64(n.hiddenSize)))
	out := n.around(m, tokens, scale, n.block)
	if n.tied(m) {
		return n.asLinear(m, out)
	}
	return m.linear("lm_head", out, n.vocabSize, false)
}

// tied is what sanitize decides: the head is the embedding if the weights have no other.
func (n *gemma3Text) tied(m module) bool {
	src := m.b.params.src
	if src == nil {
		return n.tieWordEmbeddings
	}
	_, ok := src.ParamType(m.sub("lm_head").path + ".weight")
	return !ok
}

// block is TransformerBlock.__call__.
func (n *gemma3Text) block(m module, layer int, x value) value {
	r := n.attention.call(m.sub("self_attn"), layer, n, m.gemmaNorm("input_layernorm", x, n.rmsNormEps))
	h := m.clipResidual(x, m.gemmaNorm("post_attention_layernorm", r, n.rmsNormEps))
	r = n.mlp(m.sub("mlp"), m.gemmaNorm("pre_feedforward_layernorm", h, n.rmsNormEps), module.geluApprox)
	return m.clipResidual(h, m.gemmaNorm("post_feedforward_layernorm", r, n.rmsNormEps))
}

// clipResidual is clip_residual: the sum of x and y, kept finite in float16.
func (m module) clipResidual(x, y value) value {
	if m.typeOf(x).DType != graph.Float16 {
		return m.plus(x, y)
	}
	bound := -graph.Lowest(graph.Float16)
	sum := m.plus(m.add(opAstype, []value{x}, graph.Float32), m.add(opAstype, []value{y}, graph.Float32))
	sum = m.add(opMaximum, []value{sum, m.scalar(graph.Float32, -bound)})
	sum = m.add(opMinimum, []value{sum, m.scalar(graph.Float32, bound)})
	return m.add(opAstype, []value{sum}, graph.Float16)
}

// call is Attention.__call__ of layer number layer; m is the module self_attn.
func (a gemma3Attention) call(m module, layer int, n *gemma3Text, x value) value {
	B, L, heads, kvHeads, headDim := m.b.batch, m.b.seqLen, graph.N(int64(a.heads)), graph.N(int64(a.kvHeads)), graph.N(int64(a.headDim))

	queries := m.reshape(m.linear("q_proj", x, a.heads*a.headDim, false), B, L, heads, headDim)
	keys := m.reshape(m.linear("k_proj", x, a.kvHeads*a.headDim, false), B, L, kvHeads, headDim)
	values := m.reshape(m.linear("v_proj", x, a.kvHeads*a.headDim, false), B, L, kvHeads, headDim)
	queries = m.gemmaNorm("q_norm", m.transpose(queries, 0, 2, 1, 3), a.eps)
	keys = m.gemmaNorm("k_norm", m.transpose(keys, 0, 2, 1, 3), a.eps)
	values = m.transpose(values, 0, 2, 1, 3)

	rope, window := a.rope, 0
	if n.isSliding(layer) {
		rope, window = a.local, n.slidingWindow
	}
	queries = rope.apply(m, queries)
	keys = rope.apply(m, keys)
	output := m.attend(layer, queries, keys, values, graph.None, a.scale, window)
	return m.linear("o_proj", output, m.width(x), false)
}

// gemma3 is mlx_lm/models/gemma3.py: the language model of a checkpoint that sees images, too.
type gemma3 struct{ *gemma3Text }

func newGemma3(f *fields) network {
	vocab := f.intOr("vocab_size", 262208, 1, maxVocab)
	text := f.object("text_config")
	if text == nil {
		if !f.has("text_config") {
			f.missing("text_config")
		}
		text = &fields{file: f.file, text: f.text, prefix: "text_config.", issues: f.issues}
	}
	// mlx-lm takes the size of the vocabulary from outside of text_config.
	if n := text.intOr("vocab_size", vocab, 1, maxVocab); n != vocab {
		text.fail("vocab_size", "unsupported", "differs from the vocab_size of the whole model, %d, which mlx-lm takes", vocab)
	}
	return gemma3{gemma3From(text, vocab, 8, 4)}
}

func (n gemma3) forward(m module, tokens value) value {
	return n.gemma3Text.forward(m.sub("language_model"), tokens)
}

func (n gemma3) drops(name string) bool {
	return strings.HasPrefix(name, "vision_tower.") || strings.HasPrefix(name, "multi_modal_projector.")
}
