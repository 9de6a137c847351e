// Products of a row that rms_norm has gone over, without a launch for the norm.
//
// A scaled_row is the row times the norm's weight: what its products come to is divided by
// the row's root mean square afterwards, so that nothing waits for that, and nothing is
// rounded in between. A normed_row has MLX's rounding steps, an element at a time, for rows
// that come out as no number.
//
// It needs quantized.h before it, and tile.h.
#pragma once

// P is a pointer to T.
template <typename T, typename P> struct scaled_row {
  P x, w;
  float operator[](int i) const { return float(x[i]) * float(w[i]); }
};

template <typename T, typename P> inline scaled_row<T, P> scaled(P x, P w) {
  scaled_row<T, P> r = {x, w};
  return r;
}

template <typename T, typename P> inline scaled_row<T, P> operator+(scaled_row<T, P> r, int n) { return scaled<T>(r.x + n, r.w + n); }

// norm is 1 / rms.
template <typename T, typename P> struct normed_row {
  P x, w;
  float norm;
  T operator[](int i) const { return T(float(T(float(x[i]) * norm)) * float(w[i])); }
};

template <typename T, typename P> inline normed_row<T, P> normed(P x, P w, float norm) {
  normed_row<T, P> r = {x, w, norm};
  return r;
}

// Columns of a scaled_row, as quantized.h asks for them.
template <typename T> struct scaled_element {};
template <typename T> struct quant_columns<scaled_element<T>> {
  quant_columns<T> x, w;
};
template <typename T, typename P> inline quant_columns<scaled_element<T>> quant_read(scaled_row<T, P> r) {
  quant_columns<scaled_element<T>> c = {quant_read(r.x), quant_read(r.w)};
  return c;
}
template <typename T> inline void quant_eight(quant_columns<scaled_element<T>> c, int j, thread float *v) {
  float w[8];
  quant_eight(c.x, j, v);
  quant_eight(c.w, j, w);
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) v[i] *= w[i];
}

// A lane's part of the sum of squares of a row of k; first and step are in slices, as in
// quant_four.
template <typename P> inline float row_squares(P x, int k, int first, int step) {
  float sum = 0.0f;
  for (int at = 32 * first; at < k; at += 32 * step) {
    const auto c = quant_read(x + at);
    QUANT_UNROLL
    for (int j = 0; j < 4; j++) {
      float v[8];
      quant_eight(c, j, v);
      QUANT_UNROLL
      for (int i = 0; i < 8; i++) sum += v[i] * v[i];
    }
  }
  return sum;
}

#if ZMLX_MMA
// Pairs of a normed_row, for tile.h.
template <typename T, typename P> inline void tile_pairs(normed_row<T, P> r, int n, uint *u) {
  uint w[16];
  tile_pairs(r.x, n, u);
  tile_pairs(r.w, n, w);
  QUANT_UNROLL
  for (int i = 0; i < 16; i++) {
    if (i < n / 2) {
      const uint low = as_type<ushort>(T(quant_low(u[i], T()) * r.norm)), high = as_type<ushort>(T(quant_high(u[i], T()) * r.norm));
      u[i] = pair_mul(T(), low | high << 16, w[i]);
    }
  }
}
#endif

template <typename T, typename P> inline normed_row<T, P> operator+(normed_row<T, P> r, int n) { return normed<T>(r.x + n, r.w + n, r.norm); }

// A row under a norm that is known, for tile.h. Tensor cores take numbers of T, which the norm's
// are; elsewhere nothing is rounded on the way, and what the products come to is multiplied by factor().
template <typename T, typename P> struct tile_known {
  P x, w;
  float norm;

  void begin() const {}
  scaled_row<T, P> at(int i) const { return scaled<T>(x + i, w + i); }
  normed_row<T, P> rounded(int i) const { return normed<T>(x + i, w + i, norm); }
  float factor() const {
#if ZMLX_MMA
    if (tile_mma<T>::on) return 1.0f;
#endif
    return norm;
  }
};

// A row of k whose sum of squares is in parts.
template <typename T, typename P, typename F> inline tile_known<T, P> known_row(P x, P w, F squares, uint parts, int k, float eps) {
  float all = 0.0f;
  for (uint i = 0; i < parts; i++) all += float(squares[i]);
  tile_known<T, P> r = {x, w, metal::precise::rsqrt(all / float(k) + eps)};
  return r;
}

// One row whose norm is made when weights have been asked for. squares is threadgroup memory for a
// float a simdgroup.
template <typename T, typename P, typename F> struct tile_normed {
  tile_known<T, P> row;
  F squares;
  int k;
  float eps;
  uint lane, simdgroup, simdgroups;

  void begin() {
    const float own = simd_sum(row_squares(row.x, k, int(32 * simdgroup + lane), int(32 * simdgroups)));
    if (lane == 0) squares[simdgroup] = own;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    row = known_row<T>(row.x, row.w, squares, simdgroups, k, eps);
  }
  scaled_row<T, P> at(int i) const { return row.at(i); }
  normed_row<T, P> rounded(int i) const { return row.rounded(i); }
  float factor() const { return row.factor(); }
};
template <typename T, typename P, typename F>
inline tile_normed<T, P, F> tile_norm(P x, P w, F squares, int k, float eps, uint lane, uint simdgroup, uint simdgroups) {
  tile_normed<T, P, F> r = {{x, w, 0.0f}, squares, k, eps, lane, simdgroup, simdgroups};
  return r;
}
