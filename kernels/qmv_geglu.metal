// Gate and up projections by quantized matrices, then gelu(gate) * up, GELU by tanh.
//
// A group makes eight columns of the result for up to four rows of x, from eight rows of the
// gate and eight of the up matrix (tile.h).
#include "mlx_ops.h"
#include "quantized.h"
#include "tile.h"
#include "gated.h"

kernel void qmv_geglu() {
  threadgroup float part[512]; // 16 of each of up to four rows and eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, n > 2048);
  const int first = 8 * int(threadgroup_position_in_grid.x);
  const int top = 4 * int(threadgroup_position_in_grid.y);
  const int count = rows < 4 ? rows : metal::min(rows - top, 4);
  const auto tile = tile_of(wg, sg, bg, wu, su, bu, 0u, first, n);
  const auto rows_in = tile_x(x + size_t(top) * uint(k));
  tile_products<4, T, S>(rows_in, count, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    for (int m = 0; m < count; m++) {
      const float mine = tile_slow(x + size_t(top + m) * uint(k), tile, layout, lane, tile_sum(part, m, tile_parts<T>(simdgroups), lane));
      const float other = simd_shuffle_xor(mine, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
      if (lane < 8 && first + int(lane) < n) out[size_t(top + m) * uint(n) + uint(first) + lane] = gated_gelu_tanh(out_t(mine), out_t(other));
    }
  }
}
