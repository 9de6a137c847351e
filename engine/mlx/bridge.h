// What Go needs between itself and mlx-c. Three things are done here because doing
// them in Go would cost a second call for each operation: the check that the call
// comes from the MLX thread, the turn of a return code into an empty handle, and the
// bound on the size of a result.
//
// Each function returns one array; an empty handle (ctx == NULL) means failure, with
// the reason in zr_message. Pointers to ints and arrays are read during the call only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mlx/c/mlx.h"

void zr_start(void);             // once, on the MLX thread, before any other call
bool zr_on_thread(void);         // is this the MLX thread?
const char *zr_message(void);    // the last failure, cleared by zr_clear
void zr_clear(void);
void zr_limit(size_t bytes);     // refuse larger results
int64_t zr_live(void);           // arrays handed out and not released
int zr_guard(void);              // 0 on the MLX thread, else 1
mlx_array zr_checked(int rc, mlx_array r);
int zr_list(int rc, mlx_vector_array v, mlx_array *out, size_t n);
void zr_release(const mlx_array *a, size_t n);
int zr_eval(const mlx_array *a, size_t n, bool wait);
int zr_ready(mlx_array a, bool *rows);
mlx_array zr_adopt(void *data, const int *shape, int dim, mlx_dtype t, uintptr_t handle);

#define ONE(call)               \
  mlx_array r = {0};            \
  int rc = zr_guard() || (call); \
  return zr_checked(rc, r)

// The argument lists that most operations have.
#define UNARY(op) \
  static inline mlx_array zr_##op(mlx_array a, mlx_stream s) { ONE(mlx_##op(&r, a, s)); }
#define BINARY(op) \
  static inline mlx_array zr_##op(mlx_array a, mlx_array b, mlx_stream s) { ONE(mlx_##op(&r, a, b, s)); }
#define REDUCE(op)                                                                                    \
  static inline mlx_array zr_##op(mlx_array a, const int *axes, size_t n, bool all, bool keepdims, mlx_stream s) { \
    ONE(all ? mlx_##op(&r, a, keepdims, s) : mlx_##op##_axes(&r, a, axes, n, keepdims, s));           \
  }
#define ARGREDUCE(op)                                                                              \
  static inline mlx_array zr_##op(mlx_array a, int axis, bool all, bool keepdims, mlx_stream s) {  \
    ONE(all ? mlx_##op(&r, a, keepdims, s) : mlx_##op##_axis(&r, a, axis, keepdims, s));           \
  }

UNARY(abs) UNARY(arccos) UNARY(arccosh) UNARY(arcsin) UNARY(arcsinh) UNARY(arctan) UNARY(arctanh)
UNARY(bitwise_invert) UNARY(ceil) UNARY(conjugate) UNARY(copy) UNARY(cos) UNARY(cosh) UNARY(degrees)
UNARY(erf) UNARY(erfinv) UNARY(exp) UNARY(expm1) UNARY(floor) UNARY(imag) UNARY(isfinite) UNARY(isinf)
UNARY(isnan) UNARY(isneginf) UNARY(isposinf) UNARY(log) UNARY(log10) UNARY(log1p) UNARY(log2)
UNARY(logical_not) UNARY(negative) UNARY(radians) UNARY(real) UNARY(reciprocal) UNARY(rsqrt)
UNARY(sigmoid) UNARY(sign) UNARY(sin) UNARY(sinh) UNARY(sqrt) UNARY(square) UNARY(stop_gradient)
UNARY(tan) UNARY(tanh) UNARY(trunc) UNARY(transpose) UNARY(to_fp8)

BINARY(add) BINARY(arctan2) BINARY(bitwise_and) BINARY(bitwise_or) BINARY(bitwise_xor) BINARY(divide)
BINARY(equal) BINARY(floor_divide) BINARY(greater) BINARY(greater_equal) BINARY(inner) BINARY(left_shift)
BINARY(less) BINARY(less_equal) BINARY(logaddexp) BINARY(logical_and) BINARY(logical_or)
BINARY(logical_xor) BINARY(matmul) BINARY(maximum) BINARY(minimum) BINARY(multiply) BINARY(not_equal)
BINARY(outer) BINARY(power) BINARY(remainder) BINARY(right_shift) BINARY(subtract) BINARY(take)

