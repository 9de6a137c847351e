package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// mla is multi-head latent attention as deepseek_v3.py and glm4_moe_lite.py have it:
// what the cache keeps of a token is one latent row for all heads, and one key for its
// position. One token attends in the latent space; for several, keys and values of each
// head are made from it.
type mla struct {
	heads                    int
	qLoraRank, kvLoraRank    int // qLoraRank is 0 for one matrix to the queries
	nopeDim, ropeDim, valDim int // qk_nope_head_dim, qk_rope_head_dim, v_head_dim
	bias                     bool
	eps                      float64 // of the norms of the latent rows
	scale                    float64
	rope                     rope
	indexer                  *indexer // of deepseek_v32, else nil
}

// mlaDefaults are those of a family's ModelArgs.
type mlaDefaults struct {
	heads, qLoraRank, nopeDim, valDim int
	theta                             float64
}

func newMLA(f *fields, d mlaDefaults) mla {
	a := mla{
		heads:      f.intOr("num_attention_heads", d.heads, 1, maxHeads),
		qLoraRank:  f.intOrNone("q_lora_rank", d.qLoraRank, maxSize),
		kvLoraRank: f.intOr("kv_lora_rank", 512, 1, maxSize),
		nopeDim:    f.intOr("qk_nope_head_dim", d.nopeDim, 1, maxHeadDim),
		ropeDim:    f.intOr("qk_rope_head_dim", 64, 2, maxHeadDim),
		valDim:     f.intOr("v_head_dim", d.valDim, 1, maxHeadDim),
		bias:       f.boolOr("attention_bias", false),
	}
	if a.ropeDim%2 != 0 {
		f.fail("qk_rope_head_dim", "invalid", "must be an even number, not %d", a.ropeDim)
		a.ropeDim++
	}
	if n := f.intOr("num_key_value_heads", a.heads, 1, maxHeads); n != a.heads {
		f.fail("num_key_value_heads", "unsupported", "latent attention has as many as num_attention_heads, %d, not %d", a.heads, n)
	}
	a.rope = newRope(f, a.ropeDim, d.theta)
	a.rope.traditional = true
	a.scale = math.Pow(float64(a.nopeDim+a.ropeDim), -0.5)
	if _, scaling := ropeKeys(f); scaling != nil {
		if all := scaling.numberOr("mscale_all_dim", 0); all != 0 {
			if factor := scaling.positive("factor"); factor > 1 {
				s := 0.1*all*math.Log(factor) + 1
				a.scale = a.scale * s * s
			}
		}
	}
	if s := float32(a.scale); !(s > 0) || math.IsInf(float64(s), 0) {
		f.fail("rope_scaling", "invalid", "mscale_all_dim makes the scale of attention %g", a.scale)
		a.scale = 1
	}
	return a
}

// call is DeepseekV3Attention.__call__ of layer number layer; m is the module self_attn.
// mask is graph.None for one token.
func (a mla) call(m module, layer int, x, mask value) value {
	B, L, heads := m.b.batch, m.b.seqLen, graph.N(int64(a.heads))
	width := a.nopeDim + a.ropeDim

	var qr, q value
	if a.qLoraRank == 0 {
		q = m.linear("q_proj", x, a.heads*width, false)
	} else {
		qr = m.rmsNorm("q_a_layernorm", m.linear("q_a_proj", x, a.qLoraRank, a.bias), a.eps)
		q = m.linear("q_b_proj", qr, a.heads*width, false)
	}
	q = m.transpose(m.reshape(q, B, L, heads, graph.N(int64(width))), 0, 2, 1, 3)
	qNope, qPE := m.cut(q, a.nopeDim)
	compressedKV, kPE := m.cut(m.linear("kv_a_proj_with_mqa", x, a.kvLoraRank+a.ropeDim, a.bias), a.kvLoraRank)
	kPE = m.transpose(m.reshape(kPE, B, L, graph.N(1), graph.N(int64(a.ropeDim))), 0, 2, 1, 3)
	latent := m.rmsNorm("kv_a_layernorm", compressedKV, a.eps)

	qPE = a.rope.apply(m, qPE)
	kPE = a.rope.apply(m, kPE)
	latent = m.cached(layer, "keys", m.expandDims(latent, -3))
	kPE = m.filled(m.cached(layer, "values", kPE))
	rows := graph.Attr(graph.Sym(graph.SymKVLen))

	if a.indexer != nil {
		inds := a.indexer.choose(m.sub("indexer"), layer, x, qr, mask)
		switch {
		case inds == graph.None:
		case L.Is(1):
			latent, kPE, rows = m.chosen(m.filled(latent), inds), m.chosen(kPE, inds), nil
		default:
			mask = m.sparse(mask, inds)
		}
	}

	qPE = m.multiply(qPE, m.number(m.typeOf(qPE).DType, a.scale))
	scores := m.masked(mask, m.add(opMatmul, []value{qPE, m.transpose(kPE, 0, 1, 3, 2)}))

	a.split(m)
	attend := func(q, k, v value, rows graph.Attr) value {
		return m.add(opSDPA, []value{q, k, v, scores}, graph.Float(a.scale), graph.Str("array"), nil, rows)
	}
	var output value
	if L.Is(1) {
		q := a.embedQ(m, qNope, true)
		output = a.unembedOut(m, attend(q, latent, latent, rows))
	} else {
		latent = m.filled(latent)
		output = attend(qNope, a.embedQ(m, latent, false), a.unembedOut(m, latent), nil)
	}
	output = m.reshape(m.transpose(output, 0, 2, 1, 3), B, L, graph.N(int64(a.heads*a.valDim)))
	return m.linear("o_proj", output, m.width(x), a.bias)
}

