// Some rows times a quantized matrix. A group makes 32 columns of the result for eight rows: on tensor cores each
// simdgroup a fourth of their sums (batch.h), elsewhere all together 16 columns of four rows at a time (tile.h).
// Groups beside each other take other rows, so that a matrix comes from memory once.
#include "quantized.h"
#include "tile.h"
#include "rows.h"
#include "batch.h"

kernel void qmm_batch() {
  threadgroup float part[1024]; // 32 columns of eight rows, of four simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const int top = 8 * int(threadgroup_position_in_grid.x);
  const int first = 32 * int(threadgroup_position_in_grid.y);
  const int count = metal::min(rows - top, 8);
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    const batch_rows at = {count, top + metal::min(int(lane >> 2), count - 1)};
    const auto near = tile_of(w, scales, biases, 0u, first, n);
    const auto far = tile_of(w, scales, biases, 0u, metal::min(first + 16, (n - 1) / 16 * 16), n);
    float sums[8];
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) sums[i] = 0.0f;
    batch_multiply<T, S>(x + size_t(uint(at.place)) * uint(k), near, far, int(simdgroup), 4, layout, lane, sums);
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) part[(simdgroup * 8 + uint(i)) * 32 + lane] = sums[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup != 0) return;
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) sums[i] = part[i * 32 + int(lane)] + part[(8 + i) * 32 + int(lane)] + part[(16 + i) * 32 + int(lane)] + part[(24 + i) * 32 + int(lane)];
    batch_slow(x, 1, at, near, far, layout, lane, sums);
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) {
      const int row = 2 * int(lane & 3) + i % 2, column = first + i / 4 * 16 + i / 2 % 2 * 8 + int(lane >> 2);
      if (row < count && column < n) {
        const size_t to = size_t(uint(top + row)) * uint(n) + uint(column);
        out[to] = out_t(sums[i]);
      }
    }
  } else
#endif
  {
    for (int row = top; row < top + count; row += 4) {
      const int some = metal::min(top + count - row, 4);
      const auto from = x + size_t(uint(row)) * uint(k);
      for (int column = first; column < metal::min(first + 32, n); column += 16) {
        const auto tile = tile_of(w, scales, biases, 0u, column, n);
        const auto rows_in = tile_x(from);
        tile_products<4, T, S>(rows_in, some, part, tile, layout, lane, simdgroup, 4u);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (simdgroup == 0) {
          for (int i = 0; i < some; i++) {
            const float sum = tile_slow(from + size_t(uint(i)) * uint(k), tile, layout, lane, tile_sum(part, i, tile_parts<T>(4u), lane));
            const size_t to = size_t(uint(row + i)) * uint(n) + uint(column) + lane;
            if (lane < 16 && column + int(lane) < n) out[to] = out_t(sum);
          }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup); // the next columns' parts take the place of these
      }
    }
  }
}
