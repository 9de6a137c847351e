// Products of a row that rms_norm has gone over, without a launch for the norm.
//
// A scaled_row is the row times the norm's weight: what its products come to is divided by
// the row's root mean square afterwards, so that nothing waits for that, and nothing is
// rounded in between. A normed_row has MLX's rounding steps, an element at a time, for rows
// that come out as no number.
//
// It needs quantized.h before it.
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
