// A few rows times a quantized matrix, plus the residual.
//
// A group makes four columns of the result for up to four rows of x: it reads four rows of w
// once for all of them, and its simdgroups share out the columns of w, 1024 at a time.
#include "quantized.h"

kernel void qmv_add() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const int top = 4 * int(threadgroup_position_in_grid.y);
  const int count = rows < 4 ? rows : metal::min(rows - top, 4);
  const float sum = quant_tile<S>(x + size_t(top) * uint(k), count, part, w, scales, biases, w, scales, biases, uint(first),
                                  quant_more(first, 1, n), quant_more(first, 2, n), quant_more(first, 3, n), layout,
                                  lane, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  if (simdgroup_index_in_threadgroup == 0 && int(lane) < 4 * count && first + int(lane & 3) < n) {
    const size_t i = size_t(top + int(lane) / 4) * uint(n) + uint(first) + (lane & 3);
    out[i] = out_t(float(r[i]) + float(out_t(sum)));
  }
}
