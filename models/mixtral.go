package models

import (
	"fmt"

	"zmlx-rewrite/graph"
)

// mixtral is mlx_lm/models/mixtral.py.
type mixtral struct {
	decoder
	intermediateSize                  int
	numLocalExperts, numExpertsPerTok int
	attention                         attention
}

func newMixtral(f *fields) network {
	m := &mixtral{
		decoder: decoder{
			hiddenSize:        f.intOr("hidden_size", 4096, 1, maxSize),
			numHiddenLayers:   f.intOr("num_hidden_layers", 32, 1, maxLayers),
			vocabSize:         f.intOr("vocab_size", 32000, 1, maxVocab),
			rmsNormEps:        f.positiveOr("rms_norm_eps", 1e-5),
			tieWordEmbeddings: f.boolOr("tie_word_embeddings", false),
		},
		intermediateSize: f.intOr("intermediate_size", 14336, 1, maxSize),
		numLocalExperts:  f.intOr("num_local_experts", 8, 1, maxExperts),
	}
	m.numExpertsPerTok = f.intOr("num_experts_per_tok", min(2, m.numLocalExperts), 1, m.numLocalExperts)
	f.missing("num_key_value_heads") // mlx-lm takes 8, and all heads for null
	m.attention = newAttention(f)
	m.attention.setHeadDim(f, m.hiddenSize/m.attention.heads)
	m.attention.rope = newRope(f, m.attention.headDim, 1e6)
	m.attention.rope.traditional = f.boolOr("rope_traditional", false)

	// mlx-lm ignores these keys; what it then computes is not the model.
	if d := m.attention.headDim; f.intOr("head_dim", d, 2, maxHeadDim) != d {
		f.fail("head_dim", "unsupported", "only hidden_size / num_attention_heads, %d, is supported for mixtral", d)
	}
	if r := m.attention.rope; r.scale != 1 || r.freqs != nil {
		f.fail("rope_scaling", "unsupported", "scaled rotary embedding is not supported for mixtral")
	}
	if f.has("sliding_window") {
		f.fail("sliding_window", "unsupported", "sliding-window attention is not supported")
	}
	if f.boolOr("attention_bias", false) {
		f.fail("attention_bias", "unsupported", "mlx-lm has no biases in the attention of this model")
	}
	f.fullAttention(m.numHiddenLayers)
	return m
}

func (n *mixtral) forward(m module, tokens value) value {
	return n.around(m, tokens, n.block)
}

// block is MixtralDecoderLayer.__call__.
func (n *mixtral) block(m module, layer int, x value) value {
	r := n.attention.call(m.sub("self_attn"), layer, m.rmsNorm("input_layernorm", x, n.rmsNormEps))
	h := m.plus(x, r)
	r = n.experts(m.sub("block_sparse_moe"), m.rmsNorm("post_attention_layernorm", h, n.rmsNormEps))
	return m.plus(h, r)
}

// experts is MixtralSparseMoeBlock.__call__.
func (n *mixtral) experts(m module, x value) value {
	gates := m.linear("gate", x, n.numLocalExperts, false)

	k := graph.N(int64(n.numExpertsPerTok))
	inds := m.add(opArgpartition, []value{m.add(opNegative, []value{gates})}, k.Sub(graph.N(1)), graph.N(-1))
	inds = m.add(opSlice, []value{inds}, dims(-1), nil, graph.Dims{k})
	scores := m.add(opTakeAlong, []value{gates, inds}, graph.N(-1))
	scores = m.add(opSoftmax, []value{scores}, graph.N(-1), graph.Flag(true))

	y := switchGLU(m.sub("switch_mlp"), x, inds, n.numLocalExperts, n.intermediateSize, n.expert)
	return m.add(opSum, []value{m.multiply(y, m.expandDims(scores, -1))}, dims(-2))
}

// expert is the module of one expert in checkpoints that were not made by mlx-lm:
// model.layers.N.block_sparse_moe.experts.I.w1.
func (n *mixtral) expert(block, name string, i int) string {
	w := map[string]string{"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[name]
	return fmt.Sprintf("%s.experts.%d.%s", block, i, w)
}

func (n *mixtral) expertsPerToken() int   { return n.numExpertsPerTok }
func (n *mixtral) drops(name string) bool { return n.tieWordEmbeddings && name == "lm_head.weight" }
