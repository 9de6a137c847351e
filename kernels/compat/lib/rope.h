// Rotary position embedding with each backend's rounding steps, so that a kernel that
// says `exact` can be.
//
// Sources: mlx/backend/{metal/kernels/rope.metal, cuda/rope.cu}: in float, rounded once.
// mlx/fast.cpp, which the CPU runs: every step rounded to the type.
#pragma once

// The angle that one position turns pair i of `half`.
inline float rope_frequency(int i, int half_dims, float base) {
#if ZMLX_HOST
  const float step = metal::precise::log(base) / float(half_dims);
  return metal::precise::exp(-float(i) * step);
#else
  return metal::exp2(-(float(i) / float(half_dims)) * metal::log2(base));
#endif
}

inline float rope_angle(int position, float scale, float frequency) { return float(position) * scale * frequency; }

// Both values of a pair at once: x is the first, y the second.
inline float2 rope_turn(float angle) {
#if ZMLX_METAL
  return float2(metal::fast::cos(angle), metal::fast::sin(angle));
#else
  return float2(metal::precise::cos(angle), metal::precise::sin(angle));
#endif
}

template <typename T> inline T rope_first(float a, float b, float2 turn) {
#if ZMLX_HOST
  return T(float(T(a * float(T(turn.x)))) - float(T(b * float(T(turn.y)))));
#else
  return T(a * turn.x - b * turn.y);
#endif
}

template <typename T> inline T rope_second(float a, float b, float2 turn) {
#if ZMLX_HOST
  return T(float(T(a * float(T(turn.y)))) + float(T(b * float(T(turn.x)))));
#else
  return T(a * turn.y + b * turn.x);
#endif
}
