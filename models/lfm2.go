package models

import (
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// lfm2 is mlx_lm/models/lfm2.py: layers with attention, and layers with a short
// convolution, which keep the last rows of what it goes over.
type lfm2 struct {
	lfm2Layers
	feedForward int // rows of w1 and w3
}

// lfm2Layers is what lfm2 and lfm2_moe share: all but the feed-forward blocks.
type lfm2Layers struct {
	decoder
	fullAttention []int // layers with attention
	convTaps      int   // conv_L_cache
	convBias      bool
	attention     attention
}

func newLFM2(f *fields) network {
	m := &lfm2{lfm2Layers: newLFM2Layers(f)}
	key := "intermediate_size"
	if f.has("block_ff_dim") {
		key = "block_ff_dim"
	}
	m.feedForward = f.int(key, 1, maxSize)
	multiple := f.int("block_multiple_of", 1, maxSize)
	if f.bool("block_auto_adjust_ff_dim") && f.has(key) {
		ff := int(float64(2*m.feedForward) / 3)
		if f.has("block_ffn_dim_multiplier") {
			ff = int(math.Min(f.positive("block_ffn_dim_multiplier")*float64(ff), maxSize))
		}
		m.feedForward = multiple * ((ff + multiple - 1) / multiple)
		if m.feedForward < 1 || m.feedForward > maxSize {
			f.fail(key, "invalid", "its adjusted size, %d, is not from 1 to %d", m.feedForward, maxSize)
			m.feedForward = 1
		}
	}
	if d := f.int("block_dim", 1, maxSize); d != m.hiddenSize {
		f.fail("block_dim", "invalid", "is %d, and hidden_size %d; they must be the same", d, m.hiddenSize)
	}
	return m
}

func newLFM2Layers(f *fields) lfm2Layers {
	m := lfm2Layers{
		decoder: decoder{
			hiddenSize:        f.int("hidden_size", 1, maxSize),
			numHiddenLayers:   f.int("num_hidden_layers", 1, maxLayers),
			vocabSize:         f.int("vocab_size", 1, maxVocab),
			rmsNormEps:        f.positive("norm_eps"),
			tieWordEmbeddings: true, // mlx-lm knows no other head
			finalNorm:         "embedding_norm",
		},
		convBias: f.bool("conv_bias"),
		// With one row there would be nothing to keep, and mlx-lm would keep all.
		convTaps: f.int("conv_L_cache", 2, 1024),
	}
	f.missing("max_position_embeddings")
	f.missing("num_key_value_heads")
	m.attention = newAttention(f)
	m.attention.setHeadDim(f, m.hiddenSize/m.attention.heads)
	m.attention.qkNorm, m.attention.eps = true, m.rmsNormEps
	m.attention.names = attentionNames{"q_layernorm", "k_layernorm", "out_proj"}
	m.attention.rope = newRope(f, m.attention.headDim, 1e6)
	if strings.HasPrefix(f.raw("rope_parameters"), "{") { // else newRope has said so
		if p := f.object("rope_parameters"); p.has("rope_theta") {
			m.attention.rope.base = p.positive("rope_theta") // whatever stands outside
		}
	}
	m.attentionLayers(f)

	// What these keys say, mlx-lm ignores; what it then computes is not the model.
	if r := m.attention.rope; r.scale != 1 || r.freqs != nil {
		f.fail("rope_scaling", "unsupported", "scaled rotary embedding is not supported for %s", f.textOr("model_type", ""))
	}
	if d := m.attention.headDim; f.intOr("head_dim", d, 2, maxHeadDim) != d {
		f.fail("head_dim", "unsupported", "only hidden_size / num_attention_heads, %d, is supported", d)
	}
	if base := m.attention.rope.base; f.positiveOr("theta", base) != base {
		f.fail("theta", "unsupported", "is not rope_theta, %g, which mlx-lm goes by", base)
	}
	for _, key := range []string{"tie_word_embeddings", "tie_embedding"} {
		if !f.boolOr(key, true) {
			f.fail(key, "unsupported", "a head of its own is not supported for this model")
		}
	}
	if !f.boolOr("block_use_swiglu", true) {
		f.fail("block_use_swiglu", "unsupported", "only blocks with swiglu are supported")
	}
	if f.boolOr("use_sliding_window", false) || f.has("sliding_window") {
		f.fail("sliding_window", "unsupported", "sliding-window attention is not supported")
	}
	return m
}

// attentionLayers reads full_attn_idxs, or layer_types in its place.
func (n *lfm2Layers) attentionLayers(f *fields) {
	types := f.texts("layer_types")
	if types != nil && len(types) != n.numHiddenLayers {
		f.fail("layer_types", "invalid", "has %d entries for %d layers", len(types), n.numHiddenLayers)
		types = nil
	}
	var full []int
	for i, t := range types {
		switch t {
		case "full_attention":
			full = append(full, i)
		case "conv":
		default:
			f.fail("layer_types", "unsupported", "layer %d has %q; only full_attention and conv are supported", i, t)
		}
	}
	key := "layer_types"
	if f.has("full_attn_idxs") {
		key = "full_attn_idxs"
		list := f.ints(key)
		slices.Sort(list)
		list = slices.Compact(list)
		if len(list) > 0 && (list[0] < 0 || list[len(list)-1] >= n.numHiddenLayers) {
			f.fail(key, "invalid", "names a layer that is none of the %d", n.numHiddenLayers)
			list = nil
		}
		if types != nil && !slices.Equal(list, full) {
			f.fail(key, "invalid", "names other layers than layer_types does")
		}
		full = list
	} else if f.missing("layer_types") {
		return
	}
	// mlx-lm looks for one of each: at their caches, for the masks.
	if len(full) == 0 || len(full) == n.numHiddenLayers {
		f.fail(key, "unsupported", "%d of %d layers have attention; there must be some with it and some without", len(full), n.numHiddenLayers)
	}
	n.fullAttention = full
}

func (n *lfm2) forward(m module, tokens value) value {
	return n.around(m, tokens, func(m module, layer int, x value) value {
		return n.layer(m, layer, x, n.mlp)
	})
}

// layer is Lfm2DecoderLayer.__call__.
func (n *lfm2Layers) layer(m module, layer int, x value, feedForward func(m module, x value) value) value {
	r := m.rmsNorm("operator_norm", x, n.rmsNormEps)
	if _, full := slices.BinarySearch(n.fullAttention, layer); full {
		r = n.attention.call(m.sub("self_attn"), layer, r)
	} else {
		r = n.shortConv(m.sub("conv"), layer, r)
	}
	h := m.plus(x, r)
	return m.plus(h, feedForward(m.sub("feed_forward"), m.rmsNorm("ffn_norm", h, n.rmsNormEps)))
}

// shortConv is ShortConv.__call__ of layer number layer.
func (n *lfm2Layers) shortConv(m module, layer int, x value) value {
	C := n.hiddenSize
	third := func(bcx value, i int) value {
		return m.add(opSlice, []value{bcx}, dims(-1), dims(i*C), dims((i+1)*C))
	}
	bcx := m.linear("in_proj", x, 3*C, n.convBias)
	after := third(bcx, 1)
	bx := m.multiply(third(bcx, 0), third(bcx, 2))

	keep := n.convTaps - 1
	state := m.state(layer, "conv", m.typeOf(bx).DType, m.b.batch, graph.N(int64(keep)), graph.N(int64(C)))
	bx = m.add(opConcatenate, []value{state, bx}, graph.N(1))
	m.keep(layer, "conv", m.add(opSlice, []value{bx}, dims(1), dims(-keep)))

	conv := m.sub("conv")
	one := graph.N(1)
	y := m.add(opConv1D, []value{bx, conv.param("weight", C, n.convTaps, 1)}, one, graph.N(0), one, graph.N(int64(C)))
	if n.convBias {
		y = m.plus(y, conv.param("bias", C))
	}
	return m.linear("out_proj", m.multiply(after, y), C, n.convBias)
}

// mlp is class MLP.
func (n *lfm2) mlp(m module, x value) value {
	gate := m.linear("w1", x, n.feedForward, false)
	up := m.linear("w3", x, n.feedForward, false)
	return m.linear("w2", m.swiglu(gate, up), n.hiddenSize, false)
}

func (n *lfm2) expertsPerToken() int { return 0 }

func (n *lfm2Layers) drops(string) bool { return false }

// sanitize turns the filters of a Hugging Face checkpoint, [channels, 1, taps], over.
func (n *lfm2Layers) sanitize(t *weights.Tensor) ([]*weights.Tensor, error) {
	if !strings.Contains(t.Name, "conv.weight") || len(t.Shape) != 3 || t.Shape[2] <= t.Shape[1] {
		return []*weights.Tensor{t}, nil
	}
	t, err := weights.Permute(t.Name, t, 0, 2, 1)
	return []*weights.Tensor{t}, err
}
