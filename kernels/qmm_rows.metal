// Up to 32 rows at a time times a quantized matrix. A group makes 128 columns of the result: on tensor
// cores each simdgroup 32 of the columns (rows.h), elsewhere all together 16 at a time, of four rows
// (tile.h).
#include "quantized.h"
#include "tile.h"
#include "rows.h"

kernel void qmm_rows() {
  threadgroup float totals[5120]; // 40 rows, 128 steps
  threadgroup float part[256]; // 16 of each of four rows and four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const int first = 128 * int(threadgroup_position_in_grid.x);
  const int top = 32 * int(threadgroup_position_in_grid.y);
  const int end = metal::min(top + 32, rows);
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    if (mode == mode_affine) {
      rows_totals<T>(x, totals, top, end, layout, thread_index_in_threadgroup, 128u);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const int mine = first + 32 * int(simdgroup);
    if (mine >= n) return;
    const auto from = x + size_t(uint(top)) * uint(k);
    const auto near = tile_of(w, scales, biases, 0u, mine, n);
    const auto far = tile_of(w, scales, biases, 0u, metal::min(mine + 16, (n - 1) / 16 * 16), n);
    float sums[32];
    QUANT_UNROLL
    for (int i = 0; i < 32; i++) sums[i] = 0.0f;
    rows_multiply<T, S>(from, end - top, rows - 1 - top, totals, 0, near, far, layout, lane, sums);
    rows_write<out_t>(out + size_t(uint(top)) * uint(n), from, end - top, mine, near, far, layout, lane, sums);
  } else
#endif
  {
    for (int row = top; row < end; row += 4) {
      const int count = metal::min(end - row, 4);
      const auto from = x + size_t(uint(row)) * uint(k);
      for (int at = first; at < metal::min(first + 128, n); at += 16) {
        const auto tile = tile_of(w, scales, biases, 0u, at, n);
        const auto rows_in = tile_x(from);
        tile_products<4, T, S>(rows_in, count, part, tile, layout, lane, simdgroup, 4u);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (simdgroup == 0) {
          for (int i = 0; i < count; i++) {
            const float sum = tile_slow(from + size_t(uint(i)) * uint(k), tile, layout, lane, tile_sum(part, i, tile_parts<T>(4u), lane));
            if (lane < 16 && at + int(lane) < n) out[size_t(uint(row + i)) * uint(n) + uint(at) + lane] = out_t(sum);
          }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup); // the next columns' parts take the place of these
      }
    }
  }
}
