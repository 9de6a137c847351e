// Sums and maxima over a whole threadgroup, in the subset of MSL that all targets share.
//
// part is threadgroup memory for one float a simdgroup (16 for 512 threads), declared in
// the body, since Metal allows it nowhere else. It can be used again afterwards. All
// threads of the group must call, and all get the result.
#pragma once

template <typename P> inline float group_sum(float v, P part, uint lane, uint simdgroup, uint simdgroups) {
  v = simd_sum(v);
  if (lane == 0) part[simdgroup] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  v = simd_sum(lane < simdgroups ? float(part[lane]) : 0.0f);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return v;
}

template <typename P> inline float group_max(float v, P part, uint lane, uint simdgroup, uint simdgroups) {
  v = simd_max(v);
  if (lane == 0) part[simdgroup] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  v = simd_max(lane < simdgroups ? float(part[lane]) : -INFINITY);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return v;
}
