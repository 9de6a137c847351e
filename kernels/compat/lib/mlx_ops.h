// MLX's own elementwise ops, one value at a time, with each backend's rounding steps,
// so that a kernel that says `exact` can be.
//
// Sources: mlx/backend/{metal/kernels/unary_ops.h, cuda/device/unary_ops.cuh, cpu/unary_ops.h}
#pragma once

// Metal and CUDA compute the steps in T; the CPU keeps exp in T and the rest in float.
template <typename T> inline T mlx_sigmoid(T x) {
  const T e = T(metal::precise::exp(metal::abs(float(x))));
#if ZMLX_HOST
  const float y = 1.0f / (1.0f + float(e));
  return T(float(x) < 0.0f ? y : 1.0f - y);
#else
  const T y = T(1.0f / float(T(1.0f + float(e))));
  return float(x) < 0.0f ? y : T(1.0f - float(y));
#endif
}

// multiply(x, sigmoid(x))
template <typename T> inline T mlx_silu(T x) { return T(float(x) * float(mlx_sigmoid(x))); }

// maximum(x, 0): NaN stays, -0 becomes 0.
inline float mlx_relu(float x) { return x > 0.0f || metal::isnan(x) ? x : 0.0f; }
