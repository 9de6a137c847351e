// Down projection of the chosen experts, the weighted sum over them, and the residual.
//
// A group makes 16 elements of the result: one to four simdgroups an expert hold 16 rows of its
// matrix against its h (tile.h), round and weigh the sums, and 16 threads add up what the
// experts have.
#include "quantized.h"
#include "tile.h"
#include "bounded.h"

kernel void gather_qmm_combine_add() {
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
  const auto from = h + size_t(chosen) * uint(k);
  const auto own = part + int(16 * simdgroups * place);

  const auto tile = tile_of(w, scales, biases, uint(idx[chosen]) * uint(n), first, n);
  // A simdgroup of each expert has that one's weight, and the first of all 16 elements of the residual.
  const bool mine = simdgroup == 0 && place == 0 && lane < 16 && first + int(lane) < n;
  const size_t to = size_t(token) * uint(n) + uint(first) + lane;
  auto rows_in = tile_with<1, r_t>(tile_with<1, weight_t>(tile_x(from), weight + chosen, 0, 1, simdgroup == 0), r + to, 0, 1, mine);
  tile_products<1, T, S>(rows_in, 1, own, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    const float d = tile_slow(from, tile, layout, lane, tile_sum(own, 0, tile_parts<T>(simdgroups), lane));
    if (lane < 16) weighed[16 * place + lane] = float(out_t(quant_round<T, S>(d) * float(rows_in.row.beside[0])));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (mine) {
    float sum = 0.0f;
    for (int j = 0; j < topk; j++) sum += weighed[16 * j + int(lane)];
    out[to] = out_t(float(rows_in.beside[0]) + float(out_t(sum)));
  }
}
