package models

// qwen3 is mlx_lm/models/qwen3.py: llama with a norm over each head's query and key.
type qwen3 struct {
	decoder
	intermediateSize int
	attention        attention
}

func newQwen3(f *fields) network {
	m := &qwen3{
		decoder: decoder{
			hiddenSize:        f.int("hidden_size", 1, maxSize),
			numHiddenLayers:   f.int("num_hidden_layers", 1, maxLayers),
			vocabSize:         f.int("vocab_size", 1, maxVocab),
			rmsNormEps:        f.positive("rms_norm_eps"),
			tieWordEmbeddings: f.bool("tie_word_embeddings"),
		},
		intermediateSize: f.int("intermediate_size", 1, maxSize),
	}
	m.attention = qwen3Attention(f, m.rmsNormEps)
	m.attention.rope = newRope(f, m.attention.headDim, 0)
	f.fullAttention(m.numHiddenLayers)
	return m
}

// qwen3Attention reads what qwen3 and qwen3_moe have in common.
func qwen3Attention(f *fields, eps float64) attention {
	f.missing("num_key_value_heads")
	a := newAttention(f)
	a.qkNorm, a.eps = true, eps
	a.setHeadDim(f, f.int("head_dim", 2, maxHeadDim))
	if f.boolOr("attention_bias", false) {
		f.fail("attention_bias", "unsupported", "mlx-lm has no biases in the attention of this model")
	}
	return a
}

func (n *qwen3) forward(m module, tokens value) value {
	return n.around(m, tokens, n.block)
}

// block is TransformerBlock.__call__.
func (n *qwen3) block(m module, layer int, x value) value {
	r := n.attention.call(m.sub("self_attn"), layer, m.rmsNorm("input_layernorm", x, n.rmsNormEps))
	h := m.plus(x, r)
	r = mlp(m.sub("mlp"), m.rmsNorm("post_attention_layernorm", h, n.rmsNormEps), n.intermediateSize, false)
	return m.plus(h, r)
}

func (n *qwen3) expertsPerToken() int   { return 0 }
func (n *qwen3) drops(name string) bool { return n.tieWordEmbeddings && name == "lm_head.weight" }
