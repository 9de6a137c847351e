// A row times a matrix. A simdgroup makes one element of the result: each lane takes eight
// neighbours of x and w, four times in a step, so that eight loads are under way.
#include "attention.h"

template <bool wide, typename T, typename W, typename P, typename Q> inline float mv_sum(P x, Q w, int k, uint lane) {
  float sum = 0.0f;
  for (int c = 8 * int(lane); c < k; c += 1024) {
    attn_eight<T> a[4];
    attn_eight<W> b[4];
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      const int at = c + 256 * u;
      a[u] = attn_read<wide, T>(x + at, at + 8 <= k);
      b[u] = attn_read<wide, W>(w + at, at + 8 <= k);
    }
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      ATTN_UNROLL
      for (int i = 0; i < 8; i++) sum += attn_element(a[u], i) * attn_element(b[u], i);
      const int at = c + 256 * u;
      if (at < k && at + 8 > k)
        for (int i = at; i < k; i++) sum += float(x[i]) * float(w[i]);
    }
  }
  return simd_sum(sum);
}

kernel void mv() {
  const int row = int(threadgroup_position_in_grid.y);
  const int column = 4 * int(threadgroup_position_in_grid.x) + int(simdgroup_index_in_threadgroup);
  if (column >= n) return; // a whole simdgroup
  const size_t from = size_t(uint(row)) * uint(k), at = size_t(uint(column)) * uint(k);
  float sum;
  if (attn_wide(x + from) && attn_wide(w + at)) {
    sum = mv_sum<true, T, W>(x + from, w + at, k, thread_index_in_simdgroup);
  } else {
    sum = mv_sum<false, T, W>(x + from, w + at, k, thread_index_in_simdgroup);
  }
  if (thread_index_in_simdgroup == 0) out[size_t(uint(row)) * uint(n) + uint(column)] = out_t(sum);
}
