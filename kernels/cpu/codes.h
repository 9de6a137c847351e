// Scales and codes of quantized matrices as floats: what the products of few rows
// (quantized.cpp) and of many (many.cpp) share.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu.h"
#include "elements.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC warns of its own intrinsics, which leave what is masked out undefined (PR 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace zmlx {

// What codes of mxfp4 (e2m1) stand for, doubled, with which scales are halved: the
// largest scale is 2^128, which no float is, but half of it is. (mlx/backend/cpu/quantized.cpp
// and the OCP MX specification have the values.)
alignas(64) static constexpr float e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};

// half_scale is 2^(b - 128).
static ZMLX_INLINE float half_scale(uint8_t b) {
  return std::bit_cast<float>(b >= 2 ? static_cast<uint32_t>(b - 1) << 23 : uint32_t{0x200000} << b);
}

#if ZMLX_X86

// Scales of n groups as floats.

ZMLX_AVX2 static ZMLX_INLINE void widen_avx2(int32_t type, const uint8_t *from, float *to, int64_t n) {
  int64_t i = 0;
  if (type == zmlx_float16) {
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + 2 * i))));
    for (; i < n; i++) {
      uint16_t h;
      std::memcpy(&h, from + 2 * i, sizeof h);
      to[i] = _cvtsh_ss(h);
    }
  } else if (type == zmlx_bfloat16) {
    for (; i + 8 <= n; i += 8)
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + i),
                          _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + 2 * i))), 16));
    for (; i < n; i++) {
      uint16_t h;
      std::memcpy(&h, from + 2 * i, sizeof h);
      to[i] = bfloat16_value(h);
    }
  } else if (type == zmlx_uint8) {
    for (; i < n; i++) to[i] = half_scale(from[i]);
  } else {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof *to);
  }
}

ZMLX_AVX512 static ZMLX_INLINE void widen_avx512(int32_t type, const uint8_t *from, float *to, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = static_cast<__mmask16>(n - i >= 16 ? 0xffff : (1 << (n - i)) - 1);
    __m512 v;
    if (type == zmlx_float16) {
      v = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from + 2 * i));
    } else if (type == zmlx_bfloat16) {
      v = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + 2 * i)), 16));
    } else if (type == zmlx_uint8) {
      const __m512i e = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, from + i));
      const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
      const __m512i small = _mm512_sllv_epi32(_mm512_set1_epi32(0x200000), e);
      v = _mm512_castsi512_ps(_mm512_mask_blend_epi32(_mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2)), normal, small));
    } else {
      v = _mm512_maskz_loadu_ps(mask, from + 4 * i);
    }
    _mm512_storeu_ps(to + i, v); // to has room for whole vectors
  }
}

#endif

} // namespace zmlx
