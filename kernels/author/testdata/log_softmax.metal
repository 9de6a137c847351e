// x - logsumexp(x), computed in float32 and rounded once.
// Made by zmlx-rewrite kernels new; one threadgroup a row. Edit it freely: it is checked against the spec.
#include "extremes.h"
#include "reduce.h"

kernel void log_softmax() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x);
  if (row >= rows) return;
  const int base = row * n, from = int(thread_index_in_threadgroup), step = int(threads_per_threadgroup.x);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup, simdgroups = simdgroups_per_threadgroup;

  float t2 = -INFINITY;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    t2 = nan_max(t2, x_k);
  }
  t2 = group_nan_max(t2, part, lane, simdgroup, simdgroups);
  const float t3 = t2 - t2;
  const bool t4 = t3 == 0.0f;

  float t5 = 0.0f;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float t6 = x_k - t2;
    const float t7 = metal::precise::exp(t6);
    t5 += t7;
  }
  t5 = group_sum(t5, part, lane, simdgroup, simdgroups);
  const float t8 = metal::precise::log(t5);
  const float t9 = t8 + t2;
  const float t10 = t4 ? t9 : t2;

  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    out[base + k] = T(x_k - t10);
  }
}
