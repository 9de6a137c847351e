// A row as rms_norm gives it, made while it is read: kernels that multiply a normalised row
// with a matrix need no launch before them. Every group makes the row anew, so it pays where
// a row is short beside what a group reads of the matrix, and rows are few. It needs quantized.h
// and reduce.h before it.
#pragma once

// P is a pointer to T. Reads give MLX's rounding steps: the row times 1 / rms in T, then times
// the weight in T.
template <typename T, typename P> struct normed_row {
  P x, w;
  float norm;
  T operator[](int i) const { return T(float(T(float(x[i]) * norm)) * float(w[i])); }
};

template <typename T, typename P> inline normed_row<T, P> normed(P x, P w, float norm) {
  normed_row<T, P> r = {x, w, norm};
  return r;
}

template <typename T, typename P> inline normed_row<T, P> operator+(normed_row<T, P> r, int n) {
  r.x = r.x + n;
  r.w = r.w + n;
  return r;
}

// Eight columns in place of those that are there: quant_eight's other way.
#if ZMLX_CUDA
template <typename T> inline quant_columns<T> quant_with(quant_columns<T> c, int j, const float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) c.u[4 * j + i] = uint(as_type<ushort>(T(v[2 * i]))) | uint(as_type<ushort>(T(v[2 * i + 1]))) << 16;
  return c;
}
inline quant_columns<float> quant_with(quant_columns<float> c, int j, const float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) c.u[8 * j + i] = as_type<uint>(v[i]);
  return c;
}
#else
template <typename T> inline quant_columns<T> quant_with(quant_columns<T> c, int j, const thread float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) c.v[8 * j + i] = T(v[i]);
  return c;
}
#endif

// 32 columns of a row, as quantized.h asks for them.
template <typename T, typename P> inline quant_columns<T> quant_read(normed_row<T, P> r) {
  quant_columns<T> c = quant_read(r.x);
  const quant_columns<T> w = quant_read(r.w);
  QUANT_UNROLL
  for (int j = 0; j < 4; j++) {
    float a[8], b[8];
    quant_eight(c, j, a);
    quant_eight(w, j, b);
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) a[i] = float(T(a[i] * r.norm)) * b[i];
    c = quant_with(c, j, a);
  }
  return c;
}

// 1 / rms of a row of k, by the whole group. part is threadgroup memory for a float a
// simdgroup, as in reduce.h.
template <typename P, typename M> inline float row_norm(P x, int k, float eps, M part, uint t, uint threads, uint lane, uint simdgroup, uint simdgroups) {
  float squares = 0.0f;
  for (uint i = t; i < uint(k); i += threads) squares += float(x[i]) * float(x[i]);
  return metal::precise::rsqrt(group_sum(squares, part, lane, simdgroup, simdgroups) / float(k) + eps);
}
