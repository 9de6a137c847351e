// The norm of a row, then the row times a quantized matrix.
//
// A group makes four columns of one row's result; its simdgroups share out the columns of w,
// 1024 at a time. Every group makes the row's norm from the columns that it reads anyway.
#include "quantized.h"
#include "normed.h"

kernel void rms_norm_qmv() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  threadgroup float squares[4];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = simdgroups_per_threadgroup;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const int m1 = quant_more(first, 1, n), m2 = quant_more(first, 2, n), m3 = quant_more(first, 3, n);
  const size_t row = threadgroup_position_in_grid.y;
  const size_t from = row * uint(k);
  const float mine = simd_sum(row_squares(x + from, k, int(32 * simdgroup + lane), int(32 * simdgroups)));
  if (lane == 0) squares[simdgroup] = mine;
  float sum = quant_tile<S>(scaled<T>(x + from, weight), 1, part, w, scales, biases, w, scales, biases, uint(first), m1, m2, m3, layout,
                            lane, simdgroup, simdgroups); // its barrier is behind the line above
  if (simdgroup == 0) {
    float all = 0.0f;
    for (uint i = 0; i < simdgroups; i++) all += float(squares[i]);
    const float norm = metal::precise::rsqrt(all / float(k) + eps);
    sum *= norm;
    if (simd_max(metal::isnan(sum) ? 1.0f : 0.0f) > 0.0f)
      sum = quant_slow_four(normed<T>(x + from, weight, norm), w, scales, biases, w, scales, biases, uint(first), m1, m2, m3, layout, lane);
    if (lane < 4 && first + int(lane) < n) out[row * uint(n) + uint(first) + lane] = out_t(sum);
  }
}
