// The largest and the smallest element of a row as MLX has them: NaN wins. (simd_max,
// and so group_max of reduce.h, leave NaN out.) part is as in reduce.h.
#pragma once

inline float nan_max(float a, float b) { return metal::isnan(a) || a > b ? a : b; }
inline float nan_min(float a, float b) { return metal::isnan(a) || a < b ? a : b; }

inline float simd_nan_max(float v) {
  const bool bad = simd_max(metal::isnan(v) ? 1.0f : 0.0f) > 0.0f;
  const float m = simd_max(v);
  return bad ? as_type<float>(0x7fc00000u) : m;
}

template <typename P> inline float group_nan_max(float v, P part, uint lane, uint simdgroup, uint simdgroups) {
  v = simd_nan_max(v);
  if (lane == 0) part[simdgroup] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  v = simd_nan_max(lane < simdgroups ? float(part[lane]) : -INFINITY);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return v;
}

template <typename P> inline float group_nan_min(float v, P part, uint lane, uint simdgroup, uint simdgroups) {
  return -group_nan_max(-v, part, lane, simdgroup, simdgroups);
}
