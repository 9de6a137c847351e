// What MLX computes and the Metal Shading Language has no function for, as each backend
// computes it, so that a kernel that says `exact` can be: on the CPU and with CUDA by the
// C library's functions, on Metal by MLX's own (0.32.2), which are ported here.
//
// Sources: mlx/backend/metal/kernels/{erf.h, expm1f.h, utils.h, binary_ops.h}. expm1 and
// erf there are by Norbert Juffa (2015-2023, two-clause BSD licence).
#pragma once

// exp(a) - 1. MLX's copy lacks the low part of log(2) in f, and so does this: it is off by
// 1.4e-6 of exp(a) for each power of 2 in exp(a).
inline float zmlx_expm1(float a) {
  if (metal::abs(a - 1.0f) > 88.0f) {
    const float r = metal::pow(2.0f, a);
    return metal::fma(r, r, -1.0f);
  }
  const float j = metal::fma(1.442695f, a, 12582912.0f) - 12582912.0f; // a / log(2), to the nearest
  const float f = metal::fma(j, -6.93145752e-1f, a);                   // exp(a) = 2^j exp(f)
  const float s = a == 0.0f ? a : f * f;                               // -0 stays
  float r = 1.97350979e-4f;
  r = metal::fma(r, f, 1.39309070e-3f);
  r = metal::fma(r, f, 8.33343994e-3f);
  r = metal::fma(r, f, 4.16668020e-2f);
  r = metal::fma(r, f, 1.66666716e-1f);
  r = metal::fma(r, f, 4.99999970e-1f);
  const float v = metal::fma(r, s, j == 1.0f ? f + 0.5f : f);
  if (j == 0.0f) return v;
  if (j == 1.0f) return v + v;
  const float t = as_type<float>(uint(int(j) + 126) << 23); // 2^(j-1)
  const float y = t - 0.5f;
  const float x = (t - y) - 0.5f;
  r = metal::fma(v, t, x) + y;
  return r + r;
}

// log(1 + x), with the bits of x that 1 + x loses.
inline float zmlx_log1p(float x) {
  const float y = 1.0f + x;
  if (y == INFINITY) return y;
  if (y == 1.0f) return x;
  return x * (metal::log(y) / (y - 1.0f));
}

inline float zmlx_erf(float a) {
  const float t = metal::abs(a), s = a * a;
  if (t > 0.927734375f) {
    float r = metal::fma(-1.72853470e-5f, t, 3.83197126e-4f);
    const float u = metal::fma(-3.88396438e-3f, t, 2.42546219e-2f);
    r = metal::fma(r, s, u);
    r = metal::fma(r, t, -1.06777877e-1f);
    r = metal::fma(r, t, -6.34846687e-1f);
    r = metal::fma(r, t, -1.28717512e-1f);
    r = metal::fma(r, t, -t);
    r = -zmlx_expm1(r);
    return a < 0.0f ? -r : r;
  }
  float r = -5.96761703e-4f;
  r = metal::fma(r, s, 4.99119423e-3f);
  r = metal::fma(r, s, -2.67681349e-2f);
  r = metal::fma(r, s, 1.12819925e-1f);
  r = metal::fma(r, s, -3.76125336e-1f);
  r = metal::fma(r, s, 1.28379166e-1f);
  return metal::fma(r, a, a);
}

#if ZMLX_HOST
inline float mlx_erf(float x) { return std::erf(x); }
inline float mlx_expm1(float x) { return std::expm1(x); }
inline float mlx_log1p(float x) { return std::log1p(x); }
#elif ZMLX_CUDA
inline float mlx_erf(float x) { return ::erff(x); }
inline float mlx_expm1(float x) { return ::expm1f(x); }
inline float mlx_log1p(float x) { return ::log1pf(x); }
#else
inline float mlx_erf(float x) { return zmlx_erf(x); }
inline float mlx_expm1(float x) { return zmlx_expm1(x); }
inline float mlx_log1p(float x) { return zmlx_log1p(x); }
#endif

// The GPUs take one step, the CPU rounds the root.
template <typename T> inline T mlx_rsqrt(T x) {
#if ZMLX_HOST
  return T(1.0f / float(T(metal::precise::sqrt(float(x)))));
#else
  return T(metal::precise::rsqrt(float(x)));
#endif
}

// log(exp(x) + exp(y)), rounded after each step.
template <typename T> inline T mlx_logaddexp(T x, T y) {
  const float a = float(x), b = float(y);
  if (metal::isnan(a) || metal::isnan(b)) return metal::isnan(a) ? x : y;
  const float hi = a > b ? a : b, lo = a > b ? b : a;
  if (lo == -INFINITY || hi == INFINITY) return T(hi);
  const float e = float(T(metal::precise::exp(float(T(lo - hi)))));
  return T(hi + float(T(mlx_log1p(e))));
}
