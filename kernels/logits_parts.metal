// The largest logit of each part of a row, and the sum of exponentials relative to it. One
// group a part.
#include "attention.h"
#include "extremes.h"
#include "logits.h"
#include "reduce.h"

kernel void logits_parts() {
  threadgroup float share[16];
  const int part = int(threadgroup_position_in_grid.x), row = int(threadgroup_position_in_grid.y);
  const int t = int(thread_index_in_threadgroup);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const int first = LOGITS_PART * part;
  const int here = metal::max(0, metal::min(LOGITS_PART, n - first));
  const size_t from = size_t(uint(row)) * uint(n) + uint(metal::min(first, n));
  float v[32];
  if (attn_wide(logits + from)) {
    logits_read<true, T>(logits + from, t, here, v);
  } else {
    logits_read<false, T>(logits + from, t, here, v);
  }
  float top = -INFINITY;
  ATTN_UNROLL
  for (int i = 0; i < 32; i++) top = nan_max(top, v[i]);
  top = group_nan_max(top, share, lane, simdgroup, simdgroups_per_threadgroup);
  const float base = top == -INFINITY ? 0.0f : top; // of nothing the sum is 0
  float sum = 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < 32; i++) sum += metal::precise::exp(v[i] - base);
  sum = group_sum(sum, share, lane, simdgroup, simdgroups_per_threadgroup);
  if (t == 0) {
    tops[row * 64 + part] = T(top);
    sums[row * 64 + part] = sum;
  }
}
