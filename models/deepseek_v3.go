package models

import (
	"strconv"
	"strings"
)

// deepseekV3 is mlx_lm/models/deepseek_v3.py: latent attention, and experts behind a
// router of groups, with experts beside them that every token takes.
type deepseekV3 struct {
	decoder
	intermediateSize, moeIntermediateSize int
	sharedExperts                         int
	moeLayerFreq, firstKDenseReplace      int
	gate                                  moeGate
	attention                             mla
}

// deepseekDefaults are those of a family's ModelArgs.
type deepseekDefaults struct {
	vocab, hidden, intermediate, moeIntermediate, layers int
	firstDense, shared                                   int
	eps                                                  float64
	gate                                                 moeGateDefaults
	mla                                                  mlaDefaults
}

func newDeepseekV3(f *fields) network { return newDeepseek(f) }

// newDeepseek is newDeepseekV3 for the families that have this one inside.
func newDeepseek(f *fields) *deepseekV3 {
	m := readDeepseek(f, deepseekDefaults{
		vocab: 102400, hidden: 4096, intermediate: 11008, moeIntermediate: 1407, layers: 30, eps: 1e-6,
		gate: moeGateDefaults{perTok: 1, scale: 1},
		mla:  mlaDefaults{heads: 32, qLoraRank: 1536, nopeDim: 128, valDim: 128, theta: 10000},
	})
	m.attention.eps = 1e-6
	return m
}

func readDeepseek(f *fields, d deepseekDefaults) *deepseekV3 {
	m := &deepseekV3{
		decoder: decoder{
			hiddenSize:      f.intOr("hidden_size", d.hidden, 1, maxSize),
			numHiddenLayers: f.intOr("num_hidden_layers", d.layers, 1, maxLayers),
			vocabSize:       f.intOr("vocab_size", d.vocab, 1, maxVocab),
			rmsNormEps:      f.positiveOr("rms_norm_eps", d.eps),
		},
		intermediateSize:    f.intOr("intermediate_size", d.intermediate, 1, maxSize),
		moeIntermediateSize: f.intOr("moe_intermediate_size", d.moeIntermediate, 1, maxSize),
		sharedExperts:       f.intOrNone("n_shared_experts", d.shared, maxExperts),
		moeLayerFreq:        f.intOr("moe_layer_freq", 1, 1, maxLayers),
		firstKDenseReplace:  f.intOr("first_k_dense_replace", d.firstDense, 0, maxLayers),
		gate:                newMoEGate(f, d.gate),
		attention:           newMLA(f, d.mla),
	}
	// mlx-lm ignores these keys; what it then computes is not the model.
	if act := f.textOr("hidden_act", "silu"); act != "silu" {
		f.fail("hidden_act", "unsupported", "mlx-lm always takes silu in this model, not %q", act)
	}
	if f.boolOr("tie_word_embeddings", false) {
		f.fail("tie_word_embeddings", "unsupported", "mlx-lm has a head of its own in this model")
	}
	if p := f.positiveOr("partial_rotary_factor", 1); p != 1 {
		f.fail("partial_rotary_factor", "unsupported", "mlx-lm rotates all of qk_rope_head_dim in this model")
	}
	f.fullAttention(m.numHiddenLayers)
	return m
}

func (n *deepseekV3) forward(m module, tokens value) value {
	mask := m.sub("model").causalMask()
	return n.around(m, tokens, func(m module, layer int, x value) value { return n.block(m, layer, x, mask) })
}

// sparse reports whether a layer has experts.
func (n *deepseekV3) sparse(layer int) bool {
	return n.gate.experts > 0 && layer >= n.firstKDenseReplace && layer%n.moeLayerFreq == 0
}

// block is DeepseekV3DecoderLayer.__call__.
func (n *deepseekV3) block(m module, layer int, x, mask value) value {
	r := n.attention.call(m.sub("self_attn"), layer, m.rmsNorm("input_layernorm", x, n.rmsNormEps), mask)
	h := m.plus(x, r)
	x = m.rmsNorm("post_attention_layernorm", h, n.rmsNormEps)
	if n.sparse(layer) {
		r = n.experts(m.sub("mlp"), x)
	} else {
		r = mlp(m.sub("mlp"), x, n.intermediateSize, false)
	}
	return m.plus(h, r)
}

// experts is DeepseekV3MoE.__call__.
func (n *deepseekV3) experts(m module, x value) value {
	inds, scores := n.gate.call(m.sub("gate"), x)
	y := switchGLU(m.sub("switch_mlp"), x, inds, n.gate.experts, n.moeIntermediateSize, qwenExpert)
	sum := m.add(opSum, []value{m.multiply(y, m.expandDims(scores, -1))}, dims(-2))
	out := m.astype(sum, m.typeOf(y).DType)
	if n.sharedExperts > 0 {
		out = m.plus(out, mlp(m.sub("shared_experts"), x, n.moeIntermediateSize*n.sharedExperts, false))
	}
	return out
}

func (n *deepseekV3) expertsPerToken() int {
	for i := range n.numHiddenLayers {
		if n.sparse(i) {
			return n.gate.perTok
		}
	}
	return 0
}

// drops: the layer that predicts more tokens is number 61 in mlx-lm, whatever the number
// of layers.
func (n *deepseekV3) drops(name string) bool {
	return strings.HasPrefix(name, "model.layers.61") || strings.Contains(name, "rotary_emb.inv_freq")
}

// beyond reports whether a weight is of a layer behind the model's last one, which
// predicts more tokens.
func beyond(name string, layers int) bool {
	parts := strings.Split(name, ".")
	if len(parts) < 3 || parts[1] != "layers" {
		return false
	}
	i, err := strconv.Atoi(parts[2])
	return err == nil && i >= layers
}
