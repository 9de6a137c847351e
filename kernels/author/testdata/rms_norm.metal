// x * rsqrt(mean(x ** 2) + eps) * w, computed in float32 and rounded once.
// Made by zmlx-rewrite kernels new; one threadgroup a row. Edit it freely: it is checked against the spec.
#include "maths.h"
#include "reduce.h"

kernel void rms_norm() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x);
  if (row >= rows) return;
  const int base = row * n, from = int(thread_index_in_threadgroup), step = int(threads_per_threadgroup.x);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup, simdgroups = simdgroups_per_threadgroup;

  float t2 = 0.0f;
  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float t1 = x_k * x_k;
    t2 += t1;
  }
  t2 = group_sum(t2, part, lane, simdgroup, simdgroups);
  const float t3 = t2 / float(n);
  const float t4 = t3 + eps;
  const float t5 = mlx_rsqrt(t4);

  for (int k = from; k < n; k += step) {
    const float x_k = float(x[base + k]);
    const float w_k = float(w[k]);
    const float t6 = x_k * t5;
    out[base + k] = T(t6 * w_k);
  }
}
