// The types of the Metal Shading Language subset, as C++ on the host.
//
// half and bfloat16_t convert explicitly only and have no arithmetic, as on every
// target: a kernel says where it rounds. Conversion rounds to nearest even and
// keeps subnormals; a NaN stays a NaN, with the payload that the hardware leaves.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__F16C__)
#include <immintrin.h>
#endif

typedef unsigned char uchar;
typedef unsigned short ushort; // glibc and macOS have these two as well
typedef unsigned int uint;

namespace zmlx {

inline uint16_t half_bits(float v) {
#if defined(__F16C__)
  return static_cast<uint16_t>(_cvtss_sh(v, 0));
#elif defined(__ARM_FP16_FORMAT_IEEE)
  return std::bit_cast<uint16_t>(static_cast<__fp16>(v));
#else
  uint32_t u = std::bit_cast<uint32_t>(v);
  const uint32_t sign = (u >> 16) & 0x8000;
  u &= 0x7fffffff;
  if (u > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (u >= 0x47800000) return static_cast<uint16_t>(sign | 0x7c00); // 65536 and up
  if (u >= 0x38800000) { // normal; rounding may carry into infinity, rightly
    u += 0xfff + ((u >> 13) & 1);
    return static_cast<uint16_t>(sign | ((u - 0x38000000) >> 13));
  }
  // Subnormal: adding 0.5 aligns the bits, so that the addition rounds.
  const float f = std::bit_cast<float>(u) + 0.5f;
  return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(f) - 0x3f000000));
#endif
}

inline float half_value(uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#elif defined(__ARM_FP16_FORMAT_IEEE)
  return static_cast<float>(std::bit_cast<__fp16>(h));
#else
  const uint32_t sign = (h & 0x8000u) << 16, mag = h & 0x7fffu;
  uint32_t u;
  if (mag >= 0x7c00) {
    u = 0x7f800000 | (mag & 0x3ff) << 13;
  } else if (mag >= 0x400) {
    u = (mag << 13) + (112u << 23);
  } else { // exact, and right even where subnormal floats count as zero
    u = std::bit_cast<uint32_t>(static_cast<float>(mag) * 0x1p-24f);
  }
  return std::bit_cast<float>(sign | u);
#endif
}

inline uint16_t bfloat16_bits(float v) {
  const uint32_t u = std::bit_cast<uint32_t>(v);
  const uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const uint32_t nan = (u >> 16) | 0x40;
  return static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

inline float bfloat16_value(uint16_t b) {
  return std::bit_cast<float>(static_cast<uint32_t>(b) << 16);
}

} // namespace zmlx

class half {
 public:
  half() = default;
  explicit half(float v) : bits_(zmlx::half_bits(v)) {}
  explicit operator float() const { return zmlx::half_value(bits_); }

 private:
  uint16_t bits_;
};

class bfloat16_t {
 public:
  bfloat16_t() = default;
  explicit bfloat16_t(float v) : bits_(zmlx::bfloat16_bits(v)) {}
  explicit operator float() const { return zmlx::bfloat16_value(bits_); }

 private:
  uint16_t bits_;
};

// Vectors have members and no operators. may_alias: kernels read packed words
// through pointers to vectors.
struct __attribute__((may_alias, aligned(8))) uint2 {
  uint x, y;
  uint2() = default;
  explicit uint2(uint v) : x(v), y(v) {}
  uint2(uint x, uint y) : x(x), y(y) {}
};
struct uint3 {
  uint x, y, z;
};
struct __attribute__((may_alias, aligned(16))) uint4 {
  uint x, y, z, w;
  uint4() = default;
  explicit uint4(uint v) : x(v), y(v), z(v), w(v) {}
  uint4(uint x, uint y, uint z, uint w) : x(x), y(y), z(z), w(w) {}
};
struct __attribute__((may_alias, aligned(8))) float2 {
  float x, y;
  float2() = default;
  explicit float2(float v) : x(v), y(v) {}
  float2(float x, float y) : x(x), y(y) {}
};
struct __attribute__((may_alias, aligned(16))) float4 {
  float x, y, z, w;
  float4() = default;
  explicit float4(float v) : x(v), y(v), z(v), w(v) {}
  float4(float x, float y, float z, float w) : x(x), y(y), z(z), w(w) {}
};

// as_type reads the bits of one type as another of the same size.
template <typename To, typename From> inline To as_type(From v) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of one size");
  return std::bit_cast<To>(v);
}
