package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// gemma2 is mlx_lm/models/gemma2.py. mlx-lm ignores sliding_window: all layers see the
// whole context, which is the published model up to that many tokens.
type gemma2 struct {
	gemmaDecoder
	attention             gemma2Attention
	finalLogitSoftcapping float64
}

// gemma2Attention is class Attention: attention by hand, since its scores are capped.
type gemma2Attention struct {
	attention
	scale, softcapping float64
}

func newGemma2(f *fields) network {
	m := &gemma2{gemmaDecoder: newGemmaDecoder(f)}
	a := &m.attention
	a.attention = newGemmaAttention(f)
	a.rope.traditional = f.boolOr("rope_traditional", false)
	a.scale = 1 / math.Sqrt(f.positiveOr("query_pre_attn_scalar", 144))
	a.softcapping = f.softcap("attn_logit_softcapping", 50)
	m.finalLogitSoftcapping = f.softcap("final_logit_softcapping", 30)
	return m
}

// softcap returns a cap of logits. null would be no cap, which mlx-lm cannot compute.
func (f *fields) softcap(key string, otherwise float64) float64 {
	if f.isNull(key) {
		f.fail(key, "unsupported", "mlx-lm computes this model with capped logits only")
	}
	return f.positiveOr(key, otherwise)
}

func (n *gemma2) forward(m module, tokens value) value {
	model := m.sub("model")
	mask := model.causalMask()
	out := n.asLinear(m, n.around(m, tokens, math.Sqrt(float64(n.hiddenSize)), func(m module, layer int, x value) value {
		return n.block(m, layer, x, mask)
	}))
	return model.softcapped(out, n.finalLogitSoftcapping)
}

// softcapped is tanh(x / cap) * cap.
func (m module) softcapped(x value, limit float64) value {
	x = m.add(opTanh, []value{m.divide(x, m.scalarOf(x, limit))})
	return m.multiply(x, m.scalarOf(x, limit))
}

// block is TransformerBlock.__call__.
func (n *gemma2) block(m module, layer int, x, mask value) value {
	r := n.attention.call(m.sub("self_attn"), layer, mask, m.gemmaNorm("input_layernorm", x, n.rmsNormEps))
	h := m.plus(x, m.gemmaNorm("post_attention_layernorm", r, n.rmsNormEps))
	r = n.mlp(m.sub("mlp"), m.gemmaNorm("pre_feedforward_layernorm", h, n.rmsNormEps), module.geluApprox)
	return m.plus(h, m.gemmaNorm("post_feedforward_layernorm", r, n.rmsNormEps))
}

// call is Attention.__call__ of layer number layer; m is the module self_attn.
func (a gemma2Attention) call(m module, layer int, mask, x value) value {
	B, L, heads, kvHeads, headDim := m.b.batch, m.b.seqLen, graph.N(int64(a.heads)), graph.N(int64(a.kvHeads)), graph.N(int64(a.headDim))
	repeats := graph.N(int64(a.heads / a.kvHeads))

	queries := m.linear("q_proj", x, a.heads*a.headDim, false)
	keys := m.linear("k_proj", x, a.kvHeads*a.headDim, false)
	values := m.linear("v_proj", x, a.kvHeads*a.headDim, false)
	queries = m.transpose(m.reshape(queries, B, L, heads, headDim), 0, 2, 1, 3)
	keys = m.transpose(m.reshape(keys, B, L, kvHeads, headDim), 0, 2, 1, 3)
	values = m.transpose(m.reshape(values, B, L, kvHeads, headDim), 0, 2, 1, 3)

	queries = a.rope.apply(m, queries)
	keys = a.rope.apply(m, keys)
	keys = m.seen(m.cached(layer, "keys", keys))
	values = m.seen(m.cached(layer, "values", values))

	queries = m.multiply(queries, m.scalarOf(queries, a.scale))
	keyAxes := []int{0, 1, 3, 2}
	if !repeats.Is(1) {
		queries = m.reshape(queries, B, kvHeads, repeats, L, headDim)
		keys = m.expandDims(keys, 2)
		values = m.expandDims(values, 2)
		keyAxes = []int{0, 1, 2, 4, 3}
	}
	scores := m.add(opMatmul, []value{queries, m.transpose(keys, keyAxes...)})
	scores = m.softcapped(scores, a.softcapping)
	scores = m.masked(mask, scores)
	scores = m.add(opSoftmax, []value{scores}, graph.N(-1), graph.Flag(true))
	output := m.add(opMatmul, []value{scores, values})
	if !repeats.Is(1) {
		output = m.reshape(output, B, heads, L, headDim)
	}
	output = m.reshape(m.transpose(output, 0, 2, 1, 3), B, L, heads.Mul(headDim))
	return m.linear("o_proj", output, m.width(x), false)
}

// seen cuts the rows of a cache that are written off the rest, as
// KVCache.keys_and_values does.
func (m module) seen(cache value) value {
	return m.add(opSlice, []value{cache}, dims(-2), nil, graph.Dims{graph.Sym(graph.SymKVLen)})
}
