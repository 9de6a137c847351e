// Down projection of the chosen experts and the weighted sum over them, in float32 from the
// weights on.
//
// A group makes 16 elements of the result: one to four simdgroups an expert hold 16 rows of its
// matrix against its h (tile.h), round and weigh the sums, and 16 threads add up what the
// experts have.
#include "quantized.h"
#include "tile.h"
#include "bounded.h"

kernel void gather_qmm_combine_fp32() {
  threadgroup float part[256]; // 16 of each of at most 16 simdgroups
  threadgroup float weighed[256]; // 16 of each of at most 16 experts
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroups = uint(metal::min(metal::min(4, (kp + 16 * bits - 1) / (16 * bits)), 16 / topk)); // of an expert, as launched
  const uint place = simdgroup_index_in_threadgroup / simdgroups;
  const uint simdgroup = simdgroup_index_in_threadgroup % simdgroups;
  const int token = int(threadgroup_position_in_grid.y);
  const int chosen = token * topk + int(place);
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const weight_t factor = weight[chosen];
  const auto from = h + size_t(chosen) * uint(k);
  const auto own = part + int(16 * simdgroups * place);

  const auto tile = tile_of(w, scales, biases, uint(idx[chosen]) * uint(n), first, n);
  const auto rows_in = tile_x(from);
  tile_products<1, T, S>(rows_in, 1, own, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    const float d = tile_slow(from, tile, layout, lane, tile_sum(own, 0, tile_parts<T>(simdgroups), lane));
    if (lane < 16) weighed[16 * place + lane] = float(out_t(quant_round<T, S>(d) * float(factor)));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int t = int(thread_index_in_threadgroup);
  if (t < 16 && first + t < n) {
    float sum = 0.0f;
    for (int j = 0; j < topk; j++) sum += weighed[16 * j + t];
    const size_t i = size_t(token) * uint(n) + uint(first + t);
    out[i] = out_t(sum);
  }
}
