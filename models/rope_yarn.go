package models

import (
	"math"

	"zmlx-rewrite/graph"
)

// yarn is YarnRoPE of rope_utils.py: the frequencies, and the factor by which the
// rotated part of the input is scaled first. Frequencies are computed in float32, each
// step rounded as MLX rounds it, and what leads up to them in double precision, as Python
// does. The conversions also keep the compiler from fusing a product and a sum.
func yarn(f *fields, dims int, base float64) (freqs *graph.Literal, mscale float64) {
	factor := f.positive("factor")
	old := f.positiveOr("original_max_position_embeddings", 4096)
	fast, slow := f.positiveOr("beta_fast", 32), f.positiveOr("beta_slow", 1)
	mscale = yarnMscale(factor, f.numberOr("mscale", 1)) / yarnMscale(factor, f.numberOr("mscale_all_dim", 0))
	// Transformers takes this number where it is there.
	if f.has("attention_factor") && float32(f.positive("attention_factor")) != float32(mscale) {
		f.fail("attention_factor", "unsupported", "mlx-lm takes %g, which it computes from factor and mscale", mscale)
	}
	if base == 1 {
		f.fail("", "invalid", "rotary embedding of type yarn needs a rope_theta other than 1")
	}
	if m := float32(mscale); !(m > 0) || math.IsInf(float64(m), 0) {
		f.fail("mscale", "invalid", "mscale and mscale_all_dim scale queries and keys by %g", mscale)
		mscale = 1
	}

	correction := func(rotations float64) float64 { // yarn_find_correction_dim
		return float64(dims) * math.Log(old/(rotations*2*math.Pi)) / (2 * math.Log(base))
	}
	low := math.Max(math.Floor(correction(fast)), 0)
	high := math.Min(math.Ceil(correction(slow)), float64(dims-1))
	if low == high {
		high += 0.001 // against a division by zero
	}
	data := make([]byte, 0, 4*(dims/2))
	for i := range dims / 2 {
		exponent := float32(float32(2*i) / float32(dims))
		extra := float32(math.Pow(float64(float32(base)), float64(exponent)))
		inter := float32(float32(factor) * extra)
		ramp := float32(float32(float32(i)-float32(low)) / float32(high-low))
		mask := float32(1 - min(max(ramp, 0), 1))
		sum := float32(float32(inter*mask) + float32(extra*float32(1-mask)))
		data = graph.AppendElem(data, graph.Float32, float64(float32(float32(inter*extra)/sum)))
	}
	return &graph.Literal{DType: graph.Float32, Shape: []int{dims / 2}, Data: data}, mscale
}

// yarnMscale is yarn_get_mscale.
func yarnMscale(factor, mscale float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*mscale*math.Log(factor) + 1
}
