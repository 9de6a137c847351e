// Down projection of the chosen experts, the weighted sum over them, and the residual.
//
// A group makes four elements of the result, one simdgroup an expert: each reads four rows
// of its expert's matrix against one h in registers, rounds and weighs its four sums, and
// four threads add up what the experts have. 2048 elements are 512 groups.
#include "quantized.h"

kernel void gather_qmm_combine_add() {
  threadgroup float part[64]; // four of each of at most 16 experts
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int place = int(simdgroup_index_in_threadgroup);
  const int token = int(threadgroup_position_in_grid.y);
  const int chosen = token * topk + place;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const uint row = uint(idx[chosen]) * uint(n) + uint(first);
  const int m1 = quant_more(first, 1, n), m2 = quant_more(first, 2, n), m3 = quant_more(first, 3, n);
  const weight_t factor = weight[chosen];
  const size_t from = size_t(chosen) * uint(k);

  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  quant_four<1, S>(h + from, 1, w, scales, biases, w, scales, biases, row, m1, m2, m3, int(lane), 32, layout, sums);
  float d = quant_sums(sums, lane);
  float all = d + simd_shuffle_xor(d, 1);
  all += simd_shuffle_xor(all, 2);
  if (metal::isnan(all)) d = quant_slow_four(h + from, w, scales, biases, w, scales, biases, row, m1, m2, m3, layout, lane);

  if (lane < 4) part[4 * place + int(lane)] = float(out_t(quant_round<T, S>(d) * float(factor)));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int t = int(thread_index_in_threadgroup);
  if (t < 4 && first + t < n) {
    float sum = 0.0f;
    for (int j = 0; j < topk; j++) sum += part[4 * j + t];
    const size_t i = size_t(token) * uint(n) + uint(first + t);
    out[i] = out_t(float(r[i]) + float(out_t(sum)));
  }
}
