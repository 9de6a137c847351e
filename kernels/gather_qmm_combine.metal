// Down projection of the chosen experts and the weighted sum over them.
//
// A group makes four elements of the result, one simdgroup an expert: each reads four rows
// of its expert's matrix against one h in registers, rounds and weighs its four sums, and
// four threads add up what the experts have. 2048 elements are 512 groups.
#include "quantized.h"

kernel void gather_qmm_combine() {
  threadgroup float part[64]; // 4 of each of at most 16 experts
  const bool affine = mode == mode_affine;
  const uint lane = thread_index_in_simdgroup;
  const int place = int(simdgroup_index_in_threadgroup);
  const int token = int(threadgroup_position_in_grid.y);
  const int chosen = token * topk + place;
  const int first = 4 * int(threadgroup_position_in_grid.x);
  const size_t expert = size_t(idx[chosen]) * size_t(n);
  const size_t r0 = expert + size_t(first); // behind the last row, the last one is made again
  const size_t r1 = expert + size_t(metal::min(first + 1, n - 1));
  const size_t r2 = expert + size_t(metal::min(first + 2, n - 1));
  const size_t r3 = expert + size_t(metal::min(first + 3, n - 1));
  const size_t from = size_t(chosen) * size_t(k);

  float d0 = 0.0f, d1 = 0.0f, d2 = 0.0f, d3 = 0.0f;
  for (int at = 32 * int(lane); at < k; at += 1024) {
    const quant_slice q0 = quant_load(w, scales, biases, r0, at, kp, g, bits, group_size, affine);
    const quant_slice q1 = quant_load(w, scales, biases, r1, at, kp, g, bits, group_size, affine);
    const quant_slice q2 = quant_load(w, scales, biases, r2, at, kp, g, bits, group_size, affine);
    const quant_slice q3 = quant_load(w, scales, biases, r3, at, kp, g, bits, group_size, affine);
    float v[32];
    const float sum = quant_x(h + from + size_t(at), v, bits, affine);
    d0 += quant_dot(q0, v, sum, bits, affine);
    d1 += quant_dot(q1, v, sum, bits, affine);
    d2 += quant_dot(q2, v, sum, bits, affine);
    d3 += quant_dot(q3, v, sum, bits, affine);
  }
  d0 = simd_sum(d0);
  d1 = simd_sum(d1);
  d2 = simd_sum(d2);
  d3 = simd_sum(d3);
  if (metal::isnan(d0 + d1 + d2 + d3)) {
    d0 = quant_slow(h + from, w, scales, biases, r0, k, kp, g, bits, group_size, affine, lane);
    d1 = quant_slow(h + from, w, scales, biases, r1, k, kp, g, bits, group_size, affine, lane);
    d2 = quant_slow(h + from, w, scales, biases, r2, k, kp, g, bits, group_size, affine, lane);
    d3 = quant_slow(h + from, w, scales, biases, r3, k, kp, g, bits, group_size, affine, lane);
  }

  if (lane < 4) {
    const float d = lane == 0 ? d0 : lane == 1 ? d1 : lane == 2 ? d2 : d3;
    part[4 * place + int(lane)] = float(out_t(float(out_t(d)) * float(weight[chosen])));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int t = int(thread_index_in_threadgroup);
  if (t < 4 && first + t < n) {
    float sum = 0.0f;
    for (int i = 0; i < topk; i++) sum += part[4 * i + t];
    out[size_t(token) * size_t(n) + size_t(first + t)] = out_t(sum);
  }
}
