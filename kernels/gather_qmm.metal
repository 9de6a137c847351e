// Rows times the quantized matrices that indices choose. A group makes 16 elements of up to four
// rows of the result (tile.h), and reads a matrix once for rows beside each other that share it, as
// they do where they are sorted by it.
#include "quantized.h"
#include "tile.h"

kernel void gather_qmm() {
  threadgroup float part[512]; // 16 of each of up to four rows and eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, true);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const int top = 4 * int(threadgroup_position_in_grid.y);
  const int end = metal::min(top + 4, m);
  int count = 0;
  for (int row = top; row < end; row += count) {
    const uint chosen = uint(idx[row]);
    count = 1;
    while (row + count < end && uint(idx[row + count]) == chosen) count++;
    const auto from = x + size_t(row) * uint(k);
    const auto tile = tile_of(w, scales, biases, chosen * uint(n), first, n);
    const auto rows_in = tile_x(from);
    tile_products<4, T, S>(rows_in, count, part, tile, layout, lane, simdgroup, simdgroups);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup == 0) {
      for (int i = 0; i < count; i++) {
        const float sum = tile_slow(from + size_t(i) * uint(k), tile, layout, lane, tile_sum(part, i, tile_parts<T>(simdgroups), lane));
        if (lane < 16 && first + int(lane) < n) out[size_t(row + i) * uint(n) + uint(first) + lane] = out_t(sum);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup); // the next rows' parts take the place of these
  }
}
