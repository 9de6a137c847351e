// silu(gate) * up, as MLX computes it on a CPU.
#pragma once

#include <cmath>

#include "elements.h"

namespace zmlx {

// swiglu gives a = silu(gate) * up of n values, rounded to a type after each step, in
// place of gate. MLX's sigmoid keeps exp in the type and the rest in float
// (mlx/backend/cpu/unary_ops.h).
inline void swiglu(int32_t type, float *gate, const float *up, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float g = round(type, gate[i]), u = round(type, up[i]);
    const float e = round(type, std::exp(std::fabs(g)));
    const float y = 1.0f / (1.0f + e);
    const float s = round(type, g < 0.0f ? y : 1.0f - y);
    gate[i] = round(type, round(type, g * s) * u);
  }
}

} // namespace zmlx
