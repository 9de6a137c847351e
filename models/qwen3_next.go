package models

import (
	"fmt"
	"math"

	"zmlx-rewrite/graph"
)

// qwen3Next is mlx_lm/models/qwen3_next.py: three of four layers have a gated delta net in
// place of attention, which keeps a state of one size.
type qwen3Next struct {
	decoder
	qwenSparse
	intermediateSize             int
	sharedExpertIntermediateSize int
	fullAttentionInterval        int
	attention                    attention
	delta                        gatedDeltaNet
}

// gatedDeltaNet is class Qwen3NextGatedDeltaNet.
type gatedDeltaNet struct {
	kHeads, vHeads, kDim, vDim int // of each head
	taps                       int // of the convolution
	eps                        float64
}

func newQwen3Next(f *fields) network {
	n := &qwen3Next{
		decoder: decoder{
			hiddenSize:        f.int("hidden_size", 1, maxSize),
			numHiddenLayers:   f.int("num_hidden_layers", 1, maxLayers),
			vocabSize:         f.int("vocab_size", 1, maxVocab),
			rmsNormEps:        f.positive("rms_norm_eps"),
			tieWordEmbeddings: f.boolOr("tie_word_embeddings", false),
		},
		intermediateSize: f.int("intermediate_size", 1, maxSize),
		qwenSparse: qwenSparse{
			numExperts:          f.int("num_experts", 0, maxExperts),
			moeIntermediateSize: f.int("moe_intermediate_size", 1, maxSize),
			decoderSparseStep:   f.int("decoder_sparse_step", 1, maxLayers),
			normTopkProb:        f.boolOr("norm_topk_prob", false),
		},
		sharedExpertIntermediateSize: f.int("shared_expert_intermediate_size", 1, maxSize),
		fullAttentionInterval:        f.intOr("full_attention_interval", 4, 2, maxLayers),
		delta: gatedDeltaNet{
			kHeads: f.int("linear_num_key_heads", 1, maxHeads), vHeads: f.int("linear_num_value_heads", 1, maxHeads),
			kDim: f.int("linear_key_head_dim", 1, maxHeadDim), vDim: f.int("linear_value_head_dim", 1, maxHeadDim),
			taps: f.int("linear_conv_kernel_dim", 2, 64),
		},
	}
	most := n.numExperts
	if most == 0 { // none are chosen, whatever the key says
		most = maxExperts
	}
	n.numExpertsPerTok = f.int("num_experts_per_tok", 1, most)
	f.missing("mlp_only_layers")
	n.mlpOnlyLayers = f.ints("mlp_only_layers")
	if len(n.mlpOnlyLayers) > n.numHiddenLayers {
		f.fail("mlp_only_layers", "invalid", "has %d entries for %d layers", len(n.mlpOnlyLayers), n.numHiddenLayers)
	}
	d := &n.delta
	d.eps = n.rmsNormEps
	if d.vHeads%d.kHeads != 0 {
		f.fail("linear_num_value_heads", "invalid", "%d is no multiple of linear_num_key_heads, %d", d.vHeads, d.kHeads)
	}
	if 2*d.kHeads*d.kDim+d.vHeads*d.vDim > maxSize {
		f.fail("linear_key_head_dim", "invalid", "all heads together have more than %d elements", maxSize)
	}
	if n.fullAttentionInterval > n.numHiddenLayers {
		f.fail("full_attention_interval", "invalid", "%d is more than the %d layers: mlx-lm needs a layer with attention", n.fullAttentionInterval, n.numHiddenLayers)
	}
	f.missing("num_key_value_heads")
	n.attention = newAttention(f)
	n.attention.eps = n.rmsNormEps
	n.attention.bias = f.boolOr("attention_bias", false)
	n.attention.setHeadDim(f, f.int("head_dim", 2, maxHeadDim))
	rotated := int(float64(n.attention.headDim) * f.positive("partial_rotary_factor"))
	if rotated < 2 || rotated%2 != 0 || rotated > n.attention.headDim {
		f.fail("partial_rotary_factor", "invalid", "rotates %d of the %d elements of a head; it must be an even number of them", rotated, n.attention.headDim)
		rotated = 2
	}
	n.attention.rope = newRope(f, rotated, 0)
	types := f.texts("layer_types")
	if types != nil && len(types) != n.numHiddenLayers {
		f.fail("layer_types", "invalid", "has %d entries for %d layers", len(types), n.numHiddenLayers)
	}
	for i, t := range types {
		if want := map[bool]string{true: "linear_attention", false: "full_attention"}[n.isLinear(i)]; t != want {
			f.fail("layer_types", "unsupported", "layer %d has %q; full_attention_interval, %d, makes it %s", i, t, n.fullAttentionInterval, want)
			break
		}
	}
	if f.boolOr("use_sliding_window", false) {
		f.fail("use_sliding_window", "unsupported", "sliding-window attention is not supported")
	}
	return n
}

