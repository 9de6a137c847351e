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

// Elements of a lane's pairs, of a head or of the norm's weights, all asked for before any is used.
struct norm_pairs {
  float first[norm_rope_kept], second[norm_rope_kept];
};

inline int pair_first(int c, bool traditional) { return traditional ? 2 * c : c; }
inline int pair_second(int c, int half_dims, bool traditional) { return traditional ? 2 * c + 1 : c + half_dims; }

template <typename X> inline norm_pairs norm_read(X x, int half_dims, bool traditional, uint lane) {
  norm_pairs p;
  NORM_ROPE_UNROLL
  for (int i = 0; i < norm_rope_kept; i++) {
    const int c = int(lane) + 32 * i;
    p.first[i] = c < half_dims ? float(x[pair_first(c, traditional)]) : 0.0f;
    p.second[i] = c < half_dims ? float(x[pair_second(c, half_dims, traditional)]) : 0.0f;
  }
  return p;
}

// u and v of a pair.
template <typename T, typename E, typename Y> inline void norm_rope_pair(float u, float v, float wu, float wv, Y y, int c, int half_dims, bool traditional, float norm, float2 turn) {
  const float a = normed<T>(u, norm, wu), b = normed<T>(v, norm, wv);
  y[pair_first(c, traditional)] = E(rope_first<T>(a, b, turn));
  y[pair_second(c, half_dims, traditional)] = E(rope_second<T>(a, b, turn));
}

// One head, by one simdgroup: x has d elements, w the norm's weights, of which the lane's pairs are in
// hand and in own, and y gets numbers of T, as type E. The first 2 * half_dims elements are turned.
template <typename T, typename E, typename X, typename W, typename Y>
inline void norm_rope(X x, norm_pairs hand, W w, norm_pairs own, Y y, int d, rope_turns t, bool traditional, float eps, uint lane) {
  float squares = 0.0f;
  NORM_ROPE_UNROLL
  for (int i = 0; i < norm_rope_kept; i++) squares += hand.first[i] * hand.first[i] + hand.second[i] * hand.second[i];
  for (int c = int(lane) + 32 * norm_rope_kept; c < t.half_dims; c += 32) {
    const float u = float(x[pair_first(c, traditional)]), v = float(x[pair_second(c, t.half_dims, traditional)]);
    squares += u * u + v * v;
  }
  for (int i = 2 * t.half_dims + int(lane); i < d; i += 32) squares += float(x[i]) * float(x[i]);
  const float norm = metal::precise::rsqrt(simd_sum(squares) / float(d) + eps);
  NORM_ROPE_UNROLL
  for (int i = 0; i < norm_rope_kept; i++)
    if (int(lane) + 32 * i < t.half_dims)
      norm_rope_pair<T, E>(hand.first[i], hand.second[i], own.first[i], own.second[i], y, int(lane) + 32 * i, t.half_dims, traditional, norm, t.of[i]);
  for (int c = int(lane) + 32 * norm_rope_kept; c < t.half_dims; c += 32) {
    const int first = pair_first(c, traditional), second = pair_second(c, t.half_dims, traditional);
    norm_rope_pair<T, E>(float(x[first]), float(x[second]), float(w[first]), float(w[second]), y, c, t.half_dims, traditional, norm, t.at(c));
  }
  for (int i = 2 * t.half_dims + int(lane); i < d; i += 32) y[i] = E(normed<T>(float(x[i]), norm, float(w[i])));
}
template <typename T, typename E, typename X, typename W, typename Y>
inline void norm_rope(X x, W w, Y y, int d, rope_turns t, bool traditional, float eps, uint lane) {
  norm_rope<T, E>(x, norm_read(x, t.half_dims, traditional, lane), w, norm_read(w, t.half_dims, traditional, lane), y, d, t, traditional, eps, lane);
}
