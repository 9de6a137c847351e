// The k best of up to 512 values by one simdgroup, for routers.
//
// Lane l has the values l, l + 32, l + 64, ... as keys in registers: unsigned numbers in
// the order of the values, above 0, so that 0 is a value which is taken or not there.
// k rounds find the best key and, among equal ones, the place; nothing is dropped on the
// way, whichever lanes the best ones are in.
//
// Two spellings of top-k are two functions, in experts and in their order, and so in the
// order in which the combine adds them up:
//
//     last    slice(argpartition(s, kth=-k), start=-k)             ascending; NaN is best;
//                                                                  of equal values the last win
//     first   slice(argpartition(negative(s), kth=k-1), stop=k)    descending; NaN is worst;
//                                                                  of equal values the first win
#pragma once

#define TOPK_SLOTS 16 // values a lane

inline uint topk_key(float v, bool last) {
  const uint u = as_type<uint>(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return last ? 0xffffffffu : 1u;
  if ((u << 1) == 0u) return 0x80000000u; // -0 equals 0
  return (u >> 31) != 0u ? ~u : u | 0x80000000u;
}

// The value of a key of order `last`.
inline float topk_value(uint key) {
  if (key == 0xffffffffu) return as_type<float>(0x7fc00000u);
  return as_type<float>((key >> 31) != 0u ? key & 0x7fffffffu : ~key);
}

// topk returns to lane r < k the place of the r-th chosen value. It needs k <= n; the keys
// of chosen values are 0 afterwards.
template <typename P> inline int topk(P keys, int n, int k, bool last, uint lane) {
  int mine = 0;
  for (int r = 0; r < k; r++) {
    uint best = 0u, at = 0u;
    for (int j = 0; j < TOPK_SLOTS; j++) {
      if (j * 32 >= n) break;
      if (last ? keys[j] >= best : keys[j] > best) {
        best = keys[j];
        at = uint(j) * 32u + lane;
      }
    }
    const uint top = simd_max(best);
    uint chosen;
    if (last) {
      chosen = simd_max(best == top ? at : 0u);
    } else {
      chosen = simd_min(best == top ? at : 0xffffffffu);
    }
    for (int j = 0; j < TOPK_SLOTS; j++) {
      if (j * 32 >= n) break;
      if (uint(j) * 32u + lane == chosen) keys[j] = 0u;
    }
    if (int(lane) == (last ? k - 1 - r : r)) mine = int(chosen);
  }
  return mine;
}

// Softmax over a row of n: exp(x - hi) * norm, in float, then rounded to T.
struct softmax_terms {
  float hi, norm;
};

template <typename T> inline T softmax_value(float x, float hi, float norm) { return T(metal::precise::exp(x - hi) * norm); }

// softmax_keys makes the keys of softmax(x), rounded to T before they are compared.
template <typename T, typename L, typename P> inline softmax_terms softmax_keys(L x, P keys, int n, bool last, uint lane) {
  float v[TOPK_SLOTS];
  softmax_terms s;
  s.hi = -INFINITY;
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= n) break;
    const int i = j * 32 + int(lane);
    v[j] = i < n ? float(x[i]) : -INFINITY;
    s.hi = metal::max(s.hi, v[j]); // leaves NaN out; the sum has it
  }
  s.hi = simd_max(s.hi);
  float sum = 0.0f;
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= n) break;
    v[j] = metal::precise::exp(v[j] - s.hi);
    if (j * 32 + int(lane) < n) sum += v[j];
  }
  s.norm = 1.0f / simd_sum(sum);
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= n) break;
    keys[j] = j * 32 + int(lane) < n ? topk_key(float(T(v[j] * s.norm)), last) : 0u;
  }
  return s;
}
