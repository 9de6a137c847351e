// Parts of an attention of one query row. One group for up to four heads of q that have one
// head of k and v, and a part of the rows: each row is read once for the four.
#include "attention.h"

template <bool wide, typename T, typename K, typename V>
inline void heads_rows(thread attn_seen<8> *a, const thread float *q, int heads, K k, V v, int d, int dv, int every, int first, int end, int step, uint lane) {
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int at = 8 * (int(lane) % per), mine = int(lane) / per;
  for (int row = first; row < end; row += step) {
    attn_eight<T> keys[4], values[4];
    bool there[4];
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      const int r = row + 32 / per * u + mine;
      there[u] = r < end;
      keys[u] = attn_read<wide, T>(k + (size_t(uint(r)) * uint(d * every) + uint(at)), there[u] && at < d);
    }
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      const int r = row + 32 / per * u + mine;
      values[u] = attn_read<wide, T>(v + (size_t(uint(r)) * uint(dv * every) + uint(at)), there[u] && at < dv);
    }
    ATTN_UNROLL
    for (int h = 0; h < 4; h++) {
      if (h < heads) {
        float score[4];
        ATTN_UNROLL
        for (int u = 0; u < 4; u++) {
          float sum = 0.0f;
          ATTN_UNROLL
          for (int i = 0; i < 8; i++) sum += q[8 * h + i] * attn_element(keys[u], i);
          score[u] = attn_sum(sum, per);
        }
        a[h] = attn_weigh(a[h], score, there);
        ATTN_UNROLL
        for (int u = 0; u < 4; u++) {
          ATTN_UNROLL
          for (int i = 0; i < 8; i++) a[h].acc[i] += score[u] * attn_element(values[u], i);
        }
      }
    }
  }
}

kernel void sdpa_decode_split() {
  threadgroup float share[2048];
  threadgroup float tops[8];
  threadgroup float sums[8];
  const int split = int(threadgroup_position_in_grid.x), kv = int(threadgroup_position_in_grid.z);
  const int repeats = hq / hk;
  const int head = kv * repeats + 4 * int(threadgroup_position_in_grid.y); // the first of the four
  const int heads = repeats % 4 == 0 ? 4 : metal::min(4, repeats - 4 * int(threadgroup_position_in_grid.y));
  const size_t from = size_t(uint(kv)) * uint(cap) + uint(split);
  const int rows_here = (kv_len - split + splits - 1) / splits;
  const uint lane = thread_index_in_simdgroup;
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int at = 8 * (int(lane) % per);
  float query[32];
  attn_seen<8> a[4];
  ATTN_UNROLL
  for (int i = 0; i < 32; i++) query[i] = at < d && i / 8 < heads ? float(q[(head + i / 8) * d + at + i % 8]) * (scale * 1.44269504f) : 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < 4; i++) a[i] = attn_nothing<8>();

  const int first = 128 / per * int(simdgroup_index_in_threadgroup), step = 1024 / per;
  if (attn_wide(k) && attn_wide(v)) {
    heads_rows<true, T>(a, query, heads, k + from * uint(d), v + from * uint(dv), d, dv, splits, first, rows_here, step, lane);
  } else {
    heads_rows<false, T>(a, query, heads, k + from * uint(d), v + from * uint(dv), d, dv, splits, first, rows_here, step, lane);
  }
  ATTN_UNROLL
  for (int i = 0; i < 4; i++) {
    if (i < heads) {
      attn_share(a[i], per, share, tops, sums, lane, simdgroup_index_in_threadgroup);
      const int to = (head + i) * splits + split;
      for (int place = int(thread_index_in_threadgroup); place < 8 * per; place += 256) {
        const attn_result x = attn_gather<8>(share, tops, sums, place, per, 8);
        const int c = attn_column<8>(place, per);
        if (c < dv) part[size_t(uint(to)) * uint(dv) + uint(c)] = x.acc / x.sum;
        if (place == 0) lse[to] = (x.top + metal::log2(x.sum)) * 0.693147181f;
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
  }
}
