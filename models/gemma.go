package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// gemma is mlx_lm/models/gemma.py.
type gemma struct {
	gemmaDecoder
	attention attention
}

// gemmaDecoder is what the Gemma models have in common: norms by one more than their
// weight, GELU in place of SiLU, an embedding that is scaled and is the head, too.
type gemmaDecoder struct {
	decoder
	intermediateSize int
}

func newGemma(f *fields) network {
	m := &gemma{gemmaDecoder: newGemmaDecoder(f)}
	m.attention = newGemmaAttention(f)
	m.attention.rope.traditional = f.boolOr("rope_traditional", false)
	return m
}

// newGemmaDecoder reads what gemma and gemma2 have in common. mlx-lm ignores
// hidden_act and hidden_activation: GELU is exact in gemma and by tanh in gemma2.
func newGemmaDecoder(f *fields) gemmaDecoder {
	d := gemmaDecoder{
		decoder: decoder{
			hiddenSize:        f.int("hidden_size", 1, maxSize),
			numHiddenLayers:   f.int("num_hidden_layers", 1, maxLayers),
			vocabSize:         f.int("vocab_size", 1, maxVocab),
			rmsNormEps:        f.positive("rms_norm_eps"),
			tieWordEmbeddings: f.boolOr("tie_word_embeddings", true),
		},
		intermediateSize: f.int("intermediate_size", 1, maxSize),
	}
	if !d.tieWordEmbeddings {
		f.fail("tie_word_embeddings", "unsupported", "mlx-lm has no head of its own for this model")
	}
	return d
}

// newGemmaAttention reads what gemma and gemma2 have in common.
func newGemmaAttention(f *fields) attention {
	f.missing("num_key_value_heads")
	a := newAttention(f)
	a.setHeadDim(f, f.int("head_dim", 2, maxHeadDim))
	a.rope = newRope(f, a.headDim, 10000)
	// mlx-lm ignores these keys; what it then computes is not the model.
	if a.rope.scale != 1 || a.rope.freqs != nil {
		f.fail("rope_scaling", "unsupported", "mlx-lm does not scale the rotary embedding of this model")
	}
	f.noGemmaBias()
	return a
}

// noGemmaBias refuses biases, and attention that mlx-lm does not compute.
func (f *fields) noGemmaBias() {
	if f.boolOr("attention_bias", false) {
		f.fail("attention_bias", "unsupported", "mlx-lm has no biases in the attention of this model")
	}
	if f.boolOr("use_bidirectional_attention", false) {
		f.fail("use_bidirectional_attention", "unsupported", "mlx-lm lets no token of this model see later ones")
	}
}

func (n *gemma) forward(m module, tokens value) value {
	return n.asLinear(m, n.around(m, tokens, math.Sqrt(float64(n.hiddenSize)), n.block))
}

// around is GemmaModel.__call__; block is its layer.
func (d *gemmaDecoder) around(m module, tokens value, scale float64, block func(m module, layer int, x value) value) value {
	model := m.sub("model")
	embed := model.sub("embed_tokens")
	h := embed.embedding(tokens, d.vocabSize, d.hiddenSize)
	h = model.multiply(h, model.scalarOf(h, scale))
	for i := range d.numHiddenLayers {
		h = block(model.layer(i), i, h)
	}
	return model.gemmaNorm("norm", h, d.rmsNormEps)
}

func (d *gemmaDecoder) asLinear(m module, x value) value {
	return m.sub("model").sub("embed_tokens").asLinear(x, d.vocabSize)
}

// block is TransformerBlock.__call__.
func (n *gemma) block(m module, layer int, x value) value {
	r := n.attention.call(m.sub("self_attn"), layer, m.gemmaNorm("input_layernorm", x, n.rmsNormEps))
	h := m.plus(x, r)
	r = n.mlp(m.sub("mlp"), m.gemmaNorm("post_attention_layernorm", h, n.rmsNormEps), module.gelu)
	return m.plus(h, r)
}

// mlp is MLP.__call__.
func (d *gemmaDecoder) mlp(m module, x value, gelu func(m module, x value) value) value {
	gate := gelu(m, m.linear("gate_proj", x, d.intermediateSize, false))
	up := m.linear("up_proj", x, d.intermediateSize, false)
	return m.linear("down_proj", m.multiply(gate, up), m.width(x), false)
}

func (*gemmaDecoder) expertsPerToken() int { return 0 }
func (*gemmaDecoder) drops(string) bool    { return false }

// gemmaNorm is RMSNorm of the Gemma models, the module of that name in m.
func (m module) gemmaNorm(name string, x value, eps float64) value {
	at := m.sub(name)
	w := at.param("weight", m.width(x))
	return at.add(opRMSNorm, []value{x, at.plus(w, at.scalarOf(w, 1))}, graph.Float(eps))
}

// gelu is mlx.nn.gelu. mlx-lm runs it compiled, and MLX writes the constants of what it
// compiles with 7 digits: in float32, and only there, its square root of 2 is off by an ulp.
func (m module) gelu(x value) value {
	e := m.add(opErf, []value{m.divide(x, m.scalarOf(x, math.Sqrt2))})
	return m.divide(m.multiply(x, m.plus(e, m.scalarOf(x, 1))), m.scalarOf(x, 2))
}

// geluApprox is mlx.nn.gelu_approx.
func (m module) geluApprox(x value) value {
	cube := m.add(opPower, []value{x, m.scalarOf(x, 3)})
	inner := m.plus(x, m.multiply(cube, m.scalarOf(x, 0.044715)))
	t := m.add(opTanh, []value{m.multiply(inner, m.scalarOf(x, math.Sqrt(2/math.Pi)))})
	return m.multiply(m.multiply(x, m.scalarOf(x, 0.5)), m.plus(t, m.scalarOf(x, 1)))
}
