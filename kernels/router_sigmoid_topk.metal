// Sigmoid, selection with a bias, weights without it: LFM2-MoE. One simdgroup a row.
#include "mlx_ops.h"
#include "topk.h"

kernel void router_sigmoid_topk() {
  const int row = int(threadgroup_position_in_grid.x);
  const uint lane = thread_index_in_simdgroup;
  uint keys[TOPK_SLOTS];
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= e) break;
    const int i = j * 32 + int(lane);
    keys[j] = i < e ? topk_key(float(mlx_sigmoid(T(logits[row * e + i]))) + float(bias[i]), true) : 0u;
  }
  const int at = topk(keys, e, k, true, lane);
  const bool chosen = int(lane) < k;
  const float p = chosen ? float(mlx_sigmoid(T(logits[row * e + at]))) : 0.0f;
  const float total = float(T(simd_sum(p)));
  const float divisor = float(T(total + float(T(eps))));
  if (chosen) {
    inds[row * k + int(lane)] = uint(at);
    w[row * k + int(lane)] = T(float(T(p / divisor)) * float(T(scale)));
  }
}
