// The norm of a row, then the row times a quantized matrix.
//
// A group makes four columns of one row's result; its simdgroups share out the columns of w,
// 1024 at a time. Every group makes the norm.
#include "quantized.h"
#include "reduce.h"
#include "normed.h"

kernel void rms_norm_qmv() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const size_t row = threadgroup_position_in_grid.y;
  const float norm = row_norm(x + row * uint(k), k, eps, part, thread_index_in_threadgroup, 32 * simdgroups_per_threadgroup, lane,
                              simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float sum = quant_tile<S>(normed<T>(x + row * uint(k), weight, norm), 1, part, w, scales, biases, w, scales, biases, uint(first),
                                  quant_more(first, 1, n), quant_more(first, 2, n), quant_more(first, 3, n), layout,
                                  lane, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  if (simdgroup_index_in_threadgroup == 0 && lane < 4 && first + int(lane) < n) out[row * uint(n) + uint(first) + lane] = out_t(sum);
}
