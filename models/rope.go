package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// rope is rotary position embedding, as mlx_lm.models.rope_utils.initialize_rope
// makes it of config.json.
type rope struct {
	dims        int
	traditional bool
	base, scale float64
	freqs       *graph.Literal // of rope_type llama3 and yarn, in place of base
	mscale      float64        // of rope_type yarn: what is rotated is scaled first; 0 for 1
}

// newRope reads rope_theta and rope_scaling. Files written by transformers 5 hold
// both in rope_parameters. otherwise is the rope_theta of a file that has none, 0
// if it must have one.
func newRope(f *fields, dims int, otherwise float64) rope {
	theta, scaling := ropeKeys(f)
	return scaledRope(theta, scaling, dims, otherwise)
}

// scaledRope is newRope where it is known which objects have rope_theta and the scaling,
// nil for none.
func scaledRope(theta, scaling *fields, dims int, otherwise float64) rope {
	r := rope{dims: dims, scale: 1}
	if otherwise == 0 {
		r.base = theta.positive("rope_theta")
	} else {
		r.base = theta.positiveOr("rope_theta", otherwise)
	}
	if scaling == nil {
		return r
	}
	key := "rope_type"
	if scaling.has("type") {
		key = "type"
	}
	switch kind := scaling.textOr(key, "default"); kind {
	case "default":
	case "linear":
		r.scale = 1 / scaling.positive("factor")
	case "llama3":
		r.freqs = llama3Freqs(scaling, dims, r.base)
	case "yarn", "deepseek_yarn":
		r.freqs, r.mscale = yarn(scaling, dims, r.base)
	default:
		scaling.fail(key, "unsupported", "rotary embedding of type %q is not supported", kind).
			WithHint("supported: default, linear, llama3, yarn")
	}
	return r
}

// ropeKeys returns the objects that hold rope_theta, and the kind of rope with what
// belongs to it; the second is nil if there is none.
func ropeKeys(f *fields) (theta, scaling *fields) {
	theta, scaling = f, f.object("rope_scaling")
	if p := f.object("rope_parameters"); p != nil {
		if !f.has("rope_theta") {
			theta = p
		}
		if scaling == nil {
			scaling = p
		}
	}
	return theta, scaling
}

// apply rotates x [batch, heads, seq_len, head_dim] by the positions from offset on.
func (r rope) apply(m module, x value) value {
	if r.mscale != 0 && r.mscale != 1 {
		x = r.scaled(m, x)
	}
	in := []value{x, m.b.offset}
	var base graph.Attr
	if r.freqs != nil {
		in = append(in, m.constant(r.freqs))
	} else {
		base = graph.Float(r.base)
	}
	return m.add(opRope, in, graph.N(int64(r.dims)), graph.Flag(r.traditional), base, graph.Float(r.scale))
}

// scaled is x.at[..., :dims].multiply(mscale) of YarnRoPE.
func (r rope) scaled(m module, x value) value {
	factor := m.b.g.Scalar(m.typeOf(x).DType, float64(float32(r.mscale))) // as of any Python number
	if m.width(x) == r.dims {
		return m.multiply(x, factor)
	}
	stop := dims(r.dims)
	part := m.multiply(m.add(opSlice, []value{x}, dims(-1), nil, stop), factor)
	return m.add(opSliceUpdate, []value{x, part}, dims(-1), nil, stop)
}

// llama3Freqs is Llama3RoPE of rope_utils.py: every step in float32, rounded as
// MLX rounds it. The conversions also keep the compiler from fusing a product and
// a sum into one rounding.
func llama3Freqs(f *fields, dims int, base float64) *graph.Literal {
	factor := float32(f.positive("factor"))
	low, high := f.positiveOr("low_freq_factor", 1), f.positiveOr("high_freq_factor", 4)
	old := f.positiveOr("original_max_position_embeddings", 8192)
	if low == high {
		f.fail("high_freq_factor", "invalid", "must differ from low_freq_factor")
	}
	lowWave, highWave := float32(old/low), float32(old/high)
	data := make([]byte, 0, 4*(dims/2))
	for i := 0; i < dims; i += 2 {
		exponent := float32(float32(i) / float32(dims))
		// powf of the C library is exact to the last bit but for ties: so is this.
		freq := float32(math.Pow(float64(float32(base)), float64(exponent)))
		wave := float32(float32(2*math.Pi) * freq)
		medium := wave > highWave && wave < lowWave
		if wave > lowWave {
			freq = float32(freq * factor)
		}
		if medium {
			smooth := float32(float32(float32(old)/wave) - float32(low))
			smooth = float32(smooth / float32(high-low))
			keep := float32(float32(float32(1-smooth)/factor) + smooth)
			freq = float32(freq / keep)
		}
		data = graph.AppendElem(data, graph.Float32, float64(freq))
	}
	return &graph.Literal{DType: graph.Float32, Shape: []int{dims / 2}, Data: data}
}
