// The norm of a token's row, its logits, and the choice of its experts: LFM2-MoE. The choice is
// router_sigmoid_topk's: sigmoid, selection with a bias, weights without it.
//
// One group a row (router.h): its first simdgroup chooses while the others write the row.
#include "mlx_ops.h"
#include "quantized.h"
#include "topk.h"
#include "tile.h"
#include "normed.h"
#include "router.h"

kernel void rms_norm_qmv_sigmoid_topk() {
  threadgroup float part[128]; // 16 of each of up to eight simdgroups
  threadgroup float squares[8];
  threadgroup float logits[32];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = router_simdgroups(kp, bits) * uint((e + 15) / 16);
  const int row = int(threadgroup_position_in_grid.x);
  const auto from = x + size_t(row) * uint(k);
  auto rows_in = tile_norm<T>(from, weight, squares, k, eps, lane, simdgroup, simdgroups);
  router_logits<T, S>(rows_in, logits, part, w, scales, biases, e, layout, lane, simdgroup);
  if (simdgroup > 0 || simdgroups == 1) {
    const uint writers = metal::max(1u, simdgroups - 1), writer = simdgroups == 1 ? 0 : simdgroup - 1;
    for (int i = int(32 * writer + lane); i < k; i += int(32 * writers)) y[size_t(row) * uint(k) + uint(i)] = rows_in.rounded(0)[i];
  }
  if (simdgroup > 0) return;
  const int i = int(lane);
  uint keys[1] = {i < e ? topk_key(float(mlx_sigmoid(share_t(logits[i]))) + float(bias[i]), true) : 0u};
  const int at = topk(keys, e, best, true, lane);
  const bool mine = int(lane) < best;
  const float p = mine ? float(mlx_sigmoid(share_t(logits[at]))) : 0.0f;
  const float divisor = float(share_t(float(share_t(simd_sum(p))) + float(share_t(share_eps))));
  if (mine) {
    inds[row * best + int(lane)] = uint(at);
    share[row * best + int(lane)] = share_t(float(share_t(p / divisor)) * float(share_t(scale)));
  }
}
