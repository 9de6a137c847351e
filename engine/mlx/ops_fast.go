//go:build mlx

package mlx

// #include "bridge.h"
import "C"

// The fused operations of mlx.core.fast.

// rmsNorm and layerNorm normalise the last axis; weight and bias may be left out.
func (s *scope) rmsNorm(x, weight array, eps float32) array {
	return s.own("rms_norm", C.zr_rms_norm(x.c, weight.c, C.float(eps), s.stream))
}

func (s *scope) layerNorm(x, weight, bias array, eps float32) array {
	return s.own("layer_norm", C.zr_layer_norm(x.c, weight.c, bias.c, C.float(eps), s.stream))
}

// ropeArgs are the arguments of rope, rotary position embedding. The frequencies
// come from base, or from freqs if base is 0. The position of the first row is
// offset, or at, an array with one for all or one for each of the batch.
type ropeArgs struct {
	dims        int
	traditional bool
	base, scale float32
	offset      int
	at, freqs   array
}

// rope rotates x [..., length, head dim].
func (s *scope) rope(x array, a ropeArgs) array {
	return s.own("rope", C.zr_rope(x.c, s.int(a.dims), C.bool(a.traditional), a.base != 0, C.float(a.base),
		C.float(a.scale), s.int(a.offset), a.at.c, a.freqs.c, s.stream))
}

// sdpa is scaled_dot_product_attention over q [batch, heads, length, dim] and k, v
// [batch, kv heads, kv length, dim]. mode is "", causal or array; mask goes with the
// last. sinks may be left out.
func (s *scope) sdpa(q, k, v array, scale float32, mode string, mask, sinks array) array {
	return s.own("scaled_dot_product_attention", C.zr_sdpa(q.c, k.c, v.c, C.float(scale),
		s.word("scaled_dot_product_attention", mode), mask.c, sinks.c, s.stream))
}
