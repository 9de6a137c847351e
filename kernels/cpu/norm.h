// RMS norms of rows, as MLX rounds them.
#pragma once

#include <algorithm>
#include <cmath>

#include "elements.h"
#include "parallel.h"
#include "room.h"

namespace zmlx {

// rms_factor is 1 / sqrt(mean of v^2 + eps) of n values. Sixteen sums, so that none waits
// for the one before.
inline float rms_factor(const float *v, int64_t n, float eps) {
  float part[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; j++) part[j] += v[i + j] * v[i + j];
  for (; i < n; i++) part[i % 16] += v[i] * v[i];
  float sum = 0;
  for (float p : part) sum += p;
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

// weights is n weights as rms_norm wants them, in the calling thread's room 0.
inline const float *weights(int32_t type, int32_t from, const void *w, int64_t n) {
  float *out = room<0>(n);
  load(from, w, out, n);
  round_all(type, out, n);
  return out;
}

// rms_norm gives v = w * v * rms_factor(v), rounded to a type before and after it is
// multiplied with w, which is of the type already, or null.
inline void rms_norm(int32_t type, float *v, const float *w, int64_t n, float eps) {
  const float factor = rms_factor(v, n, eps);
  for (int64_t i = 0; i < n; i++) v[i] *= factor;
  round_all(type, v, n);
  if (!w) return;
  for (int64_t i = 0; i < n; i++) v[i] *= w[i];
  round_all(type, v, n);
}

// each_row calls f for all rows of n elements, on as many threads as are worth it.
template <typename F> void each_row(int workers, int64_t rows, int64_t n, const F &f) {
  constexpr int64_t worth = 16384; // elements
  workers = workers_for(workers, rows * n, worth);
  parallel(workers, rows, std::max<int64_t>(1, rows / (4 * workers)), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++) f(row);
  });
}

} // namespace zmlx
