// Products with matrices that are not quantized.
#pragma once

#include <cstdint>

namespace zmlx {

// Dense is n rows of k elements of a floating-point type.
struct Dense {
  int32_t type;
  int64_t n, k;
  const void *w;
};

// multiply computes y[i] = x · w[first + i] for i < count.
void multiply(const Dense &m, int64_t first, int64_t count, const float *x, float *y);

} // namespace zmlx
