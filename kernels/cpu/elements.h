// Elements of the floating-point types, many at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/types.h"
#include "zmlx_kernel.h"

namespace zmlx {

// is_float reports whether a type is one that kernels compute with.
constexpr bool is_float(int32_t type) { return type == zmlx_float16 || type == zmlx_float32 || type == zmlx_bfloat16; }

// bytes_of is the size of an element of a floating-point type.
constexpr size_t bytes_of(int32_t type) { return type == zmlx_float32 ? 4 : 2; }

// promote is the type of a result of operands of two floating-point types, as MLX has
// it: float16 and bfloat16 make float32.
constexpr int32_t promote(int32_t a, int32_t b) { return a == b ? a : zmlx_float32; }

// round is v rounded to a type.
inline float round(int32_t type, float v) {
  switch (type) {
  case zmlx_float16: return half_value(half_bits(v));
  case zmlx_bfloat16: return bfloat16_value(bfloat16_bits(v));
  default: return v;
  }
}

// at is a pointer to element i.
inline const void *at(const void *p, int32_t type, int64_t i) { return static_cast<const char *>(p) + static_cast<size_t>(i) * bytes_of(type); }
inline void *at(void *p, int32_t type, int64_t i) { return static_cast<char *>(p) + static_cast<size_t>(i) * bytes_of(type); }

void load(int32_t type, const void *from, float *to, int64_t n);        // converts to float
void store(int32_t type, const float *from, void *to, int64_t n);       // rounds to nearest even
void round_all(int32_t type, float *v, int64_t n);                      // rounds in place

} // namespace zmlx
