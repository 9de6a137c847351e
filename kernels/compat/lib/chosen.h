// The norm of a row beside the choice of its experts. It needs tile.h and normed.h before it.
//
// The choice takes some hundred instructions, and a step has a thousand groups that need it: one
// simdgroup of each makes it, the others add up the row's squares meanwhile, and all meet once,
// before they ask for weights.
#pragma once

// A row under a norm that is known, for tile.h: see tile_normed.
template <typename T, typename P> struct tile_known {
  P x, w;
  float norm, factor;

  void begin() const {}
  scaled_row<T, P> at(int i) const { return scaled<T>(x + i, w + i); }
  normed_row<T, P> rounded(int i) const { return normed<T>(x + i, w + i, norm); }
};

// Called by all simdgroups but the one that chooses, 0, and by that one, too, where it is alone.
// squares is threadgroup memory for a float a simdgroup.
template <typename P, typename F> inline void chosen_squares(P x, F squares, int k, uint lane, uint simdgroup, uint simdgroups) {
  const uint helpers = simdgroups > 1 ? simdgroups - 1 : 1, mine = simdgroups > 1 ? simdgroup - 1 : 0;
  const float own = simd_sum(row_squares(x, k, int(32 * mine + lane), int(32 * helpers)));
  if (lane == 0) squares[mine] = own;
}

// The row, behind a barrier.
template <typename T, typename P, typename F> inline tile_known<T, P> chosen_row(P x, P w, F squares, int k, float eps, uint simdgroups) {
  float all = 0.0f;
  for (uint i = 0; i < (simdgroups > 1 ? simdgroups - 1 : 1); i++) all += float(squares[i]);
  const float norm = metal::precise::rsqrt(all / float(k) + eps);
  tile_known<T, P> r = {x, w, norm, norm};
#if ZMLX_MMA
  if (tile_mma<T>::on) r.factor = 1.0f;
#endif
  return r;
}
