// Parts of a row of logits: LOGITS_PART neighbours each, of a group of 128 threads. A thread
// has four times eight in flight. Needs attention.h before it.
#pragma once

#define LOGITS_PART 4096

// The elements 8 * t + 1024 * u + i of a part that has n, for u < 4 and i < 8; minus infinity
// behind the end.
template <bool wide, typename T, typename P> inline void logits_read(P x, int t, int n, thread float *v) {
  attn_eight<T> q[4];
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    const int at = 8 * t + 1024 * u;
    q[u] = attn_read<wide, T>(x + at, at + 8 <= n);
  }
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    const int at = 8 * t + 1024 * u;
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) {
      v[8 * u + i] = attn_element(q[u], i);
      if (at + 8 > n) v[8 * u + i] = at + i < n ? float(x[at + i]) : -INFINITY;
    }
  }
}
