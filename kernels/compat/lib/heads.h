// Attention of several heads that share keys and values, on tensor cores; goes with attention.h.
// Weights are the numbers that are rounded on the way there, so that each is multiplied as a sum of
// numbers of type T.
#pragma once

#if ZMLX_MMA
// In how many numbers of type T a weight is multiplied.
template <typename T> struct heads_mma {
  static constexpr int terms = 0;
};
template <> struct heads_mma<half> {
  static constexpr int terms = 2;
};
template <> struct heads_mma<bfloat16_t> {
  static constexpr int terms = 3;
};

// Two elements as a word of a fragment, and words of what was read.
template <typename T> inline uint heads_pair(float a, float b) { return uint(as_type<ushort>(T(a))) | uint(as_type<ushort>(T(b))) << 16; }
template <typename T> inline float heads_low(uint u) { return float(as_type<T>(ushort(u & 0xffffu))); }
template <typename T> inline float heads_high(uint u) { return float(as_type<T>(ushort(u >> 16))); }
template <typename T> inline uint heads_word(attn_eight<T> c, int i) {
#if ZMLX_CUDA
  return c.u[i];
#else
  return uint(as_type<ushort>(c.v[2 * i])) | uint(as_type<ushort>(c.v[2 * i + 1])) << 16;
#endif
}

// The first elements of two words, and the second ones. NVCC takes two instructions for each unless
// told otherwise.
#if ZMLX_CUDA
inline uint heads_lows(uint a, uint b) { return __byte_perm(a, b, 0x5410); }
inline uint heads_highs(uint a, uint b) { return __byte_perm(a, b, 0x7632); }
#else
inline uint heads_lows(uint a, uint b) { return (a & 0xffffu) | b << 16; }
inline uint heads_highs(uint a, uint b) { return a >> 16 | (b & 0xffff0000u); }
#endif

// The exponentials are this many times as large, so that halves hold small ones.
constexpr constant float heads_lift = 256.0f;
#endif
