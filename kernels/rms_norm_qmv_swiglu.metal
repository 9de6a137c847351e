// The norm of a row, gate and up projections by quantized matrices, then silu(gate) * up.
//
// A group makes eight columns of one row's result, from eight rows of the gate and eight of the
// up matrix (tile.h), and the row's norm on the way.
#include "mlx_ops.h"
#include "quantized.h"
#include "tile.h"
#include "normed.h"
#include "gated.h"

kernel void rms_norm_qmv_swiglu() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  threadgroup float squares[8];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, n > 2048);
  const int first = 8 * int(threadgroup_position_in_grid.x);
  const size_t row = threadgroup_position_in_grid.y;
  const auto from = x + row * uint(k);
  const auto tile = tile_of(wg, sg, bg, wu, su, bu, 0u, first, n);
  auto rows_in = tile_norm<T>(from, weight, squares, k, eps, lane, simdgroup, simdgroups);
  tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  const float mine = tile_slow(rows_in.rounded(0), tile, layout, lane, rows_in.factor() * tile_sum(part, 0, tile_parts<T>(simdgroups), lane));
  const float other = simd_shuffle_xor(mine, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
  if (lane < 8 && first + int(lane) < n) out[row * uint(n) + uint(first) + lane] = gated_silu(out_t(mine), out_t(other));
}
