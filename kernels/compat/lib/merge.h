// Parts of an attention made one, for up to 64 of them: each times its share of all exponentials.
//
// A group of four simdgroups has 32 columns of a head. A simdgroup has every fourth part, and
// asks for all of them before it knows any exponential: what there is to read is little, and
// waiting for it is what takes time. Exponentials are made once in a simdgroup, two a lane.
#pragma once

#if ZMLX_HOST
#define MERGE_UNROLL
#else
#define MERGE_UNROLL _Pragma("unroll")
#endif

// A column of a head in simdgroup 0; nothing in the others. part has d floats and lse one of each
// of the head's `splits` parts; `sink` is one more score, without values, or -INFINITY. shared is
// threadgroup memory for 128 floats.
template <typename P, typename L, typename F> inline float merged(P part, L lse, F shared, float sink, int splits, int d, int column, uint lane, uint simdgroup) {
  float v[16];
  MERGE_UNROLL
  for (int i = 0; i < 16; i++) {
    const int s = 4 * i + int(simdgroup);
    v[i] = s < splits && column < d ? float(part[s * d + column]) : 0.0f;
  }
  const float low = int(lane) < splits ? float(lse[int(lane)]) : -INFINITY, high = int(lane) + 32 < splits ? float(lse[int(lane) + 32]) : -INFINITY;
  const float top = simd_max(metal::max(metal::max(low, high), sink));
  const float e_low = int(lane) < splits ? metal::exp(low - top) : 0.0f, e_high = int(lane) + 32 < splits ? metal::exp(high - top) : 0.0f;
  const float sum = simd_sum(e_low + e_high) + metal::exp(sink - top);
  float acc = 0.0f;
  MERGE_UNROLL
  for (int i = 0; i < 16; i++)
    if (4 * i < splits) acc += simd_shuffle(i < 8 ? e_low : e_high, (4 * uint(i) + simdgroup) % 32) * v[i];
  shared[32 * simdgroup + lane] = acc;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return simdgroup == 0 ? (float(shared[lane]) + float(shared[32 + lane]) + float(shared[64 + lane]) + float(shared[96 + lane])) / sum : 0.0f;
}
