// Rows of a batch times the quantized matrices that indices choose, in any order. A group makes 16
// elements of the result of a place, and of up to three more of the same matrix (batch.h, tile.h).
#include "quantized.h"
#include "tile.h"
#include "batch.h"

kernel void gather_qmm_batch() {
  threadgroup float part[512]; // 16 of each of up to four rows and eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(k);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const int me = int(threadgroup_position_in_grid.y);
  const batch_places at = batch_find<T>(idx, b * l * topk, me, lane);
  if (at.count == 0) return; // the whole group
  const uint expert = uint(idx[me]) * uint(n);
  const auto tile = tile_of(w, scales, biases, expert, first, n);
  const auto rows_in = batch_x(x, k, 1, at);
  tile_products<4, T, S>(rows_in, at.count, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) {
    if (i < at.count) {
      const float sum = tile_slow(rows_in.first(i), tile, layout, lane, tile_sum(part, i, tile_parts<T>(simdgroups), lane));
      const uint column = uint(first) + lane;
      if (lane < 16 && int(column) < n) {
        out[size_t(uint(at.place[i])) * uint(n) + column] = out_t(sum);
      }
    }
  }
}
