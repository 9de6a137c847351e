// silu(gate) * up and what GPT-OSS has in its place, as MLX computes them on a CPU.
#pragma once

#include <algorithm>

#include "elements.h"
#include "exp.h"

namespace zmlx {

// swiglu gives a = silu(gate) * up of n values, rounded to a type after each step, in
// place of gate.
inline void swiglu(int32_t type, float *gate, const float *up, int64_t n) {
  float s[64], u[64];
  for (int64_t first = 0; first < n; first += 64) {
    float *g = gate + first;
    const int64_t m = std::min<int64_t>(64, n - first);
    round_all(type, g, m);
    std::copy_n(g, m, s);
    std::copy_n(up + first, m, u);
    round_all(type, u, m);
    sigmoid_all(type, s, m);
    for (int64_t i = 0; i < m; i++) s[i] *= g[i];
    round_all(type, s, m);
    for (int64_t i = 0; i < m; i++) g[i] = s[i] * u[i];
    round_all(type, g, m);
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
  float s[64], g[64], u[64];
  for (int64_t first = 0; first < n; first += 64) {
    float *out = gate + first;
    const int64_t m = std::min<int64_t>(64, n - first);
    for (int64_t i = 0; i < m; i++) {
      g[i] = out[i] > c.limit ? c.limit : out[i];
      const float least = up[first + i] < c.low ? c.low : up[first + i];
      u[i] = (least > c.limit ? c.limit : least) + 1.0f;
      s[i] = g[i] * c.alpha;
    }
    round_all(type, s, m);
    sigmoid_all(type, s, m);
    round_all(type, u, m);
    for (int64_t i = 0; i < m; i++) s[i] *= g[i];
    round_all(type, s, m);
    for (int64_t i = 0; i < m; i++) out[i] = u[i] * s[i];
    round_all(type, out, m);
  }
}

} // namespace zmlx
