// Attention of a prompt's rows, each over those up to its own. One group a row and head, as
// in sdpa_decode: right everywhere, but fast only where it has a body of its own (on a CPU).
#include "attention.h"

kernel void sdpa_causal() {
  threadgroup float part[4096];
  threadgroup float tops[16];
  threadgroup float sums[16];
  const size_t place = size_t(threadgroup_position_in_grid.x); // over all batches, heads and rows
  const int head = int(place) / l;
  const int seen = kv_len - l + int(place) % l + 1;
  const size_t from = size_t(uint(head / (hq / hk))) * uint(cap); // the first row of its keys
  const uint lane = thread_index_in_simdgroup;
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int at = 8 * (int(lane) % per);
  float query[8];
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) query[i] = at < d ? float(q[place * uint(d) + uint(at + i)]) * (scale * 1.44269504f) : 0.0f;

  const int first = 128 / per * int(simdgroup_index_in_threadgroup), step = 128 / per * int(simdgroups_per_threadgroup);
  attn_seen<8> a = attn_nothing<8>();
  if (attn_wide(k) && attn_wide(v)) {
    a = attn_rows<true, T>(a, query, k + from * uint(d), v + from * uint(dv), d, dv, first, seen, step, lane);
  } else {
    a = attn_rows<false, T>(a, query, k + from * uint(d), v + from * uint(dv), d, dv, first, seen, step, lane);
  }
  attn_share(a, per, part, tops, sums, lane, simdgroup_index_in_threadgroup);

  for (int i = int(thread_index_in_threadgroup); i < 8 * per; i += int(threads_per_threadgroup.x)) {
    const attn_result r = attn_gather<8>(part, tops, sums, i, per, simdgroups_per_threadgroup);
    const int c = attn_column<8>(i, per);
    if (c < dv) out[place * uint(dv) + uint(c)] = out_t(r.acc / r.sum);
  }
}
