// Attention of heads that a group makes for itself. It needs attention.h and norm_rope.h before it.
#pragma once

// Heads of q, and the key of their own row, which a group makes in threadgroup memory: d floats
// each, numbers of T. It is what parts.h takes for q. own says whether the key is made.
template <typename T, typename P, typename F> struct norm_rope_made {
  P q, k, wq, wk;
  F heads, key;
  int count, d, half_dims;
  bool traditional, own;
  int position;
  float eps, base, scale;
  uint lane, simdgroup, simdgroups;

  void begin() {
    const rope_turns turns = turns_at(position, half_dims, base, scale, lane); // nothing of the launch in front
    ready();
    for (int i = int(simdgroup); i < count + (own ? 1 : 0); i += int(simdgroups)) // one text for both: a launch waits for it to be read
      norm_rope<T, float>(i < count ? q + i * d : k, i < count ? wq : wk, i < count ? heads + i * d : key, d, turns, traditional, eps, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  float operator[](int i) const { return float(heads[i]); }
  template <typename U> attn_eight<U> eight(int i, bool there, bool) const { return attn_made<U>(heads + i, there); }
};
template <typename T, typename P, typename F>
inline norm_rope_made<T, P, F> norm_rope_heads(P q, P k, P wq, P wk, F heads, F key, int count, int d, int half_dims, bool traditional, bool own, int position, float eps, float base,
                                               float scale, uint lane, uint simdgroup, uint simdgroups) {
  norm_rope_made<T, P, F> r = {q, k, wq, wk, heads, key, count, d, half_dims, traditional, own, position, eps, base, scale, lane, simdgroup, simdgroups};
  return r;
}
