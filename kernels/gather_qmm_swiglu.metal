// Gate and up projections of the chosen experts, then silu(gate) * up.
//
// A simdgroup makes two elements of the result: it reads two rows of the gate and two of
// the up matrix against one x in registers. Groups are of two simdgroups, so that
// 8 experts of 768 rows are 1536 groups: a few for each core of the largest GPUs.
#include "mlx_ops.h"
#include "quantized.h"

kernel void gather_qmm_swiglu() {
  const bool affine = mode == mode_affine;
  const uint lane = thread_index_in_simdgroup;
  const int chosen = int(threadgroup_position_in_grid.y); // which place of idx
  const int first = 2 * int(threadgroup_position_in_grid.x * simdgroups_per_threadgroup + simdgroup_index_in_threadgroup);
  const size_t expert = size_t(idx[chosen]) * size_t(n);
  const size_t r0 = expert + size_t(metal::min(first, n - 1)); // behind the last row, the last one is made again
  const size_t r1 = expert + size_t(metal::min(first + 1, n - 1));
  const size_t from = size_t(chosen / topk) * size_t(k);

  float gate0 = 0.0f, gate1 = 0.0f, up0 = 0.0f, up1 = 0.0f;
  for (int at = 32 * int(lane); at < k; at += 1024) {
    const quant_slice a = quant_load(wg, sg, bg, r0, at, kp, g, bits, group_size, affine);
    const quant_slice b = quant_load(wg, sg, bg, r1, at, kp, g, bits, group_size, affine);
    const quant_slice c = quant_load(wu, su, bu, r0, at, kp, g, bits, group_size, affine);
    const quant_slice d = quant_load(wu, su, bu, r1, at, kp, g, bits, group_size, affine);
    float v[32];
    const float sum = quant_x(x + from + size_t(at), v, bits, affine);
    gate0 += quant_dot(a, v, sum, bits, affine);
    gate1 += quant_dot(b, v, sum, bits, affine);
    up0 += quant_dot(c, v, sum, bits, affine);
    up1 += quant_dot(d, v, sum, bits, affine);
  }
  gate0 = simd_sum(gate0);
  gate1 = simd_sum(gate1);
  up0 = simd_sum(up0);
  up1 = simd_sum(up1);
  if (metal::isnan(gate0 + gate1 + up0 + up1)) {
    gate0 = quant_slow(x + from, wg, sg, bg, r0, k, kp, g, bits, group_size, affine, lane);
    gate1 = quant_slow(x + from, wg, sg, bg, r1, k, kp, g, bits, group_size, affine, lane);
    up0 = quant_slow(x + from, wu, su, bu, r0, k, kp, g, bits, group_size, affine, lane);
    up1 = quant_slow(x + from, wu, su, bu, r1, k, kp, g, bits, group_size, affine, lane);
  }

  if (lane < 2 && first + int(lane) < n) {
    const out_t gate = out_t(lane == 0 ? gate0 : gate1);
    const out_t up = out_t(lane == 0 ? up0 : up1);
    out[size_t(chosen) * size_t(n) + size_t(first + int(lane))] = out_t(float(mlx_silu(gate)) * float(up));
  }
}
