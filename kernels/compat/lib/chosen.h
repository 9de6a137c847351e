// The norm of a row beside the choice of its experts. It needs tile.h and normed.h before it.
//
// The choice takes some hundred instructions, and a step has a thousand groups that need it: one
// simdgroup of each makes it, the others add up the row's squares meanwhile, and all meet once,
// before they ask for weights.
#pragma once

// Called by all simdgroups but the one that chooses, 0, and by that one, too, where it is alone.
// squares is threadgroup memory for a float a simdgroup.
template <typename P, typename F> inline void chosen_squares(P x, F squares, int k, uint lane, uint simdgroup, uint simdgroups) {
  const uint helpers = simdgroups > 1 ? simdgroups - 1 : 1, mine = simdgroups > 1 ? simdgroup - 1 : 0;
  const float own = simd_sum(row_squares(x, k, int(32 * mine + lane), int(32 * helpers)));
  if (lane == 0) squares[mine] = own;
}

// The row, behind a barrier.
template <typename T, typename P, typename F> inline tile_known<T, P> chosen_row(P x, P w, F squares, int k, float eps, uint simdgroups) {
  return known_row<T>(x, w, squares, simdgroups > 1 ? simdgroups - 1 : 1, k, eps);
}