REDUCE(all) REDUCE(any) REDUCE(logsumexp) REDUCE(max) REDUCE(mean) REDUCE(min) REDUCE(prod) REDUCE(sum)
ARGREDUCE(argmax) ARGREDUCE(argmin)

#undef UNARY
#undef BINARY
#undef REDUCE
#undef ARGREDUCE

static inline mlx_array zr_share(mlx_array a) { ONE(mlx_array_set(&r, a)); }
static inline mlx_array zr_array(const void *data, const int *shape, int dim, mlx_dtype t) {
  ONE(mlx_array_set_data(&r, data, shape, dim, t));
}

// Making arrays.
static inline mlx_array zr_arange(double start, double stop, double step, mlx_dtype t, mlx_stream s) {
  ONE(mlx_arange(&r, start, stop, step, t, s));
}
static inline mlx_array zr_zeros(const int *shape, size_t n, mlx_dtype t, mlx_stream s) {
  ONE(mlx_zeros(&r, shape, n, t, s));
}
static inline mlx_array zr_full(const int *shape, size_t n, mlx_array value, mlx_dtype t, mlx_stream s) {
  ONE(mlx_full(&r, shape, n, value, t, s));
}
static inline mlx_array zr_tri(int n, int m, int k, mlx_dtype t, mlx_stream s) { ONE(mlx_tri(&r, n, m, k, t, s)); }
static inline mlx_array zr_tril(mlx_array a, int k, mlx_stream s) { ONE(mlx_tril(&r, a, k, s)); }
static inline mlx_array zr_triu(mlx_array a, int k, mlx_stream s) { ONE(mlx_triu(&r, a, k, s)); }
static inline mlx_array zr_eye(int n, int m, int k, mlx_dtype t, mlx_stream s) { ONE(mlx_eye(&r, n, m, k, t, s)); }

// Element types.
static inline mlx_array zr_astype(mlx_array a, mlx_dtype t, mlx_stream s) { ONE(mlx_astype(&r, a, t, s)); }
static inline mlx_array zr_view(mlx_array a, mlx_dtype t, mlx_stream s) { ONE(mlx_view(&r, a, t, s)); }
static inline mlx_array zr_from_fp8(mlx_array a, mlx_dtype t, mlx_stream s) { ONE(mlx_from_fp8(&r, a, t, s)); }
static inline mlx_array zr_round(mlx_array a, int decimals, mlx_stream s) { ONE(mlx_round(&r, a, decimals, s)); }
static inline mlx_array zr_clip(mlx_array a, mlx_array lo, mlx_array hi, mlx_stream s) { ONE(mlx_clip(&r, a, lo, hi, s)); }
static inline mlx_array zr_where(mlx_array c, mlx_array a, mlx_array b, mlx_stream s) { ONE(mlx_where(&r, c, a, b, s)); }

