// layer_norm(x) * w + bias, one threadgroup a row, the variance about the mean as MLX
// has it, not as a difference of two sums. A thread keeps eight elements in registers;
// of rows that are longer it reads its own again.
#include "reduce.h"

kernel void layer_norm() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x) * d;
  const int t = int(thread_index_in_threadgroup);
  const int step = metal::min(512, (d + 255) / 256 * 32); // as launched
  const bool again = d > 8 * step;

  float v[8];
  float total = 0.0f;
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) v[j] = c + j * step < d ? float(x[row + c + j * step]) : 0.0f;
    for (int j = 0; j < 8; j++) total += v[j];
  }
  const float mean = group_sum(total, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup) / float(d);
  float squares = 0.0f;
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i >= d) break;
      const float u = (again ? float(x[row + i]) : v[j]) - mean;
      squares += u * u;
    }
  }
  const float sum = group_sum(squares, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float norm = metal::precise::rsqrt(sum / float(d) + eps);
  for (int c = t; c < d; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i >= d) break;
      y_t u = y_t(((again ? float(x[row + i]) : v[j]) - mean) * norm);
      if (has_w) u = y_t(float(u) * float(y_t(float(w[i]))));
      if (has_bias) u = y_t(float(u) + float(y_t(float(bias[i]))));
      y[row + i] = u;
    }
  }
}
