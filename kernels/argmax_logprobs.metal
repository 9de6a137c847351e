// The place of the largest log-probability, one threadgroup a row. Differences to the
// logarithm of the sum of exponentials are rounded, so that logits which differ may be equal
// here, and the first of them counts. Rounding keeps the order: the first part whose largest
// logit comes to the largest difference has the place, and only that part is read. A sum that is no
// finite number makes all differences NaN, or all minus infinity but for NaN: then it is place 0.
// Differences are compared as keys, unsigned numbers in the same order.
#include "attention.h"
#include "logits.h"
#include "topk.h"

kernel void argmax_logprobs() {
  threadgroup uint keys[4];
  threadgroup uint places[4];
  const int row = int(threadgroup_position_in_grid.x);
  const int t = int(thread_index_in_threadgroup);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;

  float top[2], sum[2];
  for (int i = 0; i < 2; i++) {
    top[i] = float(tops[row * 64 + int(lane) + 32 * i]);
    sum[i] = sums[row * 64 + int(lane) + 32 * i];
  }
  const float most = simd_max(metal::max(top[0], top[1]));
  const float total = simd_sum(sum[0] * metal::precise::exp(top[0] - most) + sum[1] * metal::precise::exp(top[1] - most));
  const float less = float(T(metal::precise::log(total) + most));
  const uint key0 = topk_key(float(T(top[0] - less)), false), key1 = topk_key(float(T(top[1] - less)), false);
  const uint high = simd_max(metal::max(key0, key1));
  const int part = int(simd_min(key0 == high ? lane : key1 == high ? lane + 32 : 63u));

  const int first = LOGITS_PART * part;
  const int here = metal::max(0, metal::min(LOGITS_PART, n - first));
  const size_t from = size_t(uint(row)) * uint(n) + uint(metal::min(first, n));
  float v[32];
  if (attn_wide(logits + from)) {
    logits_read<true, T>(logits + from, t, here, v);
  } else {
    logits_read<false, T>(logits + from, t, here, v);
  }
  // Other parts are minus infinity, from their first place on.
  uint best = 0u, place = 0xffffffffu;
  if (t == 0 && (part > 0 || n > LOGITS_PART)) {
    best = topk_key(-INFINITY, false);
    place = part > 0 ? 0u : uint(LOGITS_PART);
  }
  ATTN_UNROLL
  for (int i = 0; i < 32; i++) {
    const int at = 8 * t + 1024 * (i / 8) + i % 8;
    const float p = float(T(v[i] - less));
    uint key = topk_key(p, false); // NaN below all
    if (metal::isnan(p) && first + at == 0) key = 0xffffffffu; // but there, as MLX has it
    if (at < here && (key > best || (key == best && uint(first + at) < place))) {
      best = key;
      place = uint(first + at);
    }
  }
  const uint top_key = simd_max(best);
  const uint top_place = simd_min(best == top_key ? place : 0xffffffffu);
  if (lane == 0) {
    keys[simdgroup] = top_key;
    places[simdgroup] = top_place;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (t == 0) {
    for (int i = 1; i < 4; i++) {
      const uint key = keys[i], at = places[i];
      if (key > keys[0] || (key == keys[0] && at < places[0])) {
        keys[0] = key;
        places[0] = at;
      }
    }
    const bool finite = metal::abs(less) < INFINITY;
    token[row] = finite ? int(places[0]) : 0;
  }
}