// Shapes.
static inline mlx_array zr_reshape(mlx_array a, const int *shape, size_t n, mlx_stream s) { ONE(mlx_reshape(&r, a, shape, n, s)); }
static inline mlx_array zr_broadcast_to(mlx_array a, const int *shape, size_t n, mlx_stream s) { ONE(mlx_broadcast_to(&r, a, shape, n, s)); }
static inline mlx_array zr_transpose_axes(mlx_array a, const int *axes, size_t n, mlx_stream s) { ONE(mlx_transpose_axes(&r, a, axes, n, s)); }
static inline mlx_array zr_swapaxes(mlx_array a, int i, int j, mlx_stream s) { ONE(mlx_swapaxes(&r, a, i, j, s)); }
static inline mlx_array zr_moveaxis(mlx_array a, int from, int to, mlx_stream s) { ONE(mlx_moveaxis(&r, a, from, to, s)); }
static inline mlx_array zr_expand_dims(mlx_array a, const int *axes, size_t n, mlx_stream s) { ONE(mlx_expand_dims_axes(&r, a, axes, n, s)); }
static inline mlx_array zr_squeeze(mlx_array a, const int *axes, size_t n, bool all, mlx_stream s) {
  ONE(all ? mlx_squeeze(&r, a, s) : mlx_squeeze_axes(&r, a, axes, n, s));
}
static inline mlx_array zr_flatten(mlx_array a, int start, int end, mlx_stream s) { ONE(mlx_flatten(&r, a, start, end, s)); }
static inline mlx_array zr_unflatten(mlx_array a, int axis, const int *shape, size_t n, mlx_stream s) { ONE(mlx_unflatten(&r, a, axis, shape, n, s)); }
static inline mlx_array zr_as_strided(mlx_array a, const int *shape, size_t n, const int64_t *strides, size_t m, size_t offset, mlx_stream s) {
  ONE(mlx_as_strided(&r, a, shape, n, strides, m, offset, s));
}
static inline mlx_array zr_contiguous(mlx_array a, mlx_stream s) { ONE(mlx_contiguous(&r, a, false, s)); }
static inline mlx_array zr_repeat(mlx_array a, int times, int axis, mlx_stream s) { ONE(mlx_repeat_axis(&r, a, times, axis, s)); }
static inline mlx_array zr_tile(mlx_array a, const int *reps, size_t n, mlx_stream s) { ONE(mlx_tile(&r, a, reps, n, s)); }
static inline mlx_array zr_roll(mlx_array a, const int *shift, size_t n, const int *axes, size_t m, mlx_stream s) {
  ONE(mlx_roll_axes(&r, a, shift, n, axes, m, s));
}
static inline mlx_array zr_pad(mlx_array a, const int *axes, size_t n, const int *low, const int *high, mlx_array value, const char *mode, mlx_stream s) {
  ONE(mlx_pad(&r, a, axes, n, low, n, high, n, value, mode, s));
}
static inline mlx_array zr_concatenate(const mlx_array *a, size_t n, int axis, mlx_stream s) {
  mlx_vector_array v = mlx_vector_array_new_data(a, n);
  mlx_array r = {0};
  int rc = zr_guard() || mlx_concatenate_axis(&r, v, axis, s);
  if (v.ctx != NULL) mlx_vector_array_free(v);
  return zr_checked(rc, r);
}
static inline mlx_array zr_stack(const mlx_array *a, size_t n, int axis, mlx_stream s) {
  mlx_vector_array v = mlx_vector_array_new_data(a, n);
  mlx_array r = {0};
  int rc = zr_guard() || mlx_stack_axis(&r, v, axis, s);
  if (v.ctx != NULL) mlx_vector_array_free(v);
  return zr_checked(rc, r);
}
static inline int zr_split(mlx_array *out, size_t n, mlx_array a, const int *at, int axis, mlx_stream s) {
  mlx_vector_array v = {0};
  int rc = zr_guard() || (at != NULL ? mlx_split_sections(&v, a, at, n - 1, axis, s) : mlx_split(&v, a, (int)n, axis, s));
  return zr_list(rc, v, out, n);
}
static inline int zr_divmod(mlx_array *out, mlx_array a, mlx_array b, mlx_stream s) {
  mlx_vector_array v = {0};
  int rc = zr_guard() || mlx_divmod(&v, a, b, s);
  return zr_list(rc, v, out, 2);
}

