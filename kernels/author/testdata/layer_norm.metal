// (x - mean(x)) * rsqrt(var(x) + eps) * w + b, computed in float32 and rounded once.
// Made by zmlx-rewrite kernels new; one threadgroup a row. Edit it freely: it is checked against the spec.
#include "maths.h"
#include "reduce.h"

kernel void layer_norm() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x);
  if (row >= rows) return;
  const int base = row * n, from = int(thread_index_in_threadgroup), step = int(threads_per_threadgroup.x);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup, simdgroups = simdgroups_per_threadgroup;

  float t1 = 0.0f;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    t1 += x_k;
  }
  t1 = group_sum(t1, part, lane, simdgroup, simdgroups);
  const float t2 = t1 / float(n);

  float t5 = 0.0f;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float t3 = x_k - t2;
    const float t4 = t3 * t3;
    t5 += t4;
  }
  t5 = group_sum(t5, part, lane, simdgroup, simdgroups);
  const float t6 = t5 / float(n);
  const float t7 = t6 + eps;
  const float t8 = mlx_rsqrt(t7);

  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float w_k = float(w[k]);
    const float b_k = float(b[k]);
    const float t3 = x_k - t2;
    const float t9 = t3 * t8;
    const float t10 = t9 * w_k;
    out[base + k] = T(t10 + b_k);
  }
}
