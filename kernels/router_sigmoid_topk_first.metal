// Sigmoid in float32, selection with a bias, weights without it: GLM and others of
// DeepSeek's make where there is one group. One simdgroup a row.
#include "mlx_ops.h"
#include "topk.h"

kernel void router_sigmoid_topk_first() {
  const int row = int(threadgroup_position_in_grid.x);
  const uint lane = thread_index_in_simdgroup;
  uint keys[TOPK_SLOTS];
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= e) break;
    const int i = j * 32 + int(lane);
    keys[j] = i < e ? topk_key(mlx_sigmoid(float(logits[row * e + i])) + float(bias[i]), false) : 0u;
  }
  const int at = topk(keys, e, k, false, lane);
  const bool chosen = int(lane) < k;
  const float p = chosen ? mlx_sigmoid(float(logits[row * e + at])) : 0.0f;
  const float divisor = simd_sum(p) + eps;
  if (chosen) {
    inds[row * k + int(lane)] = uint(at);
    w[row * k + int(lane)] = p / divisor * scale;
  }
}
