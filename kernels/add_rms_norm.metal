// h = x + r and rms_norm(h) * w, one threadgroup a row. A thread keeps eight elements in
// registers; of rows that are longer it reads its own h again.
#include "reduce.h"

kernel void add_rms_norm() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x) * d;
  const int t = int(thread_index_in_threadgroup);
  const int step = metal::min(512, (d + 255) / 256 * 32); // as launched

  float v[8];
  float squares = 0.0f;
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      v[j] = i < d ? float(h_t(float(x[row + i]) + float(r[row + i]))) : 0.0f;
    }
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i < d) h[row + i] = h_t(v[j]);
      squares += v[j] * v[j];
    }
  }
  const float sum = group_sum(squares, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float norm = metal::precise::rsqrt(sum / float(d) + eps);
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i >= d) break;
      const float u = d > 8 * step ? float(h[row + i]) : v[j];
      // MLX rounds the normalised row before it multiplies with w.
      y[row + i] = y_t(float(y_t(u * norm)) * float(y_t(float(w[i]))));
    }
  }
}
