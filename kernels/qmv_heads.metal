// Rows of heads, each times the quantized matrix of its head. A group makes 16 columns of one
// row (tile.h).
#include "quantized.h"
#include "tile.h"

kernel void qmv_heads() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, true);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const int row = int(threadgroup_position_in_grid.y); // over batches, heads and positions
  const int head = row / l % h;
  const auto from = x + size_t(uint(row)) * uint(k);
  const auto tile = tile_of(w, scales, biases, uint(head * n), first, n);
  const auto rows_in = tile_x(from);
  tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    const float sum = tile_slow(from, tile, layout, lane, tile_sum(part, 0, tile_parts<T>(simdgroups), lane));
    if (lane < 16 && first + int(lane) < n) out[size_t(uint(row)) * uint(n) + uint(first) + lane] = out_t(sum);
  }
}
