// Attention of one query row: softmax(scale * q @ k.T) @ v. One group a head of q; the
// simdgroups share out the rows of the cache. Heads of q that have one head of k and v
// stand side by side, and all but the first read them from a cache of the GPU.
#include "attention.h"

kernel void sdpa_decode() {
  threadgroup float part[4096];
  threadgroup float tops[16];
  threadgroup float sums[16];
  const int head = int(threadgroup_position_in_grid.x); // over all batches
  const size_t from = size_t(uint(head / (hq / hk))) * uint(cap); // the first row of its keys
  const uint lane = thread_index_in_simdgroup;
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int at = 8 * (int(lane) % per);
  float query[8];
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) query[i] = at < d ? float(q[head * d + at + i]) * (scale * 1.44269504f) : 0.0f;

  const int first = 128 / per * int(simdgroup_index_in_threadgroup), step = 128 / per * int(simdgroups_per_threadgroup);
  attn_seen<8> a = attn_nothing<8>();
  if (has_sinks && int(thread_index_in_threadgroup) < per) a = attn_sink(a, float(sinks[head % hq]) * 1.44269504f);
  if (attn_wide(k) && attn_wide(v)) {
    a = attn_rows<true, T>(a, query, k + from * uint(d), v + from * uint(dv), d, dv, first, kv_len, step, lane);
  } else {
    a = attn_rows<false, T>(a, query, k + from * uint(d), v + from * uint(dv), d, dv, first, kv_len, step, lane);
  }
  attn_share(a, per, part, tops, sums, lane, simdgroup_index_in_threadgroup);

  for (int place = int(thread_index_in_threadgroup); place < 8 * per; place += int(threads_per_threadgroup.x)) {
    const attn_result r = attn_gather<8>(part, tops, sums, place, per, simdgroups_per_threadgroup);
    const int c = attn_column<8>(place, per);
    if (c < dv) out[head * dv + c] = out_t(r.acc / r.sum);
  }
}
