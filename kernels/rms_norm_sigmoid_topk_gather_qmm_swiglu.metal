// The choice of a token's experts, the norm of its row, gate and up projections of the experts,
// then silu(gate) * up: LFM2-MoE.
//
// The first simdgroup of each group chooses (topk.h) while the others make the row's norm
// (chosen.h): that takes less than another launch. The first group of a row writes what was chosen.
// A group makes eight elements of the result, from eight rows of the gate and eight of the up
// matrix (tile.h).
#include "mlx_ops.h"
#include "quantized.h"
#include "topk.h"
#include "tile.h"
#include "normed.h"
#include "chosen.h"
#include "gated.h"

kernel void rms_norm_sigmoid_topk_gather_qmm_swiglu() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  threadgroup float squares[8];
  threadgroup uint picked[1];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, bits, true);
  const int chosen = int(threadgroup_position_in_grid.y); // which place of inds
  const int first = 8 * int(threadgroup_position_in_grid.x);
  const int row = chosen / best, place = chosen % best;
  int at = 0; // what a lane of the first simdgroup has chosen
  if (simdgroup == 0) {
    uint keys[TOPK_SLOTS];
    for (int j = 0; j < TOPK_SLOTS; j++) {
      if (j * 32 >= e) break;
      const int i = j * 32 + int(lane);
      keys[j] = i < e ? topk_key(float(mlx_sigmoid(T(logits[row * e + i]))) + float(bias[i]), true) : 0u;
    }
    at = topk(keys, e, best, true, lane);
    if (int(lane) == place) picked[0] = uint(at);
  }
  const auto from = x + size_t(row) * uint(k);
  if (simdgroup > 0 || simdgroups == 1) chosen_squares(from, squares, k, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const auto tile = tile_of(wg, sg, bg, wu, su, bu, uint(picked[0]) * uint(n), first, n);
  auto rows_in = chosen_row<T>(from, weight, squares, k, eps, simdgroups);
  tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  if (first == 0 && place == 0) {
    const bool mine = int(lane) < best;
    const float p = mine ? float(mlx_sigmoid(T(logits[row * e + at]))) : 0.0f;
    const float divisor = float(T(float(T(simd_sum(p))) + float(T(share_eps))));
    if (mine) {
      inds[row * best + int(lane)] = uint(at);
      w[row * best + int(lane)] = T(float(T(p / divisor)) * float(T(scale)));
    }
  }
  const float mine = tile_slow(rows_in.rounded(0), tile, layout, lane, rows_in.factor() * tile_sum(part, 0, tile_parts<T>(simdgroups), lane));
  const float other = simd_shuffle_xor(mine, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
  if (lane < 8 && first + int(lane) < n) out[size_t(chosen) * uint(n) + uint(first) + lane] = gated_silu(out_t(mine), out_t(other));
}
