#include "dense.h"

#include "cpu.h"
#include "elements.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC warns of its own intrinsics, which leave what is masked out undefined (PR 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace zmlx {

// Rows of a matrix are read as they lie; elements become floats in registers. A tile of rows
// is multiplied at once, and the next one is asked for meanwhile: the processor does not see
// by itself in which order rows are read. A prefetch does not fault.
constexpr int64_t tall = 4;

static void plain(const Dense &m, int64_t row, const float *x, float *y) {
  const void *w = at(m.w, m.type, row * m.k);
  float sum[16] = {}, some[64], total = 0;
  for (int64_t c = 0; c < m.k; c += 64) {
    const int64_t n = m.k - c < 64 ? m.k - c : 64;
    load(m.type, at(w, m.type, c), some, n);
    for (int64_t i = 0; i < n; i++) sum[i % 16] += x[c + i] * some[i];
  }
  for (float v : sum) total += v;
  *y = total;
}

#if ZMLX_X86

template <int32_t Type> ZMLX_AVX2 static ZMLX_INLINE __m256 eight(const char *p) {
  if constexpr (Type == zmlx_float32) return _mm256_loadu_ps(reinterpret_cast<const float *>(p));
  const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
  if constexpr (Type == zmlx_float16) return _mm256_cvtph_ps(h);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

template <int32_t Type, int Out> ZMLX_AVX2 static void avx2(const Dense &m, int64_t row, const float *x, float *y) {
  constexpr int64_t size = Type == zmlx_float32 ? 4 : 2;
  constexpr int turns = 2; // so that no sum waits for the one before
  const int64_t bytes = m.k * size;
  const char *w = static_cast<const char *>(m.w) + row * bytes;
  __m256 sum[Out][turns];
  ZMLX_UNROLL
  for (int o = 0; o < Out; o++)
    ZMLX_UNROLL
    for (int t = 0; t < turns; t++) sum[o][t] = _mm256_setzero_ps();
  int64_t c = 0;
  for (; c + 16 <= m.k; c += 16) {
    ZMLX_UNROLL
    for (int o = 0; o < Out; o++) {
      const char *p = w + o * bytes + c * size;
      _mm_prefetch(p + Out * bytes, _MM_HINT_T0);
      ZMLX_UNROLL
      for (int t = 0; t < turns; t++) sum[o][t] = _mm256_fmadd_ps(eight<Type>(p + 8 * t * size), _mm256_loadu_ps(x + c + 8 * t), sum[o][t]);
    }
  }
  for (int o = 0; o < Out; o++) {
    float part[8], rest[16], total = 0;
    _mm256_storeu_ps(part, _mm256_add_ps(sum[o][0], sum[o][1]));
    load(Type, w + o * bytes + c * size, rest, m.k - c);
    for (int64_t i = c; i < m.k; i++) part[i % 8] += rest[i - c] * x[i];
    for (float v : part) total += v;
    y[o] = total;
  }
}

template <int32_t Type> ZMLX_AVX512 static ZMLX_INLINE __m512 sixteen(const char *p, __mmask16 mask) {
  if constexpr (Type == zmlx_float32) return _mm512_maskz_loadu_ps(mask, p);
  const __m256i h = _mm256_maskz_loadu_epi16(mask, p);
  if constexpr (Type == zmlx_float16) return _mm512_cvtph_ps(h);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

template <int32_t Type, int Out> ZMLX_AVX512 static void avx512(const Dense &m, int64_t row, const float *x, float *y) {
  constexpr int64_t size = Type == zmlx_float32 ? 4 : 2;
  const int64_t bytes = m.k * size;
  const char *w = static_cast<const char *>(m.w) + row * bytes;
  __m512 sum[Out][2];
  ZMLX_UNROLL
  for (int o = 0; o < Out; o++) sum[o][0] = sum[o][1] = _mm512_setzero_ps();
  const auto mask = [&](int64_t c) { return static_cast<__mmask16>(m.k - c >= 16 ? 0xffff : m.k > c ? (1 << (m.k - c)) - 1 : 0); };
  for (int64_t c = 0; c < m.k; c += 32) {
    const __mmask16 near = mask(c), far = mask(c + 16);
    const __m512 a = _mm512_maskz_loadu_ps(near, x + c), b = _mm512_maskz_loadu_ps(far, x + c + 16);
    ZMLX_UNROLL
    for (int o = 0; o < Out; o++) {
      const char *p = w + o * bytes + c * size;
      _mm_prefetch(p + Out * bytes, _MM_HINT_T0);
      if constexpr (size == 4) _mm_prefetch(p + Out * bytes + 64, _MM_HINT_T0);
      sum[o][0] = _mm512_fmadd_ps(sixteen<Type>(p, near), a, sum[o][0]);
      sum[o][1] = _mm512_fmadd_ps(sixteen<Type>(p + 16 * size, far), b, sum[o][1]);
    }
  }
  ZMLX_UNROLL
  for (int o = 0; o < Out; o++) y[o] = _mm512_reduce_add_ps(_mm512_add_ps(sum[o][0], sum[o][1]));
}

#endif

using Body = void (*)(const Dense &, int64_t, const float *, float *);

static void each(const Dense &m, int64_t first, int64_t count, const float *x, float *y, int64_t tile, Body many, Body one) {
  int64_t i = 0;
  for (; i + tile <= count; i += tile) many(m, first + i, x, y + i);
  for (; i < count; i++) one(m, first + i, x, y + i);
}

#if ZMLX_X86
template <int32_t Type> static void of_type(const Dense &m, int64_t first, int64_t count, const float *x, float *y) {
  if (isa() == Isa::avx512) return each(m, first, count, x, y, tall, avx512<Type, tall>, avx512<Type, 1>);
  each(m, first, count, x, y, tall, avx2<Type, tall>, avx2<Type, 1>);
}
#endif

void multiply(const Dense &m, int64_t first, int64_t count, const float *x, float *y) {
#if ZMLX_X86
  if (isa() != Isa::plain) {
    switch (m.type) {
    case zmlx_float16: return of_type<zmlx_float16>(m, first, count, x, y);
    case zmlx_bfloat16: return of_type<zmlx_bfloat16>(m, first, count, x, y);
    default: return of_type<zmlx_float32>(m, first, count, x, y);
    }
  }
#endif
  each(m, first, count, x, y, 1, plain, plain);
}

} // namespace zmlx
