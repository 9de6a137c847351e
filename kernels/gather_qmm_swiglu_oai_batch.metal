// Gate and up projections of a batch's chosen experts, with their biases, then
// GPT-OSS's SwiGLU. A group makes eight elements of the result of a place, and of up to three more of
// the same expert (batch.h), from eight rows of the gate and eight of the up matrix (tile.h).
#include "mlx_ops.h"
#include "quantized.h"
#include "tile.h"
#include "batch.h"
#include "gated.h"

kernel void gather_qmm_swiglu_oai_batch() {
  threadgroup float part[512]; // 16 of each of up to four rows and eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(k);
  const int first = 8 * int(threadgroup_position_in_grid.x);
  const int me = int(threadgroup_position_in_grid.y);
  const batch_places at = batch_find<T>(idx, b * l * topk, me, lane);
  if (at.count == 0) return; // the whole group
  const uint expert = uint(idx[me]) * uint(n);
  const auto tile = tile_of(wg, sg, bg, wu, su, bu, expert, first, n);
  const auto rows_in = batch_x(x, k, topk, at);
  tile_products<4, T, S>(rows_in, at.count, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) {
    if (i < at.count) {
      const float mine = tile_slow(rows_in.first(i), tile, layout, lane, tile_sum(part, i, tile_parts<T>(simdgroups), lane));
      const float other = simd_shuffle_xor(mine, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
      const uint column = uint(first) + lane;
      if (lane < 8 && int(column) < n) {
        const out_t gate = out_t(float(out_t(mine)) + float(eg[expert + column]));
        const out_t up = out_t(float(out_t(other)) + float(eu[expert + column]));
        out[size_t(uint(at.place[i])) * uint(n) + column] = gated_oai(gate, up, alpha, low, limit);
      }
    }
  }
}
