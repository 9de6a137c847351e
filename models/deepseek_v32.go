package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// deepseekV32 is mlx_lm/models/deepseek_v32.py: DeepSeek-V3 with an indexer that chooses
// index_topk rows for each token once there are more of them.
type deepseekV32 struct{ *deepseekV3 }

func newDeepseekV32(f *fields) network {
	m := newDeepseek(f)
	if m.attention.qLoraRank == 0 {
		f.fail("q_lora_rank", "unsupported", "the indexer of this model needs a q_lora_rank")
		m.attention.qLoraRank = 1
	}
	x := &indexer{
		heads:   f.intOr("index_n_heads", 64, 1, maxIndexHeads),
		headDim: f.intOr("index_head_dim", 128, m.attention.ropeDim, maxHeadDim),
		topk:    f.intOr("index_topk", 2048, 1, maxSize),
		rope:    m.attention.rope,
	}
	x.rope.traditional = f.boolOr("indexer_rope_interleave", false)
	m.attention.indexer = x
	return &deepseekV32{m}
}

// maxIndexHeads bounds a sum that the graph has written out.
const maxIndexHeads = 256

func (n *deepseekV32) splitAt() int           { return n.attention.indexer.topk }
func (n *deepseekV32) drops(name string) bool { return beyond(name, n.numHiddenLayers) }

// indexer is class Indexer: heads of its own, over keys of its own, which are all that it
// keeps of a token.
type indexer struct {
	heads, headDim, topk int
	rope                 rope
}

// choose is Indexer.__call__ of layer number layer: the topk rows for each token,
// [batch, 1, seq_len, topk], or graph.None if there are no more than these. m is the
// module indexer, qr what the queries are made of.
func (n *indexer) choose(m module, layer int, x, qr, mask value) value {
	B, L, heads, headDim := m.b.batch, m.b.seqLen, graph.N(int64(n.heads)), graph.N(int64(n.headDim))

	q := m.linear("wq_b", qr, n.heads*n.headDim, false)
	q = m.transpose(m.reshape(q, B, L, heads, headDim), 0, 2, 1, 3)
	k := m.linear("wk", x, n.headDim, false)
	norm := m.sub("k_norm")
	k = m.add(opLayerNorm, []value{k, norm.param("weight", n.headDim), norm.param("bias", n.headDim)}, graph.Float(1e-5))
	k = m.reshape(k, B, graph.N(1), L, headDim)

	q = n.rope.apply(m, q)
	k = m.filled(m.cached(layer, "index_keys", n.rope.apply(m, k)))
	weights := m.linear("weights_proj", x, n.heads, false)
	if !m.b.beyond {
		return graph.None // and nothing reads q and weights
	}
	scores := m.add(opMatmul, []value{q, m.transpose(k, 0, 1, 3, 2)})
	t := m.typeOf(scores).DType
	scores = m.add(opMaximum, []value{scores, m.number(t, 0)})
	softmaxScale := math.Pow(float64(n.headDim), -0.5)
	weights = m.multiply(weights, m.number(m.typeOf(weights).DType, math.Pow(float64(n.heads), -0.5)*softmaxScale))
	weights = m.expandDims(m.transpose(weights, 0, 2, 1), -1)
	scores = n.sum(m, m.multiply(scores, weights))
	if mask != graph.None {
		scores = m.add(opWhere, []value{mask, scores, m.number(t, math.Inf(-1))})
	}
	topk := graph.N(-int64(n.topk))
	inds := m.add(opArgpartition, []value{scores}, topk, graph.N(-1))
	return m.add(opSlice, []value{inds}, dims(-1), graph.Dims{topk})
}

// sum adds up the heads: for several tokens one after the other, with Python's sum.
func (n *indexer) sum(m module, scores value) value {
	if m.b.seqLen.Is(1) {
		return m.add(opSum, []value{scores}, dims(-3), graph.Flag(true))
	}
	var all value
	for h := range n.heads {
		head := m.add(opSlice, []value{scores}, dims(-3), dims(h), dims(h+1))
		if h == 0 {
			all = m.plus(head, m.number(m.typeOf(head).DType, 0))
		} else {
			all = m.plus(all, head)
		}
	}
	return all
}

// chosen takes the rows that were chosen for one token out of what a cache holds.
func (m module) chosen(rows, inds value) value {
	idx := m.expandDims(m.add(opSqueeze, []value{inds}, dims(-2)), -1)
	return m.add(opTakeAlong, []value{rows, idx}, graph.N(-2))
}

// sparse is mask for what was chosen for several tokens: bool[batch, 1, seq_len, kv_len].
func (m module) sparse(mask, inds value) value {
	shape := m.typeOf(inds).Shape
	shape = append(shape[:3:3], graph.Sym(graph.SymKVLen))
	none := m.add(opBroadcastTo, []value{m.b.g.Scalar(graph.Bool, 0)}, graph.Dims(shape))
	sparse := m.add(opPutAlong, []value{none, inds, m.b.g.Scalar(graph.Bool, 1)}, graph.N(-1))
	return m.add(opBitwiseAnd, []value{sparse, mask})
}
