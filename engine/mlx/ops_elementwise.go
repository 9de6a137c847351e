//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import "zmlx-rewrite/graph"

// The elementwise operations of mlx.core, under its names in Go's spelling. Operands
// broadcast and promote as in MLX.

func (s *scope) abs(a array) array     { return s.own("abs", C.zr_abs(a.c, s.stream)) }
func (s *scope) arccos(a array) array  { return s.own("arccos", C.zr_arccos(a.c, s.stream)) }
func (s *scope) arccosh(a array) array { return s.own("arccosh", C.zr_arccosh(a.c, s.stream)) }
func (s *scope) arcsin(a array) array  { return s.own("arcsin", C.zr_arcsin(a.c, s.stream)) }
func (s *scope) arcsinh(a array) array { return s.own("arcsinh", C.zr_arcsinh(a.c, s.stream)) }
func (s *scope) arctan(a array) array  { return s.own("arctan", C.zr_arctan(a.c, s.stream)) }
func (s *scope) arctanh(a array) array { return s.own("arctanh", C.zr_arctanh(a.c, s.stream)) }
func (s *scope) bitwiseInvert(a array) array {
	return s.own("bitwise_invert", C.zr_bitwise_invert(a.c, s.stream))
}
func (s *scope) ceil(a array) array      { return s.own("ceil", C.zr_ceil(a.c, s.stream)) }
func (s *scope) conjugate(a array) array { return s.own("conjugate", C.zr_conjugate(a.c, s.stream)) }
func (s *scope) copyOf(a array) array    { return s.own("copy", C.zr_copy(a.c, s.stream)) }
func (s *scope) cos(a array) array       { return s.own("cos", C.zr_cos(a.c, s.stream)) }
func (s *scope) cosh(a array) array      { return s.own("cosh", C.zr_cosh(a.c, s.stream)) }
func (s *scope) degrees(a array) array   { return s.own("degrees", C.zr_degrees(a.c, s.stream)) }
func (s *scope) erf(a array) array       { return s.own("erf", C.zr_erf(a.c, s.stream)) }
func (s *scope) erfinv(a array) array    { return s.own("erfinv", C.zr_erfinv(a.c, s.stream)) }
func (s *scope) exp(a array) array       { return s.own("exp", C.zr_exp(a.c, s.stream)) }
func (s *scope) expm1(a array) array     { return s.own("expm1", C.zr_expm1(a.c, s.stream)) }
func (s *scope) floor(a array) array     { return s.own("floor", C.zr_floor(a.c, s.stream)) }
func (s *scope) imagPart(a array) array  { return s.own("imag", C.zr_imag(a.c, s.stream)) }
func (s *scope) isfinite(a array) array  { return s.own("isfinite", C.zr_isfinite(a.c, s.stream)) }
func (s *scope) isinf(a array) array     { return s.own("isinf", C.zr_isinf(a.c, s.stream)) }
func (s *scope) isnan(a array) array     { return s.own("isnan", C.zr_isnan(a.c, s.stream)) }
func (s *scope) isneginf(a array) array  { return s.own("isneginf", C.zr_isneginf(a.c, s.stream)) }
func (s *scope) isposinf(a array) array  { return s.own("isposinf", C.zr_isposinf(a.c, s.stream)) }
func (s *scope) log(a array) array       { return s.own("log", C.zr_log(a.c, s.stream)) }
func (s *scope) log10(a array) array     { return s.own("log10", C.zr_log10(a.c, s.stream)) }
func (s *scope) log1p(a array) array     { return s.own("log1p", C.zr_log1p(a.c, s.stream)) }
func (s *scope) log2(a array) array      { return s.own("log2", C.zr_log2(a.c, s.stream)) }
func (s *scope) logicalNot(a array) array {
	return s.own("logical_not", C.zr_logical_not(a.c, s.stream))
}
func (s *scope) negative(a array) array   { return s.own("negative", C.zr_negative(a.c, s.stream)) }
func (s *scope) radians(a array) array    { return s.own("radians", C.zr_radians(a.c, s.stream)) }
func (s *scope) realPart(a array) array   { return s.own("real", C.zr_real(a.c, s.stream)) }
func (s *scope) reciprocal(a array) array { return s.own("reciprocal", C.zr_reciprocal(a.c, s.stream)) }
func (s *scope) rsqrt(a array) array      { return s.own("rsqrt", C.zr_rsqrt(a.c, s.stream)) }
func (s *scope) sigmoid(a array) array    { return s.own("sigmoid", C.zr_sigmoid(a.c, s.stream)) }
func (s *scope) sign(a array) array       { return s.own("sign", C.zr_sign(a.c, s.stream)) }
func (s *scope) sin(a array) array        { return s.own("sin", C.zr_sin(a.c, s.stream)) }
func (s *scope) sinh(a array) array       { return s.own("sinh", C.zr_sinh(a.c, s.stream)) }
func (s *scope) sqrt(a array) array       { return s.own("sqrt", C.zr_sqrt(a.c, s.stream)) }
func (s *scope) square(a array) array     { return s.own("square", C.zr_square(a.c, s.stream)) }
func (s *scope) stopGradient(a array) array {
	return s.own("stop_gradient", C.zr_stop_gradient(a.c, s.stream))
}
func (s *scope) tan(a array) array   { return s.own("tan", C.zr_tan(a.c, s.stream)) }
func (s *scope) tanh(a array) array  { return s.own("tanh", C.zr_tanh(a.c, s.stream)) }
func (s *scope) trunc(a array) array { return s.own("trunc", C.zr_trunc(a.c, s.stream)) }

