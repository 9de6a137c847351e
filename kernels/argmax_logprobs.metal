// The place of the largest log-probability, one threadgroup a row. The row is read twice: for
// the logarithm of the sum of exponentials, and for the differences to it. These are
// rounded, so that logits which differ may be equal here, and the first of them counts.
// A thread has four times eight neighbours in flight. Differences are compared as keys,
// unsigned numbers in the same order.
#include "attention.h"
#include "reduce.h"
#include "topk.h"

// The elements c + 8 * step * u + i of a row of n, for u < 4 and i < 8; minus infinity
// behind the end.
template <bool wide, typename T, typename P> inline void logits_read(P x, int c, int step, int n, thread float *v) {
  attn_eight<T> q[4];
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    const int at = c + 8 * step * u;
    q[u] = attn_read<wide, T>(x + at, at + 8 <= n);
  }
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    const int at = c + 8 * step * u;
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) {
      v[8 * u + i] = attn_element(q[u], i);
      if (at + 8 > n) v[8 * u + i] = at + i < n ? float(x[at + i]) : -INFINITY;
    }
  }
}

// What a thread has seen: the largest, the sum of exponentials relative to it, and
// whether there was a NaN. The largest begins at the lowest finite number, so that rows of
// minus infinity have the sum 0.
struct logits_seen {
  float top, sum, bad;
};

template <bool wide, typename T, typename P> inline logits_seen logits_sum(P x, int n, int first, int step) {
  logits_seen a = {-3.4028235e38f, 0.0f, 0.0f};
  for (int c = 8 * first; c < n; c += 32 * step) {
    float v[32];
    logits_read<wide, T>(x, c, step, n, v);
    float top = a.top;
    ATTN_UNROLL
    for (int i = 0; i < 32; i++) {
      top = metal::max(top, v[i]);
      if (metal::isnan(v[i])) a.bad = 1.0f;
    }
    a.sum *= metal::precise::exp(a.top - top);
    a.top = top;
    ATTN_UNROLL
    for (int i = 0; i < 32; i++) a.sum += metal::precise::exp(v[i] - top);
  }
  return a;
}

struct logits_best {
  uint key, place;
};

template <bool wide, typename T, typename P> inline logits_best logits_largest(P x, int n, int first, int step, float less) {
  logits_best a = {0u, 0xffffffffu};
  for (int c = 8 * first; c < n; c += 32 * step) {
    float v[32];
    logits_read<wide, T>(x, c, step, n, v);
    ATTN_UNROLL
    for (int i = 0; i < 32; i++) {
      const int at = c + 8 * step * (i / 8) + i % 8;
      const float p = float(T(v[i] - less));
      uint key = topk_key(p, false); // NaN below all
      if (metal::isnan(p) && at == 0) key = 0xffffffffu; // but there, as MLX has it
      if (at < n && key > a.key) {
        a.key = key;
        a.place = uint(at);
      }
    }
  }
  return a;
}

kernel void argmax_logprobs() {
  threadgroup float part[16];
  threadgroup uint keys[16];
  threadgroup uint places[16];
  const int row = int(threadgroup_position_in_grid.x);
  const size_t from = size_t(uint(row)) * uint(n);
  const int t = int(thread_index_in_threadgroup);
  const int step = metal::min(512, (n + 255) / 256 * 32); // as launched
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const bool wide = attn_wide(logits + from);

  logits_seen seen;
  if (wide) {
    seen = logits_sum<true, T>(logits + from, n, t, step);
  } else {
    seen = logits_sum<false, T>(logits + from, n, t, step);
  }
  const float top = group_max(seen.top, part, lane, simdgroup, simdgroups_per_threadgroup);
  const float sum = group_sum(seen.sum * metal::precise::exp(seen.top - top), part, lane, simdgroup, simdgroups_per_threadgroup);
  const float bad = group_max(seen.bad, part, lane, simdgroup, simdgroups_per_threadgroup);
  float all = metal::isinf(top) ? top : metal::precise::log(sum) + top;
  if (bad > 0.0f) all = as_type<float>(0x7fc00000u);
  const float less = float(T(all));

  logits_best best;
  if (wide) {
    best = logits_largest<true, T>(logits + from, n, t, step, less);
  } else {
    best = logits_largest<false, T>(logits + from, n, t, step, less);
  }
  const uint high = simd_max(best.key);
  const uint at = simd_min(best.key == high ? best.place : 0xffffffffu);
  if (lane == 0) {
    keys[simdgroup] = high;
    places[simdgroup] = at;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const bool there = lane < simdgroups_per_threadgroup;
  const uint key = there ? uint(keys[lane]) : 0u;
  const uint place = there ? uint(places[lane]) : 0xffffffffu;
  const uint highest = simd_max(key);
  const uint lowest = simd_min(key == highest ? place : 0xffffffffu);
  if (t == 0) token[row] = int(lowest);
}
