// sqrt(sum(x * y) ** 2 + 1) - min(x), computed in float32 and rounded once.
// Made by zmlx-rewrite kernels new; one threadgroup a row. Edit it freely: it is checked against the spec.
#include "extremes.h"
#include "reduce.h"

kernel void norm2() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x);
  if (row >= rows) return;
  const int base = row * n, from = int(thread_index_in_threadgroup), step = int(threads_per_threadgroup.x);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup, simdgroups = simdgroups_per_threadgroup;

  float t2 = 0.0f;
  float t6 = INFINITY;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float y_k = float(y[base + k]);
    const float t1 = x_k * y_k;
    t2 += t1;
    t6 = nan_min(t6, x_k);
  }
  t2 = group_sum(t2, part, lane, simdgroup, simdgroups);
  t6 = group_nan_min(t6, part, lane, simdgroup, simdgroups);
  const float t3 = t2 * t2;
  const float t4 = t3 + 1.0f;
  const float t5 = metal::precise::sqrt(t4);
  if (from == 0) out[row] = T(t5 - t6);
}
