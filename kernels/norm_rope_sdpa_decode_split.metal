// Parts of an attention of one token over a cache and its own row (parts.h), with the norm and the
// rotary embedding of its queries and its key. Each group makes its heads of q anew, which takes
// less than another launch; the group whose part the token's own row belongs to makes the key, too,
// and the first of those writes it, and the value.
#include "attention.h"
#include "heads.h"
#include "parts.h"
#include "rope.h"
#include "norm_rope.h"
#include "made_heads.h"

kernel void norm_rope_sdpa_decode_split() {
  threadgroup float share[2080];
  threadgroup float tops[32];
  threadgroup float sums[32];
  threadgroup float made[2304]; // up to eight heads of q, and the key
  const int split = int(threadgroup_position_in_grid.x), kv = int(threadgroup_position_in_grid.z);
  const int repeats = hq / hk, before = 8 * int(threadgroup_position_in_grid.y);
  const int head = kv * repeats + before, heads = metal::min(8, repeats - before); // the first of the eight
  const size_t from = size_t(uint(kv)) * uint(cap) + uint(split);
  const size_t to = size_t(uint(head)) * uint(splits) + uint(split);
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const int position = offset[0];
  const bool mine = position % splits == split;
  const int fresh = mine && position < kv_len ? position / splits : -1;
  auto own = norm_rope_heads<3, T>(q + head * d, k + kv * d, wq, wk, made + 0, made + 2048, heads, d, dims / 2, traditional, mine, position, eps, base, rope_scale, lane, simdgroup, 4u);
  attention_part<T>(own, heads, keys + from * uint(d), values + from * uint(dv), parts_row(fresh, made + 2048, v + kv * dv), part + to * uint(dv), lse + to, scale * 1.44269504f, d, dv,
                    splits, (kv_len - split + splits - 1) / splits, attn_wide(keys) && attn_wide(values), share, tops, sums, lane, simdgroup);
  if (mine && before == 0) {
    for (int i = int(thread_index_in_threadgroup); i < d; i += 128) kr[kv * d + i] = kr_t(float(made[2048 + i]));
    for (int i = int(thread_index_in_threadgroup); i < dv; i += 128) vr[kv * dv + i] = v[kv * dv + i];
  }
}
