//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import "zmlx-rewrite/graph"

// Products. mode is MLX's name of a quantization: affine, mxfp4, mxfp8, nvfp4. A
// group size or number of bits of 0 means the default of the mode. biases is left
// out where the mode has none.

func (s *scope) matmul(a, b array) array { return s.own("matmul", C.zr_matmul(a.c, b.c, s.stream)) }
func (s *scope) inner(a, b array) array  { return s.own("inner", C.zr_inner(a.c, b.c, s.stream)) }
func (s *scope) outer(a, b array) array  { return s.own("outer", C.zr_outer(a.c, b.c, s.stream)) }

// addmm is beta·c + alpha·(a @ b).
func (s *scope) addmm(c, a, b array, alpha, beta float32) array {
	return s.own("addmm", C.zr_addmm(c.c, a.c, b.c, C.float(alpha), C.float(beta), s.stream))
}

// gatherMM multiplies the matrices of a and b that the indices choose; either may
// be left out. sorted promises that rhs does not decrease.
func (s *scope) gatherMM(a, b, lhs, rhs array, sorted bool) array {
	return s.own("gather_mm", C.zr_gather_mm(a.c, b.c, lhs.c, rhs.c, C.bool(sorted), s.stream))
}

// quantization says how a matrix is packed.
type quantization struct {
	mode            string
	groupSize, bits int
}

// quantizedMatmul is x @ w, or x @ wᵀ if transpose.
func (s *scope) quantizedMatmul(x, w, scales, biases array, transpose bool, q quantization) array {
	return s.own("quantized_matmul", C.zr_quantized_matmul(x.c, w.c, scales.c, biases.c,
		C.bool(transpose), s.int(q.groupSize), s.int(q.bits), s.word("quantized_matmul", q.mode), s.stream))
}

func (s *scope) gatherQMM(x, w, scales, biases, lhs, rhs array, transpose, sorted bool, q quantization) array {
	return s.own("gather_qmm", C.zr_gather_qmm(x.c, w.c, scales.c, biases.c, lhs.c, rhs.c,
		C.bool(transpose), s.int(q.groupSize), s.int(q.bits), s.word("gather_qmm", q.mode), C.bool(sorted), s.stream))
}

// quantize returns the packed matrix, its scales, and its biases in mode affine.
func (s *scope) quantize(w array, q quantization) (packed, scales, biases array) {
	var out [3]C.mlx_array
	n := 2
	if q.mode == "affine" {
		n = 3
	}
	r := s.ownAll("quantize", C.zr_quantize(&out[0], C.size_t(n), w.c,
		s.int(q.groupSize), s.int(q.bits), s.word("quantize", q.mode), s.stream), out[:n])
	if n == 3 {
		biases = r[2]
	}
	return r[0], r[1], biases
}

// dequantize gives type t, or the type of the scales for graph.NoDType.
func (s *scope) dequantize(w, scales, biases array, q quantization, t graph.DType) array {
	dtype := C.int(-1)
	if t != graph.NoDType {
		dtype = C.int(t)
	}
	return s.own("dequantize", C.zr_dequantize(w.c, scales.c, biases.c,
		s.int(q.groupSize), s.int(q.bits), s.word("dequantize", q.mode), dtype, s.stream))
}

// conv1d convolves x [batch, length, channels] with w [out, kernel, channels/groups].
func (s *scope) conv1d(x, w array, stride, padding, dilation, groups int) array {
	return s.own("conv1d", C.zr_conv1d(x.c, w.c, s.int(stride), s.int(padding), s.int(dilation), s.int(groups), s.stream))
}
