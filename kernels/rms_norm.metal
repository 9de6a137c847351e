// rms_norm(x) * w, one threadgroup a row. A thread keeps eight elements in registers; of
// rows that are longer it reads its own again.
#include "reduce.h"

kernel void rms_norm() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x) * d;
  const int t = int(thread_index_in_threadgroup);
  const int step = metal::min(512, (d + 255) / 256 * 32); // as launched

  float v[8];
  float squares = 0.0f;
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) v[j] = c + j * step < d ? float(x[row + c + j * step]) : 0.0f;
    for (int j = 0; j < 8; j++) squares += v[j] * v[j];
  }
  const float sum = group_sum(squares, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float norm = metal::precise::rsqrt(sum / float(d) + eps);
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i >= d) break;
      // MLX rounds the normalised row before it multiplies with w.
      const y_t u = y_t((d > 8 * step ? float(x[row + i]) : v[j]) * norm);
      y[row + i] = has_w ? y_t(float(u) * float(y_t(float(w[i])))) : u;
    }
  }
}
