// gelu(gate) * up, GELU by tanh, as MLX computes it on a CPU.
#pragma once

#include <algorithm>
#include <cmath>

#include "elements.h"

namespace zmlx {

// geglu gives a = gelu(gate) * up of n values, rounded to a type after each step of the
// reference, in place of gate. gate^3 is two products where MLX has pow. tanh is the C
// library's, as MLX's is: 1 is added, and where it is near -1, what is left are its errors.
inline void geglu(int32_t type, float *gate, const float *up, int64_t n) {
  const float third = round(type, 0.044715f), factor = round(type, 0.7978845608028654f);
  float t[64], u[64];
  for (int64_t first = 0; first < n; first += 64) {
    float *g = gate + first;
    const int64_t m = std::min<int64_t>(64, n - first);
    round_all(type, g, m);
    std::copy_n(up + first, m, u);
    round_all(type, u, m);
    const auto step = [&](float *v, auto f) {
      for (int64_t i = 0; i < m; i++) v[i] = f(i);
      round_all(type, v, m);
    };
    step(t, [&](int64_t i) { return g[i] * g[i] * g[i]; });
    step(t, [&](int64_t i) { return t[i] * third; });
    step(t, [&](int64_t i) { return t[i] + g[i]; });
    step(t, [&](int64_t i) { return t[i] * factor; });
    step(t, [&](int64_t i) { return std::tanh(t[i]); });
    step(t, [&](int64_t i) { return t[i] + 1.0f; });
    step(g, [&](int64_t i) { return g[i] * 0.5f; });
    step(g, [&](int64_t i) { return g[i] * t[i]; });
    step(g, [&](int64_t i) { return g[i] * u[i]; });
  }
}

} // namespace zmlx
