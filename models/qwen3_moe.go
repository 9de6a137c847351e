package models

import (
	"slices"

	"zmlx-rewrite/graph"
)

// qwen3MoE is mlx_lm/models/qwen3_moe.py.
type qwen3MoE struct {
	decoder
	qwenSparse
	intermediateSize int
	attention        attention
}

// qwenSparse says which layers have experts, and how many.
type qwenSparse struct {
	numExperts, numExpertsPerTok, moeIntermediateSize int
	decoderSparseStep                                 int
	mlpOnlyLayers                                     []int
	normTopkProb                                      bool
}

func newQwen3MoE(f *fields) network {
	m := &qwen3MoE{
		decoder: decoder{
			hiddenSize:        f.int("hidden_size", 1, maxSize),
			numHiddenLayers:   f.int("num_hidden_layers", 1, maxLayers),
			vocabSize:         f.int("vocab_size", 1, maxVocab),
			tieWordEmbeddings: f.bool("tie_word_embeddings"),
			rmsNormEps:        f.positive("rms_norm_eps"),
		},
		intermediateSize: f.int("intermediate_size", 1, maxSize),
		qwenSparse: qwenSparse{
			numExperts:          f.int("num_experts", 0, maxExperts),
			moeIntermediateSize: f.int("moe_intermediate_size", 1, maxSize),
			decoderSparseStep:   f.int("decoder_sparse_step", 1, maxLayers),
			normTopkProb:        f.bool("norm_topk_prob"),
		},
	}
	if m.numExperts > 0 {
		m.numExpertsPerTok = f.int("num_experts_per_tok", 1, m.numExperts)
	}
	if !f.missing("mlp_only_layers") {
		m.mlpOnlyLayers = f.ints("mlp_only_layers")
		if n := len(m.mlpOnlyLayers); n > m.numHiddenLayers {
			f.fail("mlp_only_layers", "invalid", "has %d entries for %d layers", n, m.numHiddenLayers)
		}
	}
	m.attention = qwen3Attention(f, m.rmsNormEps)
	m.attention.rope = newRope(f, m.attention.headDim, 0)
	if r := m.attention.rope; r.scale != 1 || r.freqs != nil {
		// mlx-lm ignores the key here; what it then computes is not the model.
		f.fail("rope_scaling", "unsupported", "scaled rotary embedding is not supported for qwen3_moe")
	}
	f.fullAttention(m.numHiddenLayers)
	return m
}

func (n *qwen3MoE) forward(m module, tokens value) value {
	return n.around(m, tokens, n.block)
}

// sparse reports whether a layer has experts.
func (s *qwenSparse) sparse(layer int) bool {
	return !slices.Contains(s.mlpOnlyLayers, layer) && s.numExperts > 0 && (layer+1)%s.decoderSparseStep == 0
}

// block is Qwen3MoeDecoderLayer.__call__.
func (n *qwen3MoE) block(m module, layer int, x value) value {
	r := n.attention.call(m.sub("self_attn"), layer, m.rmsNorm("input_layernorm", x, n.rmsNormEps))
	h := m.plus(x, r)
	x = m.rmsNorm("post_attention_layernorm", h, n.rmsNormEps)
	if n.sparse(layer) {
		r = n.experts(m.sub("mlp"), x)
	} else {
		r = mlp(m.sub("mlp"), x, n.intermediateSize, false)
	}
	return m.plus(h, r)
}

// experts is Qwen3MoeSparseMoeBlock.__call__.
func (n *qwen3MoE) experts(m module, x value) value {
	y, t := qwenExperts(m, x, n.numExperts, n.numExpertsPerTok, n.moeIntermediateSize, n.normTopkProb)
	if m.typeOf(y).DType != t {
		y = m.add(opAstype, []value{y}, t)
	}
	return y
}

// qwenExperts is the router of Qwen's models and the weighted sum over the experts that
// it chose, with the type of what they give.
func qwenExperts(m module, x value, experts, perTok, hidden int, norm bool) (sum value, t graph.DType) {
	gates := m.linear("gate", x, experts, false)
	gates = m.add(opSoftmax, []value{gates}, graph.N(-1), graph.Flag(true))

	k := graph.N(int64(perTok))
	inds := m.add(opArgpartition, []value{gates}, k.Mul(graph.N(-1)), graph.N(-1))
	inds = m.add(opSlice, []value{inds}, dims(-1), graph.Dims{k.Mul(graph.N(-1))})
	scores := m.add(opTakeAlong, []value{gates, inds}, graph.N(-1))
	if norm {
		scores = m.add(opDivide, []value{scores, m.add(opSum, []value{scores}, dims(-1), graph.Flag(true))})
	}
	y := switchGLU(m.sub("switch_mlp"), x, inds, experts, hidden, qwenExpert)
	return m.add(opSum, []value{m.multiply(y, m.expandDims(scores, -1))}, dims(-2)), m.typeOf(y).DType
}

// perToken returns how many experts the sparse ones of some layers choose, 0 if none is.
func (s *qwenSparse) perToken(layers int) int {
	for i := range layers {
		if s.sparse(i) {
			return s.numExpertsPerTok
		}
	}
	return 0
}

func (n *qwen3MoE) expertsPerToken() int { return n.perToken(n.numHiddenLayers) }

func (n *qwen3MoE) drops(name string) bool {
	return n.tieWordEmbeddings && name == "lm_head.weight"
}
