package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// attention is grouped-query self-attention as llama.py, qwen3.py and qwen3_moe.py
// have it: class Attention.
type attention struct {
	heads, kvHeads, headDim int
	bias                    bool    // of all four projections
	qkNorm                  bool    // q_norm and k_norm over each head
	eps                     float64 // of these
	rope                    rope
	names                   attentionNames
}

// attentionNames are the modules that not all models call the same.
type attentionNames struct{ qNorm, kNorm, oProj string }

func newAttention(f *fields) attention {
	a := attention{heads: f.int("num_attention_heads", 1, maxHeads), names: attentionNames{"q_norm", "k_norm", "o_proj"}}
	a.kvHeads = f.intOr("num_key_value_heads", a.heads, 1, maxHeads)
	if a.heads%a.kvHeads != 0 {
		f.fail("num_key_value_heads", "invalid", "%d does not divide num_attention_heads, %d", a.kvHeads, a.heads)
	}
	return a
}

// setHeadDim checks and sets the size of a head, which rotary embedding halves.
func (a *attention) setHeadDim(f *fields, n int) {
	if n < 2 || n%2 != 0 {
		f.fail("head_dim", "invalid", "must be an even number above 0, not %d", n)
		n = 2
	}
	a.headDim = n
}

// call is Attention.__call__ of layer number layer; m is the module self_attn.
func (a attention) call(m module, layer int, x value) value {
	B, L, heads, kvHeads, headDim := m.b.batch, m.b.seqLen, graph.N(int64(a.heads)), graph.N(int64(a.kvHeads)), graph.N(int64(a.headDim))

	queries := m.linear("q_proj", x, a.heads*a.headDim, a.bias)
	keys := m.linear("k_proj", x, a.kvHeads*a.headDim, a.bias)
	values := m.linear("v_proj", x, a.kvHeads*a.headDim, a.bias)

	queries = m.reshape(queries, B, L, heads, headDim)
	keys = m.reshape(keys, B, L, kvHeads, headDim)
	if a.qkNorm {
		queries = m.rmsNorm(a.names.qNorm, queries, a.eps)
		keys = m.rmsNorm(a.names.kNorm, keys, a.eps)
	}
	queries = m.transpose(queries, 0, 2, 1, 3)
	keys = m.transpose(keys, 0, 2, 1, 3)
	values = m.transpose(m.reshape(values, B, L, kvHeads, headDim), 0, 2, 1, 3)

	queries = a.rope.apply(m, queries)
	keys = a.rope.apply(m, keys)
	output := m.attend(layer, queries, keys, values, graph.None, math.Pow(float64(a.headDim), -0.5), 0)
	return m.linear(a.names.oProj, output, m.width(x), a.bias)
}

// attend is a cache's update_and_fetch and scaled_dot_product_attention with the mask of
// create_attention_mask: q, k and v [batch, heads, seq_len, head_dim] give
// [batch, seq_len, heads*head_dim]. window is the number of rows of a layer that slides, else 0;
// sinks may be graph.None.
func (m module) attend(layer int, q, k, v, sinks value, scale float64, window int) value {
	cached, mask, span, rows := module.cached, graph.Str("causal"), graph.Attr(nil), graph.SymKVLen
	if window > 0 {
		cached, mask, span, rows = module.slid, "window", graph.N(int64(window)), graph.SymWindowLen
	}
	if m.b.seqLen.Is(1) { // a single token sees all of the cache, be it a ring or not
		mask, span = "none", nil
	}
	in := []value{q, cached(m, layer, "keys", k), cached(m, layer, "values", v)}
	if sinks != graph.None {
		in = append(in, graph.None, sinks)
	}
	out := m.transpose(m.add(opSDPA, in, graph.Float(scale), mask, span, graph.Sym(rows)), 0, 2, 1, 3)
	return m.reshape(out, m.b.batch, m.b.seqLen, m.heads(q).Mul(graph.N(int64(m.width(v)))))
}

// heads returns the number of heads of q [batch, heads, seq_len, head_dim].
func (m module) heads(q value) graph.Dim { d, _ := m.typeOf(q).Dim(1); return d }