func (n *qwen3Next) isLinear(layer int) bool { return (layer+1)%n.fullAttentionInterval != 0 }

func (n *qwen3Next) forward(m module, tokens value) value {
	// sanitize adds one to the norms of such a checkpoint, among other things.
	if src := m.b.params.src; src != nil {
		for i := range n.numHiddenLayers {
			if name := fmt.Sprintf("model.layers.%d.mlp.experts.0.up_proj.weight", i); n.sparse(i) {
				if _, ok := src.ParamType(name); ok {
					m.b.params.fail("unsupported", name, "a checkpoint with one module an expert is not supported for qwen3_next").
						WithHint("convert it with mlx_lm.convert first")
					break
				}
			}
		}
	}
	return n.around(m, tokens, n.block)
}

// block is Qwen3NextDecoderLayer.__call__.
func (n *qwen3Next) block(m module, layer int, x value) value {
	r := m.rmsNorm("input_layernorm", x, n.rmsNormEps)
	if n.isLinear(layer) {
		r = n.delta.call(m.sub("linear_attn"), layer, r)
	} else {
		r = n.attend(m.sub("self_attn"), layer, r)
	}
	h := m.plus(x, r)
	x = m.rmsNorm("post_attention_layernorm", h, n.rmsNormEps)
	if n.sparse(layer) {
		r = n.experts(m.sub("mlp"), x)
	} else {
		r = mlp(m.sub("mlp"), x, n.intermediateSize, false)
	}
	return m.plus(h, r)
}

// attend is Qwen3NextAttention.__call__: the projection to queries has a gate for the
// output behind each head.
func (n *qwen3Next) attend(m module, layer int, x value) value {
	a := n.attention
	B, L, heads, kvHeads, headDim := m.b.batch, m.b.seqLen, graph.N(int64(a.heads)), graph.N(int64(a.kvHeads)), graph.N(int64(a.headDim))

	both := m.reshape(m.linear("q_proj", x, 2*a.heads*a.headDim, a.bias), B, L, heads, headDim.Mul(graph.N(2)))
	queries := m.part(both, 0, a.headDim)
	gate := m.reshape(m.part(both, a.headDim, 2*a.headDim), B, L, heads.Mul(headDim))
	keys := m.reshape(m.linear("k_proj", x, a.kvHeads*a.headDim, a.bias), B, L, kvHeads, headDim)
	values := m.reshape(m.linear("v_proj", x, a.kvHeads*a.headDim, a.bias), B, L, kvHeads, headDim)

	queries = m.transpose(m.rmsNorm("q_norm", queries, a.eps), 0, 2, 1, 3)
	keys = m.transpose(m.rmsNorm("k_norm", keys, a.eps), 0, 2, 1, 3)
	values = m.transpose(values, 0, 2, 1, 3)
	queries = a.rope.apply(m, queries)
	keys = a.rope.apply(m, keys)
	output := m.attend(layer, queries, keys, values, graph.None, math.Pow(float64(a.headDim), -0.5), 0)
	return m.linear("o_proj", m.multiply(output, m.add(opSigmoid, []value{gate})), m.width(x), a.bias)
}

