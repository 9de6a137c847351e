// The place of the largest element, one threadgroup a row. Eight loads are in flight in
// each thread. Values are compared as keys, unsigned numbers in the same order.
#include "topk.h"

kernel void argmax() {
  threadgroup uint keys[16];
  threadgroup uint places[16];
  const int row = int(threadgroup_position_in_grid.x);
  const int t = int(thread_index_in_threadgroup);
  const int step = metal::min(512, (n + 255) / 256 * 32); // as launched
  uint best = 0u, place = 0xffffffffu;
  for (int c = t; c < n; c += 8 * step) {
    float v[8];
    for (int j = 0; j < 8; j++) v[j] = c + j * step < n ? float(x[row * n + c + j * step]) : 0.0f;
    for (int j = 0; j < 8; j++) {
      const int i = c + j * step;
      uint key = topk_key(v[j], false); // NaN below all
      if (metal::isnan(v[j]) && i == 0) key = 0xffffffffu;
      if (i < n && key > best) {
        best = key;
        place = uint(i);
      }
    }
  }
  const uint top = simd_max(best);
  const uint first = simd_min(best == top ? place : 0xffffffffu);
  const uint lane = thread_index_in_simdgroup;
  if (lane == 0) {
    keys[simdgroup_index_in_threadgroup] = top;
    places[simdgroup_index_in_threadgroup] = first;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const bool there = lane < simdgroups_per_threadgroup;
  const uint key = there ? uint(keys[lane]) : 0u;
  const uint p = there ? uint(places[lane]) : 0xffffffffu;
  const uint highest = simd_max(key);
  const uint lowest = simd_min(key == highest ? p : 0xffffffffu);
  if (t == 0) at[row] = lowest;
}
