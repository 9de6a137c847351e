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
  const int begin = n % 4 == 0 ? first : metal::min(first, n - 1);
  const uint row = uint(idx[chosen]) * uint(n) + uint(begin);
  const int more = quant_more(begin, 1, n);
  const size_t from = size_t(chosen / topk) * uint(k);

  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f}; // two gates, two ups
  for (int at = 32 * int(lane); at < k; at += 1024) {
    const quant_slice<S> q[4] = {
        quant_load<S>(wg, sg, bg, row, 0, at, kp, g, bits, group_size, affine),
        quant_load<S>(wg, sg, bg, row, more, at, kp, g, bits, group_size, affine),
        quant_load<S>(wu, su, bu, row, 0, at, kp, g, bits, group_size, affine),
        quant_load<S>(wu, su, bu, row, more, at, kp, g, bits, group_size, affine)};
    quant_dots(quant_read(x + from + at), q, sums, bits, affine);
  }
  // Lanes 0 and 1 have the gates, 2 and 3 the ups.
  float mine = quant_sums(sums, lane);
  float other = simd_shuffle_xor(mine, 2);
  const float all = mine + other;
  if (metal::isnan(all + simd_shuffle_xor(all, 1))) {
    for (int i = 0; i < 2; i++) {
      const uint r = row + uint(i == 0 ? 0 : more);
      const float gate = quant_slow(x + from, wg, sg, bg, r, k, kp, g, bits, group_size, affine, lane);
      const float up = quant_slow(x + from, wu, su, bu, r, k, kp, g, bits, group_size, affine, lane);
      if (int(lane) == i) {
        mine = gate;
        other = up;
      }
    }
  }
  if (lane < 2 && first + int(lane) < n)
    out[size_t(chosen) * uint(n) + uint(first) + lane] = out_t(float(mlx_silu(out_t(mine))) * float(out_t(other)));
}
