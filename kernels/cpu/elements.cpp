#include "elements.h"

#include <cstring>

#include "cpu.h"

namespace zmlx {

#if ZMLX_X86
ZMLX_AVX2 static int64_t load_half(const uint16_t *from, float *to, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i))));
  return i;
}
ZMLX_AVX2 static int64_t store_half(const float *from, uint16_t *to, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  return i;
}
#endif

void load(int32_t type, const void *from, float *to, int64_t n) {
  if (type == zmlx_float32) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof *to);
    return;
  }
  const uint16_t *p = static_cast<const uint16_t *>(from);
  if (type == zmlx_bfloat16) {
    for (int64_t i = 0; i < n; i++) to[i] = bfloat16_value(p[i]);
    return;
  }
  int64_t i = 0;
#if ZMLX_X86
  if (isa() != Isa::plain) i = load_half(p, to, n);
#endif
  for (; i < n; i++) to[i] = half_value(p[i]);
}

void store(int32_t type, const float *from, void *to, int64_t n) {
  if (type == zmlx_float32) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof *from);
    return;
  }
  uint16_t *p = static_cast<uint16_t *>(to);
  if (type == zmlx_bfloat16) {
    for (int64_t i = 0; i < n; i++) p[i] = bfloat16_bits(from[i]);
    return;
  }
  int64_t i = 0;
#if ZMLX_X86
  if (isa() != Isa::plain) i = store_half(from, p, n);
#endif
  for (; i < n; i++) p[i] = half_bits(from[i]);
}

void round_all(int32_t type, float *v, int64_t n) {
  if (type == zmlx_float32) return;
  uint16_t some[64];
  for (int64_t i = 0; i < n; i += 64) {
    const int64_t m = n - i < 64 ? n - i : 64;
    store(type, v + i, some, m);
    load(type, some, v + i, m);
  }
}

} // namespace zmlx
