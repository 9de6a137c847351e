// Gate and up projections by quantized matrices, then silu(gate) * up.
//
// A group makes two columns of the result for up to four rows of x, from two rows of the gate
// and two of the up matrix; its simdgroups share out the columns, 1024 at a time.
#include "mlx_ops.h"
#include "quantized.h"
#include "gated.h"

kernel void qmv_swiglu() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int first = 2 * int(threadgroup_position_in_grid.x);
  const int top = 4 * int(threadgroup_position_in_grid.y);
  const int count = rows < 4 ? rows : metal::min(rows - top, 4);
  const int more = quant_more(first, 1, n);
  const float mine = quant_tile<S>(x + size_t(top) * uint(k), count, part, wg, sg, bg, wu, su, bu, uint(first), more, 0, more, layout,
                                   lane, simdgroup_index_in_threadgroup, simdgroups_per_threadgroup);
  if (simdgroup_index_in_threadgroup == 0) {
    const float other = simd_shuffle_xor(mine, 2); // of four lanes, two have gates, two ups
    const int column = first + int(lane & 1);
    if ((lane & 2) == 0 && int(lane) < 4 * count && column < n)
      out[size_t(top + int(lane) / 4) * uint(n) + uint(column)] = gated_silu(out_t(mine), out_t(other));
  }
}
