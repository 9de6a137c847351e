// A row times the quantized matrix that an index chooses. As in qmv, a group makes four
// elements of the result, and its simdgroups share out the columns of the matrix.
#include "quantized.h"

kernel void gather_qmm() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const int row = int(threadgroup_position_in_grid.y);
  const uint of = uint(idx[row]) * uint(n) + uint(first);
  const float sum = quant_tile<S>(x + size_t(row) * uint(k), 1, part, w, scales, biases, w, scales, biases, of,
                                  quant_more(first, 1, n), quant_more(first, 2, n), quant_more(first, 3, n), layout,
                                  lane, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  if (simdgroup_index_in_threadgroup == 0 && int(lane) < 4 && first + int(lane) < n) {
    out[size_t(row) * uint(n) + uint(first) + lane] = out_t(sum);
  }
}
