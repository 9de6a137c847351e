// A few rows times a quantized matrix, plus the residual.
//
// A group makes 16 columns of the result for up to four rows of x (tile.h).
#include "quantized.h"
#include "tile.h"

kernel void qmv_add() {
  threadgroup float part[512]; // 16 of each of up to four rows and eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, n > 4096);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const int top = 4 * int(threadgroup_position_in_grid.y);
  const int count = rows < 4 ? rows : metal::min(rows - top, 4);
  const auto tile = tile_of(w, scales, biases, 0u, first, n);
  const int column = first + int(lane);
  const bool mine = simdgroup == 0 && lane < 16 && column < n;
  const size_t to = size_t(top) * uint(n) + uint(column);
  auto rows_in = tile_with<4, r_t>(tile_x(x + size_t(top) * uint(k)), r + to, n, count, mine);
  tile_products<4, T, S>(rows_in, count, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    QUANT_UNROLL
    for (int m = 0; m < 4; m++) {
      if (m >= count) break;
      const float sum = tile_slow(x + size_t(top + m) * uint(k), tile, layout, lane, tile_sum(part, m, tile_parts<T>(simdgroups), lane));
      if (mine) out[to + size_t(m * n)] = out_t(float(rows_in.beside[m]) + float(out_t(sum)));
    }
  }
}
