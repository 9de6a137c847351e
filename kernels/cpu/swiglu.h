// silu(gate) * up and what GPT-OSS has in its place, as MLX computes them on a CPU.
#pragma once

#include <cmath>

#include "elements.h"

namespace zmlx {

// sigmoid of a value of a type. MLX's keeps exp in the type and the rest in float
// (mlx/backend/cpu/unary_ops.h).
inline float sigmoid(int32_t type, float v) {
  const float e = round(type, std::exp(std::fabs(v)));
  const float y = 1.0f / (1.0f + e);
  return round(type, v < 0.0f ? y : 1.0f - y);
}

// swiglu gives a = silu(gate) * up of n values, rounded to a type after each step, in
// place of gate.
inline void swiglu(int32_t type, float *gate, const float *up, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float g = round(type, gate[i]), u = round(type, up[i]);
    gate[i] = round(type, round(type, g * sigmoid(type, g)) * u);
  }
}

// Clamp is what swiglu_oai is given: alpha, low and limit, numbers of the type.
struct Clamp {
  float alpha, low, limit;
  Clamp(int32_t type, const double *v)
      : alpha(round(type, static_cast<float>(v[0]))), low(round(type, static_cast<float>(v[1]))), limit(round(type, static_cast<float>(v[2]))) {}
};

// swiglu_oai clamps both and gives gate * sigmoid(alpha * gate) * (up + 1) of n values of a
// type, in place of gate. NaN stays NaN.
inline void swiglu_oai(int32_t type, const Clamp &c, float *gate, const float *up, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float g = gate[i] > c.limit ? c.limit : gate[i];
    const float least = up[i] < c.low ? c.low : up[i];
    const float u = least > c.limit ? c.limit : least;
    const float p = round(type, g * sigmoid(type, round(type, g * c.alpha)));
    gate[i] = round(type, round(type, u + 1.0f) * p);
  }
}

} // namespace zmlx
