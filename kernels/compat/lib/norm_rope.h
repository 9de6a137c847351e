// Heads of queries or keys under their norm and their rotary embedding. It needs rope.h before it.
#pragma once

#if ZMLX_HOST
#define NORM_ROPE_UNROLL
#else
#define NORM_ROPE_UNROLL _Pragma("unroll")
#endif

// How many of its pairs a lane keeps the turns of: those of heads of 256 elements.
constexpr constant int norm_rope_kept = 4;

// A position, and how a lane's pairs lane, lane + 32, ... turn there, which is the same for all heads:
// sines are most of what there is to compute.
struct rope_turns {
  float2 of[norm_rope_kept];
  int half_dims, position;
  float base, scale;

  float2 at(int c) const { return rope_turn(rope_angle(position, scale, rope_frequency(c, half_dims, base))); }
};
inline rope_turns turns_at(int position, int half_dims, float base, float scale, uint lane) {
  rope_turns t;
  t.half_dims = half_dims;
  t.position = position;
  t.base = base;
  t.scale = scale;
  NORM_ROPE_UNROLL
  for (int i = 0; i < norm_rope_kept; i++)
    if (32 * i < half_dims) t.of[i] = t.at(int(lane) + 32 * i);
  return t;
}

// Rounded to the type before it is multiplied with the weight, as MLX does.
template <typename T> inline float normed(float x, float norm, float w) { return float(T(float(T(x * norm)) * float(T(w)))); }

template <typename T, typename E, typename X, typename W, typename Y>
inline void norm_rope_pair(X x, W w, Y y, int c, int half_dims, bool traditional, float norm, float2 turn) {
  const int first = traditional ? 2 * c : c;
  const int second = traditional ? first + 1 : first + half_dims;
  const float u = normed<T>(float(x[first]), norm, float(w[first]));
  const float v = normed<T>(float(x[second]), norm, float(w[second]));
  y[first] = E(rope_first<T>(u, v, turn));
  y[second] = E(rope_second<T>(u, v, turn));
}

// One head, by one simdgroup: x has d elements, w the norm's weights, and y gets numbers of T, as
// type E. The first 2 * half_dims elements are turned.
template <typename T, typename E, typename X, typename W, typename Y>
inline void norm_rope(X x, W w, Y y, int d, rope_turns t, bool traditional, float eps, uint lane) {
  float squares = 0.0f;
  for (int i = int(lane); i < d; i += 32) squares += float(x[i]) * float(x[i]);
  const float norm = metal::precise::rsqrt(simd_sum(squares) / float(d) + eps);
  NORM_ROPE_UNROLL
  for (int i = 0; i < norm_rope_kept; i++)
    if (int(lane) + 32 * i < t.half_dims) norm_rope_pair<T, E>(x, w, y, int(lane) + 32 * i, t.half_dims, traditional, norm, t.of[i]);
  for (int c = int(lane) + 32 * norm_rope_kept; c < t.half_dims; c += 32) norm_rope_pair<T, E>(x, w, y, c, t.half_dims, traditional, norm, t.at(c));
  for (int i = 2 * t.half_dims + int(lane); i < d; i += 32) y[i] = E(normed<T>(float(x[i]), norm, float(w[i])));
}
