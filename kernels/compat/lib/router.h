// Logits of all experts of a token, and the token's norm in front of them, by one group: what is made
// of the logits needs no launch of its own then. It needs tile.h and normed.h before it.
//
// Some simdgroups hold 16 experts each (tile.h). Their weights are asked for before anything else is
// there, so that one processor of a GPU is enough for them.
#pragma once

// How many simdgroups share 16 experts, as kernels are launched.
inline uint router_simdgroups(int kp, int bits) { return uint(metal::min(4, (kp + 16 * bits - 1) / (16 * bits))); }

// Writes the logits to threadgroup memory for e floats, as a product of T and S is rounded, to be read at once. x is a
// row under its norm; part is threadgroup memory for 16 floats a simdgroup.
template <typename T, typename S, typename X, typename F, typename W, typename P, typename Q>
inline void router_logits(thread X &x, F logits, F part, W w, P scales, Q biases, int e, quant_layout l, uint lane, uint simdgroup) {
  const uint each = router_simdgroups(l.kp, l.bits);
  const uint own = simdgroup % each;
  const int first = 16 * int(simdgroup / each);
  const auto mine = part + int(16 * (simdgroup - own));
  const auto tile = tile_of(w, scales, biases, 0u, first, e);
  tile_products<1, T, S>(x, 1, mine, tile, l, lane, own, each);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (own == 0) {
    const float sum = tile_slow(x.rounded(0), tile, l, lane, x.factor() * tile_sum(mine, 0, tile_parts<T>(each), lane));
    if (lane < 16 && first + int(lane) < e) logits[first + int(lane)] = quant_round<T, S>(sum);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}
