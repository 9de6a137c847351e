// The norm of a token's row, gate and up projections of its experts, then silu(gate) * up.
//
// A simdgroup makes two elements of the result: it reads two rows of the gate and two of
// the up matrix against one row in registers, and makes the row's norm on the way.
#include "mlx_ops.h"
#include "quantized.h"
#include "normed.h"
#include "gated.h"

kernel void rms_norm_gather_qmm_swiglu() {
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const int chosen = int(threadgroup_position_in_grid.y); // which place of idx
  const int first = 2 * int(threadgroup_position_in_grid.x * simdgroups_per_threadgroup + simdgroup_index_in_threadgroup);
  const int begin = n % 4 == 0 ? first : metal::min(first, n - 1);
  const uint row = uint(idx[chosen]) * uint(n) + uint(begin);
  const int more = quant_more(begin, 1, n);
  const size_t from = size_t(chosen / topk) * uint(k);

  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f}; // two gates, two ups
  quant_four<1, S>(scaled<T>(x + from, weight), 1, wg, sg, bg, wu, su, bu, row, more, 0, more, int(lane), 32, layout, sums);
  const float norm = metal::precise::rsqrt(simd_sum(row_squares(x + from, k, int(lane), 32)) / float(k) + eps);
  float mine = quant_sums(sums, lane) * norm; // lanes 0 and 1 have the gates, 2 and 3 the ups
  float other = simd_shuffle_xor(mine, 2);
  const float all = mine + other;
  if (metal::isnan(all + simd_shuffle_xor(all, 1))) {
    mine = quant_slow_four(normed<T>(x + from, weight, norm), wg, sg, bg, wu, su, bu, row, more, 0, more, layout, lane);
    other = simd_shuffle_xor(mine, 2);
  }
  if (lane < 2 && first + int(lane) < n) {
    out[size_t(chosen) * uint(n) + uint(first) + lane] = gated_silu(out_t(mine), out_t(other));
  }
}
