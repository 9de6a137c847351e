// Multi-head latent attention of one query row; goes with attention.h. A row of the cache is
// key and value of all heads, and each score has a second product, of the rotated
// parts. A simdgroup has a row to itself, 16 elements of it a lane: 8 lane to lane, and 8
// that stand 256 behind them.
#pragma once

// Rows first, first + step, ... below end and the three behind each. pe0 and pe1 are the lane's two
// elements of the query's rotated part.
template <bool wide, typename T, typename K, typename R>
inline attn_seen<16> latent_rows(attn_seen<16> a, const thread float *q, float pe0, float pe1, K latent, R k_pe, int r, int p, int first, int end, int step, uint lane) {
  const int at = 8 * int(lane), turned = 2 * int(lane);
  for (int row = first; row < end; row += step) {
    attn_eight<T> near[4], far[4];
    T x0[4], x1[4];
    bool there[4];
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      there[u] = row + u < end;
      const size_t from = size_t(uint(row + u)) * uint(r) + uint(at);
      near[u] = attn_read<wide, T>(latent + from, there[u] && at < r);
      far[u] = attn_read<wide, T>(latent + (from + 256), there[u] && at + 256 < r);
      const size_t i = size_t(uint(row + u)) * uint(p) + uint(turned);
      const bool some = there[u] && turned < p;
      x0[u] = some ? T(k_pe[i]) : T(0.0f);
      x1[u] = some ? T(k_pe[i + 1]) : T(0.0f);
    }
    float score[4];
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      float sum = pe0 * float(x0[u]) + pe1 * float(x1[u]);
      ATTN_UNROLL
      for (int i = 0; i < 8; i++) sum += q[i] * attn_element(near[u], i) + q[8 + i] * attn_element(far[u], i);
      score[u] = attn_sum(sum, 32);
    }
    a = attn_weigh(a, score, there);
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      ATTN_UNROLL
      for (int i = 0; i < 8; i++) {
        a.acc[i] += score[u] * attn_element(near[u], i);
        a.acc[8 + i] += score[u] * attn_element(far[u], i);
      }
    }
  }
  return a;
}

// The column at a place of a group's memory.
inline int latent_column(int place) { return place / 256 * 256 + place % 32 * 8 + place / 32 % 8; }
