// The norm of a row, gate and up projections by quantized matrices, then silu(gate) * up.
//
// A group makes two columns of one row's result, from two rows of the gate and two of the up
// matrix; its simdgroups share out the columns, 1024 at a time. Every group makes the norm.
#include "mlx_ops.h"
#include "quantized.h"
#include "reduce.h"
#include "normed.h"
#include "gated.h"

kernel void rms_norm_qmv_swiglu() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int first = 2 * int(threadgroup_position_in_grid.x);
  const size_t row = threadgroup_position_in_grid.y;
  const int more = quant_more(first, 1, n);
  const float norm = row_norm(x + row * uint(k), k, eps, part, thread_index_in_threadgroup, 32 * simdgroups_per_threadgroup, lane,
                              simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  const float mine = quant_tile<S>(normed<T>(x + row * uint(k), weight, norm), 1, part, wg, sg, bg, wu, su, bu, uint(first), more, 0, more, layout,
                                   lane, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  if (simdgroup_index_in_threadgroup == 0) {
    const float other = simd_shuffle_xor(mine, 2); // of four lanes, two have gates, two ups
    if (lane < 2 && first + int(lane) < n) out[row * uint(n) + uint(first) + lane] = gated_silu(out_t(mine), out_t(other));
  }
}