// part is x[..., start:stop].
func (m module) part(x value, start, stop int) value {
	from, to := dims(start), dims(stop)
	if start == 0 {
		from = nil
	}
	if stop == m.width(x) {
		to = nil
	}
	return m.add(opSlice, []value{x}, dims(-1), from, to)
}

// call is Qwen3NextGatedDeltaNet.__call__ of layer number layer; m is the module linear_attn.
func (d gatedDeltaNet) call(m module, layer int, x value) value {
	B, S := m.b.batch, m.b.seqLen
	num := func(n int) graph.Dim { return graph.N(int64(n)) }
	kAll, vAll, vEach := d.kHeads*d.kDim, d.vHeads*d.vDim, d.vHeads/d.kHeads

	// fix_query_key_value_ordering: each head of keys has its queries, keys, values and gates.
	qkvz := m.reshape(m.linear("in_proj_qkvz", x, 2*kAll+2*vAll, false), B, S, num(d.kHeads), num(2*d.kDim+2*vEach*d.vDim))
	ba := m.reshape(m.linear("in_proj_ba", x, 2*d.vHeads, false), B, S, num(d.kHeads), num(2*vEach))
	flat := func(v value, width int) value { return m.reshape(v, B, S, num(width)) }
	q := flat(m.part(qkvz, 0, d.kDim), kAll)
	k := flat(m.part(qkvz, d.kDim, 2*d.kDim), kAll)
	v := flat(m.part(qkvz, 2*d.kDim, 2*d.kDim+vEach*d.vDim), vAll)
	z := m.reshape(m.part(qkvz, 2*d.kDim+vEach*d.vDim, 2*d.kDim+2*vEach*d.vDim), B, S, num(d.vHeads), num(d.vDim))
	b := flat(m.part(ba, 0, vEach), d.vHeads)
	a := flat(m.part(ba, vEach, 2*vEach), d.vHeads)

	// The convolution sees the last tokens of the call before.
	width, keep := 2*kAll+vAll, d.taps-1
	qkv := m.add(opConcatenate, []value{q, k, v}, graph.N(-1))
	qkv = m.add(opConcatenate, []value{m.state(layer, "conv", m.typeOf(qkv).DType, B, num(keep), num(width)), qkv}, graph.N(-2))
	m.keep(layer, "conv", m.add(opSlice, []value{qkv}, dims(-2), dims(-keep)))
	one := graph.N(1)
	conv := m.add(opConv1D, []value{qkv, m.sub("conv1d").param("weight", width, d.taps, 1)}, one, graph.N(0), one, num(width))
	conv = m.multiply(conv, m.add(opSigmoid, []value{conv}))
	q = m.reshape(m.part(conv, 0, kAll), B, S, num(d.kHeads), num(d.kDim))
	k = m.reshape(m.part(conv, kAll, 2*kAll), B, S, num(d.kHeads), num(d.kDim))
	v = m.reshape(m.part(conv, 2*kAll, width), B, S, num(d.vHeads), num(d.vDim))

	// normalize_qk
	scale := math.Pow(float64(d.kDim), -0.5)
	normed := func(x value, by float64) value {
		x = m.add(opRMSNorm, []value{x, graph.None}, graph.Float(1e-6*(scale*scale)))
		return m.multiply(x, m.scalarOf(x, by))
	}
	q, k = normed(q, scale*scale), normed(k, scale)

	// gated_delta_update, with compute_g
	beta := m.add(opSigmoid, []value{b})
	aLog := m.param("A_log", d.vHeads)
	if m.typeOf(aLog).DType != graph.Float32 {
		aLog = m.add(opAstype, []value{aLog}, graph.Float32)
	}
	dt := m.plus(a, m.param("dt_bias", d.vHeads))
	softplus := m.add(opLogAddExp, []value{dt, m.scalarOf(dt, 0)})
	g := m.add(opExp, []value{m.multiply(m.add(opNegative, []value{m.add(opExp, []value{aLog})}), softplus)})
	state := m.state(layer, "delta", graph.Float32, B, num(d.vHeads), num(d.vDim), num(d.kDim))
	t := m.typeOf(q).DType
	var out value
	if S.Is(1) {
		out, state = d.step(m, q, k, v, g, beta, state)
	} else {
		// The outputs [batch, heads, dv, seq_len], and the state behind them.
		all := m.add(opGatedDelta, []value{q, k, v, g, beta, state})
		out = m.transpose(m.add(opSlice, []value{all}, dims(-1), nil, graph.Dims{S}), 0, 3, 1, 2)
		state = m.add(opSlice, []value{all}, dims(-1), graph.Dims{S})
	}
	if t != graph.Float32 {
		out = m.add(opAstype, []value{out}, t)
	}
	m.keep(layer, "delta", state)

	// Qwen3NextRMSNormGated, with precise_swiglu
	normalized := m.rmsNorm("norm", out, d.eps)
	float := func(x value) value {
		if m.typeOf(x).DType == graph.Float32 {
			return x
		}
		return m.add(opAstype, []value{x}, graph.Float32)
	}
	gate := float(z)
	out = m.multiply(m.multiply(gate, m.add(opSigmoid, []value{gate})), float(normalized))
	if t != graph.Float32 {
		out = m.add(opAstype, []value{out}, t)
	}
	return m.linear("out_proj", m.reshape(out, B, S, num(vAll)), m.width(x), false)
}

