// Gate and up projections of the chosen experts with their biases, then GPT-OSS's SwiGLU.
//
// A group makes eight elements of the result, from eight rows of the gate and eight of the up
// matrix (tile.h).
#include "mlx_ops.h"
#include "quantized.h"
#include "tile.h"
#include "gated.h"

kernel void gather_qmm_swiglu_oai() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, true);
  const int chosen = int(threadgroup_position_in_grid.y); // which place of idx
  const int first = 8 * int(threadgroup_position_in_grid.x);
  const uint expert = uint(idx[chosen]) * uint(n);
  const auto from = x + size_t(chosen / topk) * uint(k);
  const auto tile = tile_of(wg, sg, bg, wu, su, bu, expert, first, n);
  const auto rows_in = tile_x(from);
  tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  const float mine = tile_slow(from, tile, layout, lane, tile_sum(part, 0, tile_parts<T>(simdgroups), lane));
  const float other = simd_shuffle_xor(mine, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
  if (lane < 8 && first + int(lane) < n) {
    const size_t i = size_t(chosen) * uint(n) + uint(first) + lane;
    const uint at = expert + uint(first) + lane; // of the experts' biases
    const out_t gate = out_t(float(out_t(mine)) + float(eg[at]));
    const out_t up = out_t(float(out_t(other)) + float(eu[at]));
    out[i] = gated_oai(gate, up, alpha, low, limit);
  }
}
