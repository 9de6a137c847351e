// Attention of one token over a cache and its own row, with the norm and the rotary embedding of
// its queries and its key. One group a head of q, as in sdpa_decode: each makes the head of q and
// the key anew, which takes less than another launch. The first group of a head of k writes its
// key and its value: what caches take comes behind all that reads them as they were.
#include "attention.h"
#include "rope.h"
#include "norm_rope.h"
#include "made_heads.h"
#include "bounded.h"

template <bool wide, typename T, typename K, typename V>
inline attn_seen<8> rows_behind(attn_seen<8> a, const thread float *q, K k, V v, attn_four<T> now, int d, int dv, int first, int end, int step, int skip, uint lane) {
  for (int row = first; row < end;) {
    a = attn_see(a, q, now, attn_lanes<8>(metal::max(d, dv)));
    row += step;
    if (row < end) now = attn_load<wide, T>(k, v, d, dv, row, end, skip, lane);
  }
  return a;
}

kernel void norm_rope_sdpa_decode() {
  threadgroup float part[4096];
  threadgroup float tops[16];
  threadgroup float sums[16];
  threadgroup float made[512]; // the head of q, and the key
  const int head = int(threadgroup_position_in_grid.x); // over all batches
  const int repeats = hq / hk, kv = head / repeats;
  const size_t from = size_t(uint(kv)) * uint(cap); // the first row of its keys
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const int thread_here = int(thread_index_in_threadgroup), threads = int(threads_per_threadgroup.x);
  const int position = offset[0];
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int first = 128 / per * int(simdgroup), step = 128 / per * int(simdgroups_per_threadgroup);
  const bool wide = attn_wide(keys) && attn_wide(values);
  attn_four<T> now;
  if (wide) {
    now = attn_load<true, T>(keys + from * uint(d), values + from * uint(dv), d, dv, first, kv_len, position, lane);
  } else {
    now = attn_load<false, T>(keys + from * uint(d), values + from * uint(dv), d, dv, first, kv_len, position, lane);
  }
  auto own = norm_rope_heads<1, T>(q + head * d, k + kv * d, wq, wk, made + 0, made + 256, 1, d, dims / 2, traditional, true, position, eps, base, rope_scale, lane, simdgroup,
                                simdgroups_per_threadgroup);
  own.begin();
  if (head % repeats == 0) {
    for (int i = thread_here; i < d; i += threads) kr[kv * d + i] = kr_t(float(made[256 + i]));
    for (int i = thread_here; i < dv; i += threads) vr[kv * dv + i] = v[kv * dv + i];
  }

  const int at = 8 * (int(lane) % per);
  float value[8]; // of the token's own row, which the first simdgroup sees last
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) value[i] = simdgroup == 0 && at < dv && int(lane) < per ? float(v[kv * dv + at + i]) : 0.0f; // 0 times infinity is no 0
  float query[8];
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) query[i] = at < d ? own[at + i] * (scale * 1.44269504f) : 0.0f;
  attn_seen<8> a = attn_nothing<8>();
  if (wide) {
    a = rows_behind<true, T>(a, query, keys + from * uint(d), values + from * uint(dv), now, d, dv, first, kv_len, step, position, lane);
  } else {
    a = rows_behind<false, T>(a, query, keys + from * uint(d), values + from * uint(dv), now, d, dv, first, kv_len, step, position, lane);
  }
  if (simdgroup == 0 && position < kv_len) {
    float key[8];
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) key[i] = at < d ? float(made[256 + at + i]) : 0.0f;
    a = attn_row(a, query, key, value, int(lane) < per, per);
  }
  attn_share(a, per, part, tops, sums, lane, simdgroup);

  for (int place = thread_here; place < 8 * per; place += threads) {
    const attn_result r = attn_gather<8>(part, tops, sums, place, per, simdgroups_per_threadgroup);
    const int c = attn_column<8>(place, per);
    if (c < dv) out[head * dv + c] = out_t(r.acc / r.sum);
  }
}
