// Softmax over all experts, the k best in descending order, their weights normalised: OLMoE. One simdgroup a row.
#include "topk.h"

kernel void router_softmax_topk_first() {
  const int row = int(threadgroup_position_in_grid.x);
  const uint lane = thread_index_in_simdgroup;
  uint keys[TOPK_SLOTS];
  const softmax_terms s = softmax_keys<T>(logits + row * e, keys, e, false, lane);
  const int at = topk(keys, e, k, false, lane);
  const bool chosen = int(lane) < k;
  const float p = chosen ? float(softmax_value<T>(float(logits[row * e + at]), s.hi, s.norm)) : 0.0f;
  const float total = float(T(simd_sum(p)));
  if (chosen) {
    inds[row * k + int(lane)] = uint(at);
    w[row * k + int(lane)] = T(p / total);
  }
}
