// Gate and up projections of a batch's chosen experts with their biases, then GPT-OSS's SwiGLU. A group makes 64 columns of
// the result for a place and for up to seven more of the same expert (batch.h): on tensor cores each simdgroup
// 16 of the columns of both matrices, elsewhere all together eight at a time, of one place (tile.h).
#include "mlx_ops.h"
#include "quantized.h"
#include "tile.h"
#include "rows.h"
#include "batch.h"
#include "gated.h"

kernel void gather_qmm_swiglu_oai_batch() {
  threadgroup float part[64]; // 16 of each of four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const int first = 64 * int(threadgroup_position_in_grid.x);
  const int me = int(threadgroup_position_in_grid.y);
  const batch_rows at = batch_find<T>(idx, b * l * topk, me, lane);
  if (at.count == 0) return; // the whole group
  const uint expert = uint(idx[me]) * uint(n);
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    const int mine = first + 16 * int(simdgroup);
    if (mine >= n) return;
    const auto near = tile_of(wg, sg, bg, expert, mine, n);
    const auto far = tile_of(wu, su, bu, expert, mine, n);
    float sums[8];
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) sums[i] = 0.0f;
    batch_multiply<T, S>(x + size_t(uint(at.place / topk)) * uint(k), near, far, 0, 1, layout, lane, sums);
    batch_slow(x, topk, at, near, far, layout, lane, sums);
    const int row = 2 * int(lane & 3), place0 = batch_place(at, row), place1 = batch_place(at, row + 1);
    QUANT_UNROLL
    for (int i = 0; i < 4; i++) {
      const int column = mine + i / 2 * 8 + int(lane >> 2);
      if (row + i % 2 < at.count && column < n) {
        const out_t gate = out_t(float(out_t(sums[i])) + float(eg[expert + uint(column)]));
        const out_t up = out_t(float(out_t(sums[4 + i])) + float(eu[expert + uint(column)]));
        out[size_t(uint(i % 2 == 0 ? place0 : place1)) * uint(n) + uint(column)] = gated_oai(gate, up, alpha, low, limit);
      }
    }
  } else
#endif
  {
    const auto from = x + size_t(uint(me / topk)) * uint(k);
    for (int column = first; column < metal::min(first + 64, n); column += 8) {
      const auto tile = tile_of(wg, sg, bg, wu, su, bu, expert, column, n);
      const auto rows_in = tile_x(from);
      tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, 4u);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (simdgroup == 0) {
        const float sum = tile_slow(from, tile, layout, lane, tile_sum(part, 0, tile_parts<T>(4u), lane));
        const float other = simd_shuffle_xor(sum, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
        const uint mine = uint(column) + lane;
        if (lane < 8 && int(mine) < n) {
          const out_t gate = out_t(float(out_t(sum)) + float(eg[expert + mine]));
          const out_t up = out_t(float(out_t(other)) + float(eu[expert + mine]));
          out[size_t(uint(me)) * uint(n) + mine] = gated_oai(gate, up, alpha, low, limit);
        }
      }
      threadgroup_barrier(mem_flags::mem_threadgroup); // the next columns' parts take the place of these
    }
  }
}
