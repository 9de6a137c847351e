// What stands between the two projections of an expert or a dense block and the third, with
// the rounding steps of MLX's ops.
#pragma once

template <typename T> inline T gated_silu(T gate, T up) { return T(float(mlx_silu(gate)) * float(up)); }

// GELU by tanh, times up; gate^3 is two products where MLX has pow.
template <typename T> inline T gated_gelu_tanh(T gate, T up) {
  const float x = float(gate);
  const float cube = float(T(ZMLX_ROUND(x * x) * x));
  const float u = float(T(x + float(T(cube * float(T(0.044715f))))));
  const float v = float(T(u * float(T(0.7978845608028654f))));
  const float f = float(T(float(T(metal::precise::tanh(v))) + 1.0f));
  return T(float(T(float(T(x * 0.5f)) * f)) * float(up));
}

// GPT-OSS: both clamped, then gate * sigmoid(alpha * gate) * (up + 1). NaN stays NaN.
template <typename T> inline T gated_oai(T gate, T up, float alpha, float low, float limit) {
  const float g = metal::isnan(float(gate)) ? float(gate) : metal::min(float(gate), float(T(limit)));
  const float u = metal::isnan(float(up)) ? float(up) : metal::clamp(float(up), float(T(low)), float(T(limit)));
  const float s = float(mlx_sigmoid(T(g * float(T(alpha)))));
  return T(float(T(u + 1.0f)) * float(T(g * s)));
}
