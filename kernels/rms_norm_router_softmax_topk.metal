// The norm of a row, the logits of all experts by a quantized matrix, softmax, the k best in
// ascending order, and their weights normalised: the router of Qwen3-MoE in one launch.
//
// One group a row. Each simdgroup takes four experts at a time; the first one then chooses,
// with the logits in threadgroup memory. The normalised row is rounded as MLX does it, lest near-ties
// among experts come out another way.
#include "quantized.h"
#include "normed.h"
#include "topk.h"

kernel void rms_norm_router_softmax_topk() {
  threadgroup float logits[512];
  const quant_layout layout = {d, dp, g, bits, group_size, true};
  const uint lane = thread_index_in_simdgroup;
  const size_t row = threadgroup_position_in_grid.x;
  const size_t from = row * uint(d);
  const float norm = metal::precise::rsqrt(simd_sum(row_squares(x + from, d, int(lane), 32)) / float(d) + eps);
  for (int first = 4 * int(simdgroup_index_in_threadgroup); first < e; first += 4 * int(simdgroups_per_threadgroup)) {
    const int m1 = quant_more(first, 1, e), m2 = quant_more(first, 2, e), m3 = quant_more(first, 3, e);
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    quant_four<1, T>(normed<T>(x + from, weight, norm), 1, w, scales, biases, w, scales, biases, uint(first), m1, m2, m3, int(lane), 32, layout, sums);
    float mine = quant_sums(sums, lane);
    float all = mine + simd_shuffle_xor(mine, 1);
    all += simd_shuffle_xor(all, 2);
    if (metal::isnan(all))
      mine = quant_slow_four(normed<T>(x + from, weight, norm), w, scales, biases, w, scales, biases, uint(first), m1, m2, m3, layout, lane);
    if (lane < 4 && first + int(lane) < e) logits[first + int(lane)] = float(T(mine));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup_index_in_threadgroup != 0) return;
  uint keys[TOPK_SLOTS];
  const softmax_terms s = softmax_keys<T>(logits, keys, e, true, lane);
  const int at = topk(keys, e, k, true, lane);
  const bool chosen = int(lane) < k;
  const float p = chosen ? float(softmax_value<T>(float(logits[at]), s.hi, s.norm)) : 0.0f;
  const float total = float(T(simd_sum(p)));
  if (chosen) {
    inds[row * uint(k) + lane] = uint(at);
    weights[row * uint(k) + lane] = T(p / total);
  }
}
