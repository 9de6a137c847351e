// Attention of one query row over the rows of a window, which are all that is read. As
// sdpa_decode otherwise.
#include "attention.h"

kernel void sdpa_decode_window() {
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

  const int begin = metal::max(0, kv_len - window);
  const int first = begin + 128 / per * int(simdgroup_index_in_threadgroup), step = 128 / per * int(simdgroups_per_threadgroup);
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
