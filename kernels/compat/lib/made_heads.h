// Attention of heads that a group makes for itself. It needs attention.h and norm_rope.h before it.
#pragma once

// Heads of q, and the key of their own row, which a group makes in threadgroup memory: d floats
// each, numbers of T. It is what parts.h takes for q. own says whether the key is made.
// N is how many of them a simdgroup has under way at once.
template <int N, typename T, typename P, typename F> struct norm_rope_made {
  P q, k, wq, wk;
  F heads, key;
  int count, d, half_dims;
  bool traditional, own;
  int position;
  float eps, base, scale;
  uint lane, simdgroup, simdgroups;

  void begin() {
    const rope_turns turns = turns_at(position, half_dims, base, scale, lane); // nothing of the launch in front
    const norm_pairs weights_q = norm_read(wq, half_dims, traditional, lane), weights_k = norm_read(wk, half_dims, traditional, lane);
    ready();
    const int all = count + (own ? 1 : 0), step = int(simdgroups);
    for (int from = int(simdgroup); from < all; from += N * step) {
      norm_pairs x[N];
      NORM_ROPE_UNROLL
      for (int n = 0; n < N; n++) {
        const int i = from + n * step;
        if (i < all) x[n] = norm_read(i < count ? q + i * d : k, half_dims, traditional, lane);
      }
      NORM_ROPE_UNROLL
      for (int n = 0; n < N; n++) { // one text for queries and key: a launch waits for it to be read
        const int i = from + n * step;
        if (i < all) norm_rope<T, float>(i < count ? q + i * d : k, x[n], i < count ? wq : wk, i < count ? weights_q : weights_k, i < count ? heads + i * d : key, d, turns, traditional, eps, lane);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  float operator[](int i) const { return float(heads[i]); }
  template <typename U> attn_eight<U> eight(int i, bool there, bool) const { return attn_made<U>(heads + i, there); }
};
template <int N, typename T, typename P, typename F>
inline norm_rope_made<N, T, P, F> norm_rope_heads(P q, P k, P wq, P wk, F heads, F key, int count, int d, int half_dims, bool traditional, bool own, int position, float eps, float base,
                                               float scale, uint lane, uint simdgroup, uint simdgroups) {
  norm_rope_made<N, T, P, F> r = {q, k, wq, wk, heads, key, count, d, half_dims, traditional, own, position, eps, base, scale, lane, simdgroup, simdgroups};
  return r;
}
