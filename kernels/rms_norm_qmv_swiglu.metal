// The norm of a row, gate and up projections by quantized matrices, then silu(gate) * up.
//
// A group makes two columns of one row's result, from two rows of the gate and two of the up
// matrix; its simdgroups share out the columns, 1024 at a time. Every group makes the row's norm
// from the columns that it reads anyway.
#include "mlx_ops.h"
#include "quantized.h"
#include "normed.h"
#include "gated.h"

kernel void rms_norm_qmv_swiglu() {
  threadgroup float part[64]; // 16 of each of at most four simdgroups
  threadgroup float squares[4];
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroup = simdgroup_index_in_threadgroup;
  const uint simdgroups = simdgroups_per_threadgroup;
  const int first = 2 * int(threadgroup_position_in_grid.x);
  const int more = quant_more(first, 1, n);
  const size_t row = threadgroup_position_in_grid.y;
  const size_t from = row * uint(k);
  const float own = simd_sum(row_squares(x + from, k, int(32 * simdgroup + lane), int(32 * simdgroups)));
  if (lane == 0) squares[simdgroup] = own;
  float mine = quant_tile<S>(scaled<T>(x + from, weight), 1, part, wg, sg, bg, wu, su, bu, uint(first), more, 0, more, layout,
                             lane, simdgroup, simdgroups); // its barrier is behind the line above
  if (simdgroup == 0) {
    float all = 0.0f;
    for (uint i = 0; i < simdgroups; i++) all += float(squares[i]);
    const float norm = metal::precise::rsqrt(all / float(k) + eps);
    mine *= norm;
    if (simd_max(metal::isnan(mine) ? 1.0f : 0.0f) > 0.0f)
      mine = quant_slow_four(normed<T>(x + from, weight, norm), wg, sg, bg, wu, su, bu, uint(first), more, 0, more, layout, lane);
    const float other = simd_shuffle_xor(mine, 2); // of four lanes, two have gates, two ups
    if (lane < 2 && first + int(lane) < n) out[row * uint(n) + uint(first) + lane] = gated_silu(out_t(mine), out_t(other));
  }
}
