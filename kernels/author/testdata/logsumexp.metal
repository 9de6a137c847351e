// logsumexp(x), computed in float32 and rounded once.
// Made by zmlx-rewrite kernels new; one threadgroup a row. Edit it freely: it is checked against the spec.
#include "extremes.h"
#include "reduce.h"

kernel void logsumexp() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x);
  if (row >= rows) return;
  const int base = row * n, from = int(thread_index_in_threadgroup), step = int(threads_per_threadgroup.x);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup, simdgroups = simdgroups_per_threadgroup;

  float t1 = -INFINITY;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    t1 = nan_max(t1, x_k);
  }
  t1 = group_nan_max(t1, part, lane, simdgroup, simdgroups);
  const float t2 = t1 - t1;
  const bool t3 = t2 == 0.0f;

  float t4 = 0.0f;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float t5 = x_k - t1;
    const float t6 = metal::precise::exp(t5);
    t4 += t6;
  }
  t4 = group_sum(t4, part, lane, simdgroup, simdgroups);
  const float t7 = metal::precise::log(t4);
  const float t8 = t7 + t1;
  if (from == 0) out[row] = T(t3 ? t8 : t1);
}
