// e = exp(x - max(x)); e / sum(e), computed in float32 and rounded once.
// Made by zmlx-rewrite kernels new; one threadgroup a row. Edit it freely: it is checked against the spec.
#include "extremes.h"
#include "reduce.h"

kernel void softmax() {
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

  float t3 = 0.0f;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float t2 = x_k - t1;
    const float e = metal::precise::exp(t2);
    t3 += e;
  }
  t3 = group_sum(t3, part, lane, simdgroup, simdgroups);

  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float t2 = x_k - t1;
    const float e = metal::precise::exp(t2);
    out[base + k] = T(e / t3);
  }
}