// embedQ takes queries to the latent space, or with transpose false latent rows to keys.
func (a mla) embedQ(m module, x value, transpose bool) value {
	return m.multiLinear("embed_q", x, a.heads, a.kvLoraRank, a.nopeDim, transpose)
}

// unembedOut takes latent rows to values.
func (a mla) unembedOut(m module, x value) value {
	return m.multiLinear("unembed_out", x, a.heads, a.valDim, a.kvLoraRank, true)
}

// cut is mx.split(x, [n], axis=-1).
func (m module) cut(x value, n int) (head, tail value) {
	return m.add(opSlice, []value{x}, dims(-1), nil, dims(n)), m.add(opSlice, []value{x}, dims(-1), dims(n))
}

// filled is what update_and_fetch returns of a cache: the rows that are used.
func (m module) filled(cache value) value {
	return m.add(opSlice, []value{cache}, dims(-2), nil, graph.Dims{graph.Sym(graph.SymKVLen)})
}

// multiLinear is MultiLinear or QuantizedMultiLinear of mla.py, a matrix a head.
func (m module) multiLinear(name string, x value, heads, outputs, inputs int, transpose bool) value {
	w := m.sub(name).matrix(heads, outputs, inputs)
	if w.quant != nil {
		return m.add(opQuantizedMatmul, []value{x, w.weight, w.scales, w.biases},
			graph.Flag(transpose), w.groupSize(), w.bits(), w.mode())
	}
	weight := w.weight
	if transpose {
		weight = m.transpose(weight, 0, 2, 1)
	}
	return m.add(opMatmul, []value{x, weight})
}

// split makes embed_q and unembed_out of kv_b_proj, in checkpoints that mlx-lm did not
// write: part of what it calls sanitize. For each head, kv_b_proj has the rows that make
// its key, then those that make its value.
func (a mla) split(m module) {
	p, at, k, v := m.b.params, m.sub("kv_b_proj"), m.sub("embed_q"), m.sub("unembed_out")
	if p.src == nil || p.matrices[k.path] != nil {
		return
	}
	if _, ok := p.src.ParamType(k.path + ".weight"); ok {
		return
	}
	if _, ok := p.src.ParamType(at.path + ".weight"); !ok {
		return
	}
	if _, ok := p.src.ParamType(at.path + ".scales"); ok {
		p.fail("unsupported", at.path, "is quantized as one matrix; taking it apart would quantize it a second time").
			WithHint("convert the original model with mlx_lm.convert -q")
		return
	}
	perHead := a.nopeDim + a.valDim
	whole := p.floats(at.path+".weight", m.b.config.DType, dims(a.heads*perHead, a.kvLoraRank))
	made := func(name string, d graph.Derived, from *graph.Param, shape ...int) *graph.Param {
		d.Args = []string{from.Name}
		q := &graph.Param{Name: name, Type: graph.T(from.Type.DType, dims(shape...)...), From: &d}
		p.table[name] = q
		return q
	}
	heads := made(at.path+".heads", graph.Derived{Op: "reshape", Shape: []int{a.heads, perHead, a.kvLoraRank}}, whole, a.heads, perHead, a.kvLoraRank)
	keys := made(at.path+".keys", graph.Derived{Op: "split", Axis: -2, Stop: a.nopeDim}, heads, a.heads, a.nopeDim, a.kvLoraRank)
	p.matrices[k.path] = &matrixRecord{weight: made(k.path+".weight", graph.Derived{Op: "transpose", Perm: []int{0, 2, 1}}, keys, a.heads, a.kvLoraRank, a.nopeDim)}
	p.matrices[v.path] = &matrixRecord{weight: made(v.path+".weight", graph.Derived{Op: "split", Axis: -2, Start: a.nopeDim, Stop: perHead}, heads, a.heads, a.valDim, a.kvLoraRank)}
}
