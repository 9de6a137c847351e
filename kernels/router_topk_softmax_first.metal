// The k best of the logits in descending order, then softmax over them: Mixtral. One simdgroup a row.
#include "topk.h"

kernel void router_topk_softmax_first() {
  const int row = int(threadgroup_position_in_grid.x);
  const uint lane = thread_index_in_simdgroup;
  uint keys[TOPK_SLOTS];
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= e) break;
    const int i = j * 32 + int(lane);
    keys[j] = i < e ? topk_key(float(logits[row * e + i]), false) : 0u;
  }
  const int at = topk(keys, e, k, false, lane);
  const bool chosen = int(lane) < k;
  const float v = chosen ? float(logits[row * e + at]) : -INFINITY;
  const float hi = simd_max(metal::max(v, -INFINITY)); // without NaN, which the sum has
  const float p = chosen ? metal::precise::exp(v - hi) : 0.0f;
  const float norm = 1.0f / simd_sum(p);
  if (chosen) {
    inds[row * k + int(lane)] = uint(at);
    w[row * k + int(lane)] = T(p * norm);
  }
}
