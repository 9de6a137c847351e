package models

import (
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// gptOSS is mlx_lm/models/gpt_oss.py.
type gptOSS struct {
	decoder
	intermediateSize                             int
	numLocalExperts, numExpertsPerTok            int
	headDim, numAttentionHeads, numKeyValueHeads int
	slidingWindow                                int
	layerTypes                                   []string
	rope                                         rope
}

const (
	slidingAttention = "sliding_attention"
	fullAttention    = "full_attention"
)

// SwigluOAI's numbers, which mlx-lm does not read from config.json.
const swigluAlpha, swigluLimit = 1.702, 7.0

func newGPTOSS(f *fields) network {
	m := &gptOSS{
		decoder: decoder{
			hiddenSize:      f.intOr("hidden_size", 2880, 1, maxSize),
			numHiddenLayers: f.intOr("num_hidden_layers", 36, 1, maxLayers),
			vocabSize:       f.intOr("vocab_size", 201088, 1, maxVocab),
			rmsNormEps:      f.positiveOr("rms_norm_eps", 1e-5),
		},
		intermediateSize: f.intOr("intermediate_size", 2880, 1, maxSize),
		numLocalExperts:  f.intOr("num_local_experts", 128, 1, maxExperts),
		slidingWindow:    f.intOr("sliding_window", 128, 1, 1<<30),
		layerTypes:       f.texts("layer_types"),
	}
	m.numExpertsPerTok = f.intOr("num_experts_per_tok", min(4, m.numLocalExperts), 1, m.numLocalExperts)
	a := attention{heads: f.intOr("num_attention_heads", 64, 1, maxHeads), kvHeads: f.intOr("num_key_value_heads", 8, 1, maxHeads)}
	if a.heads%a.kvHeads != 0 {
		f.fail("num_key_value_heads", "invalid", "%d does not divide num_attention_heads, %d", a.kvHeads, a.heads)
	}
	a.setHeadDim(f, f.intOr("head_dim", 64, 2, maxHeadDim))
	m.numAttentionHeads, m.numKeyValueHeads, m.headDim = a.heads, a.kvHeads, a.headDim
	m.rope = newRope(f, m.headDim, 150000)
	m.readLayerTypes(f)

	// mlx-lm ignores these keys; what it then computes is not the model.
	if f.positiveOr("swiglu_limit", swigluLimit) != swigluLimit {
		f.fail("swiglu_limit", "unsupported", "only %g is supported for gpt_oss", swigluLimit)
	}
	if !f.boolOr("attention_bias", true) {
		f.fail("attention_bias", "unsupported", "mlx-lm has biases in the attention of this model")
	}
	if f.boolOr("tie_word_embeddings", false) {
		f.fail("tie_word_embeddings", "unsupported", "mlx-lm has a head of its own in this model")
	}
	return m
}

// readLayerTypes checks the kinds of the layers. mlx-lm takes them in pairs where the
// file does not say, and needs one of each.
func (n *gptOSS) readLayerTypes(f *fields) {
	if len(n.layerTypes) == 0 {
		n.layerTypes = slices.Repeat([]string{slidingAttention, fullAttention}, n.numHiddenLayers/2)
	}
	if len(n.layerTypes) != n.numHiddenLayers {
		f.fail("layer_types", "invalid", "has %d entries for %d layers", len(n.layerTypes), n.numHiddenLayers)
		return
	}
	for i, t := range n.layerTypes {
		if t != slidingAttention && t != fullAttention {
			f.fail("layer_types", "unsupported", "layer %d has %q; only %s and %s are supported", i, t, slidingAttention, fullAttention)
			return
		}
	}
	for _, t := range []string{slidingAttention, fullAttention} {
		if !slices.Contains(n.layerTypes, t) {
			f.fail("layer_types", "unsupported", "has no layer with %s; mlx-lm needs one", t)
		}
	}
}

func (n *gptOSS) forward(m module, tokens value) value {
	return n.around(m, tokens, n.block)
}

// block is TransformerBlock.__call__.
func (n *gptOSS) block(m module, layer int, x value) value {
	r := n.attention(m.sub("self_attn"), layer, m.rmsNorm("input_layernorm", x, n.rmsNormEps))
	x = m.plus(x, r)
	r = n.mlp(m.sub("mlp"), m.rmsNorm("post_attention_layernorm", x, n.rmsNormEps))
	return m.plus(x, r)
}

// attention is AttentionBlock.__call__.
func (n *gptOSS) attention(m module, layer int, x value) value {
	B, L, D := m.b.batch, m.b.seqLen, graph.N(int64(n.headDim))
	heads := func(name string, count int) value {
		y := m.linear(name, x, count*n.headDim, true)
		return m.transpose(m.reshape(y, B, L, graph.N(int64(count)), D), 0, 2, 1, 3)
	}
	q := n.rope.apply(m, heads("q_proj", n.numAttentionHeads))
	k := n.rope.apply(m, heads("k_proj", n.numKeyValueHeads))
	v := heads("v_proj", n.numKeyValueHeads)

	window := 0
	if n.layerTypes[layer] == slidingAttention {
		window = n.slidingWindow
	}
	y := m.attend(layer, q, k, v, m.param("sinks", n.numAttentionHeads), 1/math.Sqrt(float64(n.headDim)), window)
	return m.linear("o_proj", y, n.hiddenSize, true)
}

// mlp is MLPBlock.__call__.
func (n *gptOSS) mlp(m module, x value) value {
	g := m.linear("router", x, n.numLocalExperts, true)

	// mlx_topk
	k := graph.N(int64(-n.numExpertsPerTok))
	indices := m.add(opArgpartition, []value{g}, k, graph.N(-1))
	indices = m.add(opSlice, []value{indices}, dims(-1), graph.Dims{k})
	weights := m.add(opTakeAlong, []value{g, indices}, graph.N(-1))
	weights = m.add(opSoftmax, []value{weights}, graph.N(-1), graph.Flag(true))

	experts := glu{experts: n.numLocalExperts, hidden: n.intermediateSize, bias: true, activation: module.swigluOAI}
	y := experts.call(m.sub("experts"), x, indices)
	return m.add(opSum, []value{m.multiply(y, m.expandDims(weights, -1))}, dims(-2))
}

// swigluOAI is activations.swiglu_oai.
func (m module) swigluOAI(gate, x value) value {
	scalar := func(v float64) value { return m.b.g.Scalar(m.typeOf(gate).DType, float64(float32(v))) }
	maximum, minimum := mustOp("maximum"), mustOp("minimum")

	limit := scalar(swigluLimit)
	gate = m.add(minimum, []value{gate, limit})
	x = m.add(minimum, []value{m.add(maximum, []value{x, scalar(-swigluLimit)}), limit}) // clip
	act := m.multiply(gate, m.add(opSigmoid, []value{m.multiply(gate, scalar(swigluAlpha))}))
	return m.multiply(m.plus(x, scalar(1)), act)
}

func (n *gptOSS) expertsPerToken() int { return n.numExpertsPerTok }
func (n *gptOSS) drops(string) bool    { return false }
func (n *gptOSS) window() int          { return n.slidingWindow }

// sanitize is Model.sanitize: the published files have packed weights as blocks of 16
// bytes, and gate and up projections row by row in turns.
func (n *gptOSS) sanitize(t *weights.Tensor) ([]*weights.Tensor, error) {
	stem, name, ok := strings.Cut(t.Name, ".mlp.experts.")
	if !ok {
		return []*weights.Tensor{t}, nil
	}
	module, part, found := name, "", false
	for _, p := range [][2]string{{"_blocks", "weight"}, {"_scales", "scales"}, {"_bias", "bias"}} {
		if module, found = strings.CutSuffix(name, p[0]); found {
			part = p[1]
			break
		}
	}
	if !found || module != "gate_up_proj" && module != "down_proj" {
		return []*weights.Tensor{t}, nil
	}
	to := func(module string) string { return stem + ".mlp.experts." + module + "." + part }
	var err error
	if part == "weight" { // [experts, rows, groups, 16] of bytes to [experts, rows, groups*4]
		if t, err = weights.ViewAs(t.Name, t, graph.Uint32); err != nil {
			return nil, err
		}
		if rank := len(t.Shape); rank > 1 {
			shape := append(slices.Clone(t.Shape[:rank-2]), t.Shape[rank-2]*t.Shape[rank-1])
			if t, err = weights.Reshape(t.Name, t, shape...); err != nil {
				return nil, err
			}
		}
	}
	if module == "down_proj" {
		return []*weights.Tensor{t.Renamed(to(module))}, nil
	}
	axis := -2
	if part == "bias" {
		axis = -1
	}
	gate, err := weights.Every(to("gate_proj"), t, axis, 0, 2)
	if err != nil {
		return nil, err
	}
	up, err := weights.Every(to("up_proj"), t, axis, 1, 2)
	if err != nil {
		return nil, err
	}
	return []*weights.Tensor{gate, up}, nil
}
