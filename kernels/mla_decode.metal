// Multi-head latent attention of one query row. One group a head.
#include "attention.h"
#include "latent.h"

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
  if (me < 8) { // over what this thread has read
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
    const int c = latent_column(place);
    if (c < r) out[head * r + c] = out_t(x.acc / x.sum);
  }
}
