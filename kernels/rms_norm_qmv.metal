// The norm of a row, then the row times a quantized matrix.
//
// A group makes 16 columns of one row's result (tile.h), and the row's norm on the way.
#include "quantized.h"
#include "tile.h"
#include "normed.h"

kernel void rms_norm_qmv() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  threadgroup float squares[8];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, n > 4096);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const size_t row = threadgroup_position_in_grid.y;
  const auto from = x + row * uint(k);
  const auto tile = tile_of(w, scales, biases, 0u, first, n);
  auto rows_in = tile_norm<T>(from, weight, squares, k, eps, lane, simdgroup, simdgroups);
  tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  const float sum = tile_slow(rows_in.rounded(0), tile, layout, lane, rows_in.factor() * tile_sum(part, 0, tile_parts<T>(simdgroups), lane));
  if (lane < 16 && first + int(lane) < n) out[row * uint(n) + uint(first) + lane] = out_t(sum);
}
