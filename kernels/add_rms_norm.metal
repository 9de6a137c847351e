// h = x + r and rms_norm(h) * w, one threadgroup a row. The row is read twice: h is not
// kept, since rows are longer than registers, and it is made again with the same bits.
#include "reduce.h"

kernel void add_rms_norm() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x);
  const int t = int(thread_index_in_threadgroup);
  const int step = int(threads_per_threadgroup.x);

  float squares = 0.0f;
  for (int i = t; i < d; i += step) {
    const h_t v = h_t(float(x[row * d + i]) + float(r[row * d + i]));
    h[row * d + i] = v;
    squares += float(v) * float(v);
  }
  const float sum = group_sum(squares, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float scale = metal::precise::rsqrt(sum / float(d) + eps);
  for (int i = t; i < d; i += step) {
    const h_t v = h_t(float(x[row * d + i]) + float(r[row * d + i]));
    // MLX rounds the normalised row to the type of the result before it multiplies with w.
    y[row * d + i] = y_t(float(y_t(float(v) * scale)) * float(w[i]));
  }
}
