// Multi-head latent attention of one query row: a row of the cache is key and value of all
// heads, and each score has a second product, of the rotated parts. One group a head. A
// simdgroup has a row to itself, 16 elements of it a lane: 8 lane to lane, and 8
// that stand 256 behind them.
#include "attention.h"

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

kernel void mla_decode() {
  threadgroup float part[4096]; // of eight simdgroups
  threadgroup float tops[16];
  threadgroup float sums[16];
  const int head = int(threadgroup_position_in_grid.x); // over all batches
  const size_t from = size_t(uint(head / h)) * uint(cap);
  const int lane = int(thread_index_in_simdgroup);
  const int me = int(simdgroup_index_in_threadgroup), all = int(simdgroups_per_threadgroup);
  const float unit = scale * 1.44269504f;
  float query[16];
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) {
    query[i] = 8 * lane < r ? float(q[head * r + 8 * lane + i]) * unit : 0.0f;
    query[8 + i] = 8 * lane + 256 < r ? float(q[head * r + 8 * lane + 256 + i]) * unit : 0.0f;
  }
  const float pe0 = 2 * lane < p ? float(q_pe[head * p + 2 * lane]) * unit : 0.0f;
  const float pe1 = 2 * lane < p ? float(q_pe[head * p + 2 * lane + 1]) * unit : 0.0f;

  attn_seen<16> a = attn_nothing<16>();
  if (attn_wide(latent)) {
    a = latent_rows<true, T>(a, query, pe0, pe1, latent + from * uint(r), k_pe + from * uint(p), r, p, 4 * me, kv_len, 4 * all, thread_index_in_simdgroup);
  } else {
    a = latent_rows<false, T>(a, query, pe0, pe1, latent + from * uint(r), k_pe + from * uint(p), r, p, 4 * me, kv_len, 4 * all, thread_index_in_simdgroup);
  }

  // Sixteen parts do not fit, so each of the first eight takes another one in.
  if (me >= 8) {
    ATTN_UNROLL
    for (int i = 0; i < 16; i++) part[((me - 8) * 16 + i) * 32 + lane] = a.acc[i];
    if (lane == 0) {
      tops[me] = a.top;
      sums[me] = a.sum;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (me + 8 < all) {
    const float other = float(tops[me + 8]);
    const float top = metal::max(a.top, other);
    const float mine = metal::exp2(a.top - top), theirs = metal::exp2(other - top);
    a.sum = a.sum * mine + float(sums[me + 8]) * theirs;
    ATTN_UNROLL
    for (int i = 0; i < 16; i++) a.acc[i] = a.acc[i] * mine + float(part[(me * 16 + i) * 32 + lane]) * theirs;
    a.top = top;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (me < 8) {
    ATTN_UNROLL
    for (int i = 0; i < 16; i++) part[(me * 16 + i) * 32 + lane] = a.acc[i];
    if (lane == 0) {
      tops[me] = a.top;
      sums[me] = a.sum;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int place = int(thread_index_in_threadgroup); place < 512; place += int(threads_per_threadgroup.x)) {
    const attn_result x = attn_gather<16>(part, tops, sums, place, 32, uint(metal::min(all, 8)));
    const int c = place / 256 * 256 + place % 32 * 8 + place / 32 % 8;
    if (c < r) out[head * r + c] = out_t(x.acc / x.sum);
  }
}
