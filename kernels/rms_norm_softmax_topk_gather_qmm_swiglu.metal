// The choice of a token's experts, the norm of its row, gate and up projections of the experts,
// then silu(gate) * up: Qwen3-MoE.
//
// Each simdgroup chooses by itself (topk.h): that takes less than another launch, and nothing
// has to be handed on in threadgroup memory. The first group of a row writes what was chosen.
// A group makes eight elements of the result, from eight rows of the gate and eight of the up
// matrix (tile.h), and the row's norm on the way.
#include "mlx_ops.h"
#include "quantized.h"
#include "topk.h"
#include "tile.h"
#include "normed.h"
#include "gated.h"

kernel void rms_norm_softmax_topk_gather_qmm_swiglu() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  threadgroup float squares[8];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = tile_simdgroups(kp, true);
  const int chosen = int(threadgroup_position_in_grid.y); // which place of inds
  const int first = 8 * int(threadgroup_position_in_grid.x);
  const int row = chosen / best, place = chosen % best;
  uint keys[TOPK_SLOTS];
  const softmax_terms terms = softmax_keys<T>(logits + row * e, keys, e, true, lane);
  const int at = topk(keys, e, best, true, lane);
  const uint expert = simd_max(int(lane) == place ? uint(at) : 0u);
  if (first == 0 && place == 0 && simdgroup == 0) {
    const bool mine = int(lane) < best;
    const float p = mine ? float(softmax_value<T>(float(logits[row * e + at]), terms.hi, terms.norm)) : 0.0f;
    const float total = float(T(simd_sum(p)));
    if (mine) {
      inds[row * best + int(lane)] = uint(at);
      w[row * best + int(lane)] = T(p / total);
    }
  }
  const auto from = x + size_t(row) * uint(k);
  const auto tile = tile_of(wg, sg, bg, wu, su, bu, expert * uint(n), first, n);
  auto rows_in = tile_norm<T>(from, weight, squares, k, eps, lane, simdgroup, simdgroups);
  tile_products<1, T, S>(rows_in, 1, part, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  const float mine = tile_slow(rows_in.rounded(0), tile, layout, lane, rows_in.factor * tile_sum(part, 0, tile_parts<T>(simdgroups), lane));
  const float other = simd_shuffle_xor(mine, 8); // lanes 0 to 7 have the gates, 8 to 15 the ups
  if (lane < 8 && first + int(lane) < n) out[size_t(chosen) * uint(n) + uint(first) + lane] = gated_silu(out_t(mine), out_t(other));
}
