// The maths of the subset: float only, as exact as the C library's.
//
// min and max take the other operand of a NaN, as on the GPUs. The host is compiled
// with -ffp-contract=off, so nothing is ever fused but fma.
#pragma once

#include <cmath>

#include "types.h"

namespace metal {

inline float abs(float x) { return std::fabs(x); }
inline int abs(int x) { return x < 0 ? static_cast<int>(0u - static_cast<uint>(x)) : x; }
inline float ceil(float x) { return std::ceil(x); }
inline float cos(float x) { return std::cos(x); }
inline float exp(float x) { return std::exp(x); }
inline float exp2(float x) { return std::exp2(x); }
inline float floor(float x) { return std::floor(x); }
inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float log(float x) { return std::log(x); }
inline float log2(float x) { return std::log2(x); }
inline float pow(float x, float y) { return std::pow(x, y); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline float sin(float x) { return std::sin(x); }
inline float sqrt(float x) { return std::sqrt(x); }
inline float tanh(float x) { return std::tanh(x); }

// By bits: right under any compiler flag, and vectors of it need no library.
inline bool isnan(float x) { return (as_type<uint>(x) & 0x7fffffffu) > 0x7f800000u; }
inline bool isinf(float x) { return (as_type<uint>(x) & 0x7fffffffu) == 0x7f800000u; }

inline float min(float a, float b) { return b < a || a != a ? b : a; }
inline int min(int a, int b) { return b < a ? b : a; }
inline uint min(uint a, uint b) { return b < a ? b : a; }
inline float max(float a, float b) { return b > a || a != a ? b : a; }
inline int max(int a, int b) { return b > a ? b : a; }
inline uint max(uint a, uint b) { return b > a ? b : a; }
inline float clamp(float x, float lo, float hi) { return min(max(x, lo), hi); }
inline int clamp(int x, int lo, int hi) { return min(max(x, lo), hi); }
inline uint clamp(uint x, uint lo, uint hi) { return min(max(x, lo), hi); }

// select gives b where c holds.
inline float select(float a, float b, bool c) { return c ? b : a; }
inline int select(int a, int b, bool c) { return c ? b : a; }
inline uint select(uint a, uint b, bool c) { return c ? b : a; }

namespace precise {
using metal::cos;
using metal::exp;
using metal::exp2;
using metal::log;
using metal::log2;
using metal::pow;
using metal::rsqrt;
using metal::sin;
using metal::sqrt;
using metal::tanh;
} // namespace precise

} // namespace metal
