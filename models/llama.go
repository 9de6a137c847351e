package models

import "strings"

// llama is mlx_lm/models/llama.py.
type llama struct {
	decoder
	intermediateSize int
	mlpBias          bool
	attention        attention
}

func newLlama(f *fields) network {
	m := &llama{
		decoder: decoder{
			hiddenSize:        f.int("hidden_size", 1, maxSize),
			numHiddenLayers:   f.int("num_hidden_layers", 1, maxLayers),
			vocabSize:         f.int("vocab_size", 1, maxVocab),
			rmsNormEps:        f.positive("rms_norm_eps"),
			tieWordEmbeddings: f.boolOr("tie_word_embeddings", true),
		},
		intermediateSize: f.int("intermediate_size", 1, maxSize),
		mlpBias:          f.boolOr("mlp_bias", false),
		attention:        newAttention(f),
	}
	m.attention.bias = f.boolOr("attention_bias", false)
	m.attention.setHeadDim(f, f.intOr("head_dim", m.hiddenSize/m.attention.heads, 2, maxHeadDim))
	m.attention.rope = newRope(f, m.attention.headDim, 10000)
	m.attention.rope.traditional = f.boolOr("rope_traditional", false)
	f.fullAttention(m.numHiddenLayers)
	return m
}

func (n *llama) forward(m module, tokens value) value {
	return n.around(m, tokens, n.block)
}

// block is TransformerBlock.__call__.
func (n *llama) block(m module, layer int, x value) value {
	r := n.attention.call(m.sub("self_attn"), layer, m.rmsNorm("input_layernorm", x, n.rmsNormEps))
	h := m.plus(x, r)
	r = mlp(m.sub("mlp"), m.rmsNorm("post_attention_layernorm", h, n.rmsNormEps), n.intermediateSize, n.mlpBias)
	return m.plus(h, r)
}

func (n *llama) expertsPerToken() int { return 0 }

func (n *llama) drops(name string) bool {
	return strings.Contains(name, "self_attn.rotary_emb.inv_freq") || n.tieWordEmbeddings && name == "lm_head.weight"
}
