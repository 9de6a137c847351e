// Parts of a multi-head latent attention of one query row. One group a head and part.
#include "attention.h"
#include "latent.h"

kernel void mla_decode_split() {
  threadgroup float share[4096];
  threadgroup float tops[8];
  threadgroup float sums[8];
  const int split = int(threadgroup_position_in_grid.x), head = int(threadgroup_position_in_grid.y);
  const size_t from = size_t(uint(head / h)) * uint(cap) + uint(split);
  const int rows_here = (kv_len - split + splits - 1) / splits;
  const int lane = int(thread_index_in_simdgroup), me = int(simdgroup_index_in_threadgroup);
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
    a = latent_rows<true, T>(a, query, pe0, pe1, latent + from * uint(r), k_pe + from * uint(p), r, p, splits, 4 * me, rows_here, 32, thread_index_in_simdgroup);
  } else {
    a = latent_rows<false, T>(a, query, pe0, pe1, latent + from * uint(r), k_pe + from * uint(p), r, p, splits, 4 * me, rows_here, 32, thread_index_in_simdgroup);
  }
  attn_share(a, 32, share, tops, sums, thread_index_in_simdgroup, simdgroup_index_in_threadgroup);
  const int to = head * splits + split;
  for (int place = int(thread_index_in_threadgroup); place < 512; place += 256) {
    const attn_result x = attn_gather<16>(share, tops, sums, place, 32, 8);
    const int c = latent_column(place);
    if (c < r) part[size_t(uint(to)) * uint(r) + uint(c)] = x.acc / x.sum;
    if (place == 0) lse[to] = (x.top + metal::log2(x.sum)) * 0.693147181f;
  }
}
