// Rows of heads, each times the quantized matrix of its head. A group makes four columns of one
// row; its simdgroups share out the columns of w, 1024 at a time.
#include "quantized.h"

kernel void qmv_heads() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const int row = int(threadgroup_position_in_grid.y); // over batches, heads and positions
  const int head = row / l % h;
  const float sum = quant_tile<S>(x + size_t(uint(row)) * uint(k), 1, part, w, scales, biases, w, scales, biases, uint(head * n + first),
                                  quant_more(first, 1, n), quant_more(first, 2, n), quant_more(first, 3, n), layout,
                                  lane, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  if (simdgroup_index_in_threadgroup == 0 && int(lane) < 4 && first + int(lane) < n) out[size_t(uint(row)) * uint(n) + uint(first) + lane] = out_t(sum);
}
