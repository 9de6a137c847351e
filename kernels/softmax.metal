// Softmax, one threadgroup a row. A thread keeps eight elements in registers; of rows that
// are longer it reads its own again, and makes their exponentials again. Without
// `precise`, each step is rounded to the element type, as MLX does; only the
// sum is better than its.
#include "reduce.h"

template <typename T> inline float kept(float v, bool precise) { return precise ? v : float(T(v)); }

template <typename T> inline float exponential(float x, float hi, bool precise) {
  return kept<T>(metal::precise::exp(kept<T>(x - hi, precise)), precise);
}

kernel void softmax() {
  threadgroup float part[16];
  const int row = int(threadgroup_position_in_grid.x) * n;
  const int t = int(thread_index_in_threadgroup);
  const int step = metal::min(512, (n + 255) / 256 * 32); // as launched
  const bool again = n > 8 * step;

  float v[8];
  float hi = -INFINITY; // without NaN, which the sum has
  for (int c = t; c < n; c += 8 * step) {
    for (int j = 0; j < 8; j++) v[j] = c + j * step < n ? float(x[row + c + j * step]) : -INFINITY;
    for (int j = 0; j < 8; j++) hi = metal::max(hi, v[j]);
  }
  hi = group_max(hi, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  float sum = 0.0f;
  for (int c = t; c < n; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i >= n) break;
      v[j] = exponential<T>(again ? float(x[row + i]) : v[j], hi, precise);
      sum += v[j];
    }
  }
  sum = group_sum(sum, part, thread_index_in_simdgroup, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float norm = kept<T>(1.0f / kept<T>(sum, precise), precise);
  for (int c = t; c < n; c += 8 * step) {
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      if (i >= n) break;
      y[row + i] = T((again ? exponential<T>(float(x[row + i]), hi, precise) : v[j]) * norm);
    }
  }
}
