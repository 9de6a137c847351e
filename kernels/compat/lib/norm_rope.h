// A head of queries or keys under its norm and its rotary embedding. It needs rope.h before it.
#pragma once

// Rounded to the type before it is multiplied with the weight, as MLX does.
template <typename T> inline float normed(float x, float norm, float w) { return float(T(float(T(x * norm)) * float(T(w)))); }

// One head, by one simdgroup: x has d elements, w the norm's weights, and y gets numbers of T, as
// type E. The first 2 * half_dims elements are turned.
template <typename T, typename E, typename X, typename W, typename Y>
inline void norm_rope(X x, W w, Y y, int d, int half_dims, bool traditional, int position, float eps, float base, float scale, uint lane) {
  float squares = 0.0f;
  for (int i = int(lane); i < d; i += 32) squares += float(x[i]) * float(x[i]);
  const float norm = metal::precise::rsqrt(simd_sum(squares) / float(d) + eps);
  for (int c = int(lane); c < half_dims; c += 32) {
    const int first = traditional ? 2 * c : c;
    const int second = traditional ? first + 1 : first + half_dims;
    const float2 turn = rope_turn(rope_angle(position, scale, rope_frequency(c, half_dims, base)));
    const float u = normed<T>(float(x[first]), norm, float(w[first]));
    const float v = normed<T>(float(x[second]), norm, float(w[second]));
    y[first] = E(rope_first<T>(u, v, turn));
    y[second] = E(rope_second<T>(u, v, turn));
  }
  for (int i = 2 * half_dims + int(lane); i < d; i += 32) y[i] = E(normed<T>(float(x[i]), norm, float(w[i])));
}