func (s *scope) add(a, b array) array     { return s.own("add", C.zr_add(a.c, b.c, s.stream)) }
func (s *scope) arctan2(a, b array) array { return s.own("arctan2", C.zr_arctan2(a.c, b.c, s.stream)) }
func (s *scope) bitwiseAnd(a, b array) array {
	return s.own("bitwise_and", C.zr_bitwise_and(a.c, b.c, s.stream))
}
func (s *scope) bitwiseOr(a, b array) array {
	return s.own("bitwise_or", C.zr_bitwise_or(a.c, b.c, s.stream))
}
func (s *scope) bitwiseXor(a, b array) array {
	return s.own("bitwise_xor", C.zr_bitwise_xor(a.c, b.c, s.stream))
}
func (s *scope) divide(a, b array) array { return s.own("divide", C.zr_divide(a.c, b.c, s.stream)) }
func (s *scope) equal(a, b array) array  { return s.own("equal", C.zr_equal(a.c, b.c, s.stream)) }
func (s *scope) floorDivide(a, b array) array {
	return s.own("floor_divide", C.zr_floor_divide(a.c, b.c, s.stream))
}
func (s *scope) greater(a, b array) array { return s.own("greater", C.zr_greater(a.c, b.c, s.stream)) }
func (s *scope) greaterEqual(a, b array) array {
	return s.own("greater_equal", C.zr_greater_equal(a.c, b.c, s.stream))
}
func (s *scope) leftShift(a, b array) array {
	return s.own("left_shift", C.zr_left_shift(a.c, b.c, s.stream))
}
func (s *scope) less(a, b array) array { return s.own("less", C.zr_less(a.c, b.c, s.stream)) }
func (s *scope) lessEqual(a, b array) array {
	return s.own("less_equal", C.zr_less_equal(a.c, b.c, s.stream))
}
func (s *scope) logaddexp(a, b array) array {
	return s.own("logaddexp", C.zr_logaddexp(a.c, b.c, s.stream))
}
func (s *scope) logicalAnd(a, b array) array {
	return s.own("logical_and", C.zr_logical_and(a.c, b.c, s.stream))
}
func (s *scope) logicalOr(a, b array) array {
	return s.own("logical_or", C.zr_logical_or(a.c, b.c, s.stream))
}
func (s *scope) logicalXor(a, b array) array {
	return s.own("logical_xor", C.zr_logical_xor(a.c, b.c, s.stream))
}
func (s *scope) maximum(a, b array) array { return s.own("maximum", C.zr_maximum(a.c, b.c, s.stream)) }
func (s *scope) minimum(a, b array) array { return s.own("minimum", C.zr_minimum(a.c, b.c, s.stream)) }
func (s *scope) multiply(a, b array) array {
	return s.own("multiply", C.zr_multiply(a.c, b.c, s.stream))
}
func (s *scope) notEqual(a, b array) array {
	return s.own("not_equal", C.zr_not_equal(a.c, b.c, s.stream))
}
func (s *scope) power(a, b array) array { return s.own("power", C.zr_power(a.c, b.c, s.stream)) }
func (s *scope) remainder(a, b array) array {
	return s.own("remainder", C.zr_remainder(a.c, b.c, s.stream))
}
func (s *scope) rightShift(a, b array) array {
	return s.own("right_shift", C.zr_right_shift(a.c, b.c, s.stream))
}
func (s *scope) subtract(a, b array) array {
	return s.own("subtract", C.zr_subtract(a.c, b.c, s.stream))
}

// divmod returns the quotient, rounded down, and the remainder.
func (s *scope) divmod(a, b array) (quotient, remainder array) {
	var out [2]C.mlx_array
	r := s.ownAll("divmod", C.zr_divmod(&out[0], a.c, b.c, s.stream), out[:])
	return r[0], r[1]
}

// round rounds half to even, at so many decimals.
func (s *scope) round(a array, decimals int) array {
	return s.own("round", C.zr_round(a.c, s.int(decimals), s.stream))
}

// clip bounds a; either bound may be left out.
func (s *scope) clip(a, low, high array) array {
	return s.own("clip", C.zr_clip(a.c, low.c, high.c, s.stream))
}

// where takes elements of a where condition holds, else of b.
func (s *scope) where(condition, a, b array) array {
	return s.own("where", C.zr_where(condition.c, a.c, b.c, s.stream))
}

// astype converts values; view reads the same bytes as another type.
func (s *scope) astype(a array, t graph.DType) array {
	return s.own("astype", C.zr_astype(a.c, C.mlx_dtype(t), s.stream))
}

func (s *scope) view(a array, t graph.DType) array {
	return s.own("view", C.zr_view(a.c, C.mlx_dtype(t), s.stream))
}

// toFP8 and fromFP8 convert to and from e4m3 in uint8.
func (s *scope) toFP8(a array) array { return s.own("to_fp8", C.zr_to_fp8(a.c, s.stream)) }

func (s *scope) fromFP8(a array, t graph.DType) array {
	return s.own("from_fp8", C.zr_from_fp8(a.c, C.mlx_dtype(t), s.stream))
}
