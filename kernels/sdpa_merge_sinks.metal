// The parts of an attention made one (merge.h), with a sink. One group for 32 columns of a head.
#include "merge.h"

kernel void sdpa_merge_sinks() {
  threadgroup float shared[128];
  const int head = int(threadgroup_position_in_grid.y), column = 32 * int(threadgroup_position_in_grid.x) + int(thread_index_in_simdgroup);
  const size_t from = size_t(uint(head)) * uint(splits);
  const float x = merged(part + from * uint(d), lse + from, shared, float(sinks[head % h]), splits, d, column, thread_index_in_simdgroup, simdgroup_index_in_threadgroup);
  if (simdgroup_index_in_threadgroup == 0 && column < d) out[head * d + column] = out_t(x);
}
