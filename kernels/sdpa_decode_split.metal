// Parts of an attention of one query row (parts.h).
#include "attention.h"
#include "heads.h"
#include "parts.h"

kernel void sdpa_decode_split() {
  threadgroup float share[2080];
  threadgroup float tops[32];
  threadgroup float sums[32];
  const int split = int(threadgroup_position_in_grid.x), kv = int(threadgroup_position_in_grid.z);
  const int repeats = hq / hk, before = 8 * int(threadgroup_position_in_grid.y);
  const int head = kv * repeats + before; // the first of the eight
  const size_t from = size_t(uint(kv)) * uint(cap) + uint(split);
  const size_t to = size_t(uint(head)) * uint(splits) + uint(split);
  const bool wide = attn_wide(k) && attn_wide(v) && attn_wide(q);
  auto heads = parts_of(q + head * d);
  attention_part<T>(heads, metal::min(8, repeats - before), k + from * uint(d), v + from * uint(dv), parts_row(-1, k, v), part + to * uint(dv), lse + to,
                    scale * 1.44269504f, d, dv, splits, (kv_len - split + splits - 1) / splits, wide, share, tops, sums, thread_index_in_simdgroup,
                    simdgroup_index_in_threadgroup);
}
