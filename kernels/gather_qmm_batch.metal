// Rows of a batch times the quantized matrices that indices choose, in any order. A group makes 128 columns
// of the result for a place and for up to seven more of the same matrix (batch.h): on tensor cores each
// simdgroup 32 of the columns, elsewhere all together 16 at a time, of one place (tile.h).
#include "quantized.h"
#include "tile.h"
#include "rows.h"
#include "batch.h"

kernel void gather_qmm_batch() {
  threadgroup float part[64]; // 16 of each of four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const int first = 128 * int(threadgroup_position_in_grid.x);
  const int me = int(threadgroup_position_in_grid.y);
  const batch_rows at = batch_find<T>(idx, b * l * topk, me, lane);
  if (at.count == 0) return; // the whole group
  const uint expert = uint(idx[me]) * uint(n);
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    const int mine = first + 32 * int(simdgroup);
    if (mine >= n) return;
    const auto near = tile_of(w, scales, biases, expert, mine, n);
    const auto far = tile_of(w, scales, biases, expert, metal::min(mine + 16, (n - 1) / 16 * 16), n);
    float sums[8];
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) sums[i] = 0.0f;
    batch_multiply<T, S>(x + size_t(uint(at.place)) * uint(k), near, far, 0, 1, layout, lane, sums);
    batch_slow(x, 1, at, near, far, layout, lane, sums);
    const int row = 2 * int(lane & 3), place0 = batch_place(at, row), place1 = batch_place(at, row + 1);
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) {
      const int column = mine + i / 4 * 16 + i / 2 % 2 * 8 + int(lane >> 2);
      if (row + i % 2 < at.count && column < n) out[size_t(uint(i % 2 == 0 ? place0 : place1)) * uint(n) + uint(column)] = out_t(sums[i]);
    }
  } else
#endif
  {
    const auto from = x + size_t(uint(me)) * uint(k);
    for (int column = first; column < metal::min(first + 128, n); column += 16) {
      const auto tile = tile_of(w, scales, biases, expert, column, n);
      const auto rows_in = tile_x(from);
      tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, 4u);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (simdgroup == 0) {
        const float sum = tile_slow(from, tile, layout, lane, tile_sum(part, 0, tile_parts<T>(4u), lane));
        if (lane < 16 && column + int(lane) < n) out[size_t(uint(me)) * uint(n) + uint(column) + lane] = out_t(sum);
      }
      threadgroup_barrier(mem_flags::mem_threadgroup); // the next columns' parts take the place of these
    }
  }
}
