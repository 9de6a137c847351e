// A few rows times a quantized matrix.
//
// A group makes 16 columns of the result for up to four rows of x (tile.h).
#include "quantized.h"
#include "tile.h"

kernel void qmv() {
  threadgroup float part[512]; // 16 of each of up to four rows and eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, n > 4096);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const int top = 4 * int(threadgroup_position_in_grid.y);
  const int count = rows < 4 ? rows : metal::min(rows - top, 4);
  const auto tile = tile_of(w, scales, biases, 0u, first, n);
  const auto rows_in = tile_x(x + size_t(top) * uint(k));
  tile_products<4, T, S>(rows_in, count, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    for (int m = 0; m < count; m++) {
      const float sum = tile_slow(x + size_t(top + m) * uint(k), tile, layout, lane, tile_sum(part, m, tile_parts<T>(simdgroups), lane));
      if (lane < 16 && first + int(lane) < n) {
        const size_t i = size_t(top + m) * uint(n) + uint(first) + lane;
        out[i] = out_t(sum);
      }
    }
  }
}