// Reductions, scans and sorts along one axis.
static inline mlx_array zr_var(mlx_array a, const int *axes, size_t n, bool all, bool keepdims, int ddof, mlx_stream s) {
  ONE(all ? mlx_var(&r, a, keepdims, ddof, s) : mlx_var_axes(&r, a, axes, n, keepdims, ddof, s));
}
static inline mlx_array zr_softmax(mlx_array a, const int *axes, size_t n, bool all, bool precise, mlx_stream s) {
  ONE(all ? mlx_softmax(&r, a, precise, s) : mlx_softmax_axes(&r, a, axes, n, precise, s));
}
static inline mlx_array zr_cumsum(mlx_array a, int axis, bool reverse, bool inclusive, mlx_stream s) {
  mlx_optional_dtype own = {0};
  ONE(mlx_cumsum_axis(&r, a, axis, reverse, inclusive, own, s));
}
static inline mlx_array zr_cumprod(mlx_array a, int axis, bool reverse, bool inclusive, mlx_stream s) {
  mlx_optional_dtype own = {0};
  ONE(mlx_cumprod_axis(&r, a, axis, reverse, inclusive, own, s));
}
static inline mlx_array zr_cummax(mlx_array a, int axis, bool reverse, bool inclusive, mlx_stream s) { ONE(mlx_cummax_axis(&r, a, axis, reverse, inclusive, s)); }
static inline mlx_array zr_cummin(mlx_array a, int axis, bool reverse, bool inclusive, mlx_stream s) { ONE(mlx_cummin_axis(&r, a, axis, reverse, inclusive, s)); }
static inline mlx_array zr_logcumsumexp(mlx_array a, int axis, bool reverse, bool inclusive, mlx_stream s) { ONE(mlx_logcumsumexp_axis(&r, a, axis, reverse, inclusive, s)); }
static inline mlx_array zr_sort(mlx_array a, int axis, mlx_stream s) { ONE(mlx_sort_axis(&r, a, axis, s)); }
static inline mlx_array zr_argsort(mlx_array a, int axis, mlx_stream s) { ONE(mlx_argsort_axis(&r, a, axis, s)); }
static inline mlx_array zr_partition(mlx_array a, int kth, int axis, mlx_stream s) { ONE(mlx_partition_axis(&r, a, kth, axis, s)); }
static inline mlx_array zr_argpartition(mlx_array a, int kth, int axis, mlx_stream s) { ONE(mlx_argpartition_axis(&r, a, kth, axis, s)); }
static inline mlx_array zr_topk(mlx_array a, int k, int axis, mlx_stream s) { ONE(mlx_topk_axis(&r, a, k, axis, s)); }

// Indexing.
static inline mlx_array zr_take_axis(mlx_array a, mlx_array i, int axis, mlx_stream s) { ONE(mlx_take_axis(&r, a, i, axis, s)); }
static inline mlx_array zr_take_along_axis(mlx_array a, mlx_array i, int axis, mlx_stream s) { ONE(mlx_take_along_axis(&r, a, i, axis, s)); }
static inline mlx_array zr_put_along_axis(mlx_array a, mlx_array i, mlx_array v, int axis, mlx_stream s) { ONE(mlx_put_along_axis(&r, a, i, v, axis, s)); }
static inline mlx_array zr_scatter_add_axis(mlx_array a, mlx_array i, mlx_array v, int axis, mlx_stream s) { ONE(mlx_scatter_add_axis(&r, a, i, v, axis, s)); }
static inline mlx_array zr_gather(mlx_array a, const mlx_array *i, size_t ni, const int *axes, size_t n, const int *sizes, size_t m, mlx_stream s) {
  mlx_vector_array v = mlx_vector_array_new_data(i, ni);
  mlx_array r = {0};
  int rc = zr_guard() || mlx_gather(&r, a, v, axes, n, sizes, m, s);
  if (v.ctx != NULL) mlx_vector_array_free(v);
  return zr_checked(rc, r);
}
static inline mlx_array zr_slice(mlx_array a, const int *start, const int *stop, const int *step, size_t n, mlx_stream s) {
  ONE(mlx_slice(&r, a, start, n, stop, n, step, n, s));
}
static inline mlx_array zr_slice_update(mlx_array a, mlx_array u, const int *start, const int *stop, const int *step, size_t n, mlx_stream s) {
  ONE(mlx_slice_update(&r, a, u, start, n, stop, n, step, n, s));
}
static inline mlx_array zr_slice_dynamic(mlx_array a, mlx_array start, const int *axes, size_t n, const int *sizes, size_t m, mlx_stream s) {
  ONE(mlx_slice_dynamic(&r, a, start, axes, n, sizes, m, s));
}
static inline mlx_array zr_slice_update_dynamic(mlx_array a, mlx_array u, mlx_array start, const int *axes, size_t n, mlx_stream s) {
  ONE(mlx_slice_update_dynamic(&r, a, u, start, axes, n, s));
}