// step is _gated_delta_step_ops, for the one token of a call; out is float32.
func (d gatedDeltaNet) step(m module, q, k, v, g, beta, state value) (out, after value) {
	if vEach := d.vHeads / d.kHeads; vEach > 1 { // mx.repeat
		repeat := func(x value) value {
			x = m.add(opBroadcastTo, []value{m.expandDims(x, -2)}, graph.Dims{m.b.batch, m.b.seqLen, graph.N(int64(d.kHeads)), graph.N(int64(vEach)), graph.N(int64(d.kDim))})
			return m.reshape(x, m.b.batch, m.b.seqLen, graph.N(int64(d.vHeads)), graph.N(int64(d.kDim)))
		}
		q, k = repeat(q), repeat(k)
	}
	token := func(x value) value { return m.add(opSqueeze, []value{x}, dims(1)) }
	sum := func(x value) value { return m.add(opSum, []value{x}, dims(-1)) }
	q, k, v, g, beta = m.expandDims(token(q), -2), m.expandDims(token(k), -2), token(v), token(g), token(beta)
	state = m.multiply(state, m.expandDims(g, -1, -2))
	memory := sum(m.multiply(state, k))
	delta := m.multiply(m.add(opSubtract, []value{v, memory}), m.expandDims(beta, -1))
	state = m.plus(state, m.multiply(k, m.expandDims(delta, -1)))
	return m.expandDims(sum(m.multiply(state, q)), 1), state
}

// experts is Qwen3NextSparseMoeBlock.__call__.
func (n *qwen3Next) experts(m module, x value) value {
	y, _ := qwenExperts(m, x, n.numExperts, n.numExpertsPerTok, n.moeIntermediateSize, n.normTopkProb)
	shared := mlp(m.sub("shared_expert"), x, n.sharedExpertIntermediateSize, false)
	gate := m.add(opSigmoid, []value{m.linear("shared_expert_gate", x, 1, false)})
	return m.plus(y, m.multiply(gate, shared))
}

func (n *qwen3Next) expertsPerToken() int { return n.perToken(n.numHiddenLayers) }

func (n *qwen3Next) drops(string) bool { return false }
