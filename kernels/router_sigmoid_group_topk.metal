// Routing limited to groups: DeepSeek V3, Kimi, GLM, Nemotron-H. One simdgroup a row.
//
// A power of two of lanes looks at each group and finds its two best; ranks of groups go
// round by shuffles. As in the models, scores of dropped groups become 0, so that
// with negative scores elsewhere their experts can still be chosen.
#include "mlx_ops.h"
#include "topk.h"

kernel void router_sigmoid_group_topk() {
  threadgroup float scores[512];
  const int row = int(threadgroup_position_in_grid.x);
  const uint lane = thread_index_in_simdgroup;
  for (int j = 0; j < TOPK_SLOTS; j++) {
    const int i = j * 32 + int(lane);
    if (i < e) scores[i] = mlx_sigmoid(float(logits[row * e + i])) + float(bias[i]);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);

  int lanes = 1; // a group; lanes * n_group <= 32
  for (int j = 0; j < 4; j++)
    if (2 * lanes * n_group <= 32) lanes *= 2;
  const int group = int(lane) / lanes;
  uint a = 0u, b = 0u; // the two best, NaN above all
  if (group < n_group) {
    for (int i = int(lane) % lanes; i < per; i += lanes) {
      const uint key = topk_key(scores[group * per + i], true);
      b = metal::max(b, metal::min(a, key));
      a = metal::max(a, key);
    }
  }
  for (int d = 1; d < lanes; d *= 2) {
    const uint c = simd_shuffle_xor(a, uint(d)), f = simd_shuffle_xor(b, uint(d));
    b = metal::max(metal::min(a, c), metal::max(b, f));
    a = metal::max(a, c);
  }
  const uint score = group < n_group ? topk_key(topk_value(a) + topk_value(b), true) : 0u;
  int rank = 0; // how many groups are worse; of equal ones the first are
  for (int g = 0; g < n_group; g++) {
    const uint other = simd_shuffle(score, uint(g * lanes));
    if (other < score || (other == score && g < group)) rank++;
  }
  const bool keep = group < n_group && int(lane) % lanes == 0 && rank >= n_drop;
  const uint kept = simd_sum(keep ? 1u << uint(group) : 0u); // a bit a group

  uint keys[TOPK_SLOTS];
  for (int j = 0; j < TOPK_SLOTS; j++) {
    if (j * 32 >= e) break;
    const int i = j * 32 + int(lane);
    keys[j] = 0u;
    if (i < e) keys[j] = topk_key(((kept >> uint(i / per)) & 1u) != 0u ? float(scores[i]) : 0.0f, false);
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