// Products. A group size or a number of bits of 0 means the default of the mode.
#define OPTIONAL(v) ((mlx_optional_int){(v), (v) != 0})
static inline mlx_array zr_addmm(mlx_array c, mlx_array a, mlx_array b, float alpha, float beta, mlx_stream s) { ONE(mlx_addmm(&r, c, a, b, alpha, beta, s)); }
static inline mlx_array zr_gather_mm(mlx_array a, mlx_array b, mlx_array lhs, mlx_array rhs, bool sorted, mlx_stream s) { ONE(mlx_gather_mm(&r, a, b, lhs, rhs, sorted, s)); }
static inline mlx_array zr_quantized_matmul(mlx_array x, mlx_array w, mlx_array sc, mlx_array b, bool transpose, int group, int bits, const char *mode, mlx_stream s) {
  ONE(mlx_quantized_matmul(&r, x, w, sc, b, transpose, OPTIONAL(group), OPTIONAL(bits), mode, s));
}
static inline mlx_array zr_gather_qmm(mlx_array x, mlx_array w, mlx_array sc, mlx_array b, mlx_array lhs, mlx_array rhs, bool transpose, int group, int bits, const char *mode, bool sorted, mlx_stream s) {
  ONE(mlx_gather_qmm(&r, x, w, sc, b, lhs, rhs, transpose, OPTIONAL(group), OPTIONAL(bits), mode, sorted, s));
}
static inline int zr_quantize(mlx_array *out, size_t n, mlx_array w, int group, int bits, const char *mode, mlx_stream s) {
  mlx_vector_array v = {0};
  mlx_array none = {0};
  int rc = zr_guard() || mlx_quantize(&v, w, OPTIONAL(group), OPTIONAL(bits), mode, none, s);
  return zr_list(rc, v, out, n);
}
static inline mlx_array zr_dequantize(mlx_array w, mlx_array sc, mlx_array b, int group, int bits, const char *mode, int dtype, mlx_stream s) {
  mlx_array none = {0};
  mlx_optional_dtype t = {dtype < 0 ? MLX_BOOL : (mlx_dtype)dtype, dtype >= 0};
  ONE(mlx_dequantize(&r, w, sc, b, OPTIONAL(group), OPTIONAL(bits), mode, none, t, s));
}
static inline mlx_array zr_conv1d(mlx_array x, mlx_array w, int stride, int padding, int dilation, int groups, mlx_stream s) {
  ONE(mlx_conv1d(&r, x, w, stride, padding, dilation, groups, s));
}

// mlx.core.fast
static inline mlx_array zr_rms_norm(mlx_array x, mlx_array w, float eps, mlx_stream s) { ONE(mlx_fast_rms_norm(&r, x, w, eps, s)); }
static inline mlx_array zr_layer_norm(mlx_array x, mlx_array w, mlx_array b, float eps, mlx_stream s) { ONE(mlx_fast_layer_norm(&r, x, w, b, eps, s)); }
static inline mlx_array zr_rope(mlx_array x, int dims, bool traditional, bool based, float base, float scale, int offset, mlx_array at, mlx_array freqs, mlx_stream s) {
  mlx_optional_float b = {base, based};
  ONE(at.ctx != NULL ? mlx_fast_rope_dynamic(&r, x, dims, traditional, b, scale, at, freqs, s)
                     : mlx_fast_rope(&r, x, dims, traditional, b, scale, offset, freqs, s));
}
static inline mlx_array zr_sdpa(mlx_array q, mlx_array k, mlx_array v, float scale, const char *mode, mlx_array mask, mlx_array sinks, mlx_stream s) {
  ONE(mlx_fast_scaled_dot_product_attention(&r, q, k, v, scale, mode, mask, sinks, false, s));
}
