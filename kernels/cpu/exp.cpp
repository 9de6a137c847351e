#include "exp.h"

#include <algorithm>
#include <cmath>

#include "cpu.h"
#include "elements.h"

namespace zmlx {

// one is exp of a value. Inlined where the processor has fma, it is some instructions; the C
// library's fma gives the same bits elsewhere.
static ZMLX_INLINE float one(float v) {
  // What is not looked at below must still be a number that an int can hold.
  const float in = v >= -88.0f && v <= 88.0f ? v : 0.0f;
  const float x = in * 1.442695f;
  const float whole = std::floor(x + 0.5f), part = x - whole;
  float y = 1.535336188319500e-4f;
  y = std::fma(y, part, 1.339887440266574e-3f);
  y = std::fma(y, part, 9.618437357674640e-3f);
  y = std::fma(y, part, 5.550332471162809e-2f);
  y = std::fma(y, part, 2.402264791363012e-1f);
  y = std::fma(y, part, 6.931472028550421e-1f);
  y = std::fma(y, part, 1.0f);
  y *= as_type<float>(static_cast<uint32_t>(static_cast<int32_t>(whole) + 127) << 23);
  return v > 88.0f ? INFINITY : v < -88.0f ? 0.0f : v != v ? v : y;
}

#if ZMLX_X86
// The same steps, eight values at a time.
ZMLX_AVX2 static void exp_avx2(float *v, int64_t n) {
  const __m256 most = _mm256_set1_ps(88.0f), least = _mm256_set1_ps(-88.0f);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 given = _mm256_loadu_ps(v + i);
    const __m256 inside = _mm256_and_ps(_mm256_cmp_ps(given, least, _CMP_GE_OQ), _mm256_cmp_ps(given, most, _CMP_LE_OQ));
    const __m256 x = _mm256_mul_ps(_mm256_and_ps(given, inside), _mm256_set1_ps(1.442695f));
    const __m256 whole = _mm256_floor_ps(_mm256_add_ps(x, _mm256_set1_ps(0.5f))), part = _mm256_sub_ps(x, whole);
    __m256 y = _mm256_set1_ps(1.535336188319500e-4f);
    y = _mm256_fmadd_ps(y, part, _mm256_set1_ps(1.339887440266574e-3f));
    y = _mm256_fmadd_ps(y, part, _mm256_set1_ps(9.618437357674640e-3f));
    y = _mm256_fmadd_ps(y, part, _mm256_set1_ps(5.550332471162809e-2f));
    y = _mm256_fmadd_ps(y, part, _mm256_set1_ps(2.402264791363012e-1f));
    y = _mm256_fmadd_ps(y, part, _mm256_set1_ps(6.931472028550421e-1f));
    y = _mm256_fmadd_ps(y, part, _mm256_set1_ps(1.0f));
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvttps_epi32(whole), _mm256_set1_epi32(127)), 23);
    y = _mm256_mul_ps(y, _mm256_castsi256_ps(exponent));
    y = _mm256_blendv_ps(y, _mm256_set1_ps(INFINITY), _mm256_cmp_ps(given, most, _CMP_GT_OQ));
    y = _mm256_blendv_ps(y, _mm256_setzero_ps(), _mm256_cmp_ps(given, least, _CMP_LT_OQ));
    y = _mm256_blendv_ps(y, given, _mm256_cmp_ps(given, given, _CMP_UNORD_Q));
    _mm256_storeu_ps(v + i, y);
  }
  for (; i < n; i++) v[i] = one(v[i]);
}
#endif

void exp_all(float *v, int64_t n) {
#if ZMLX_X86
  if (isa() != Isa::plain) return exp_avx2(v, n);
#endif
  for (int64_t i = 0; i < n; i++) v[i] = one(v[i]);
}

void sigmoid_all(int32_t type, float *v, int64_t n) {
  float e[64];
  for (int64_t first = 0; first < n; first += 64) {
    float *x = v + first;
    const int64_t m = std::min<int64_t>(64, n - first);
    for (int64_t i = 0; i < m; i++) e[i] = std::fabs(x[i]);
    exp_all(e, m);
    round_all(type, e, m);
    for (int64_t i = 0; i < m; i++) {
      const float y = 1.0f / (1.0f + e[i]);
      x[i] = x[i] < 0.0f ? y : 1.0f - y;
    }
    round_all(type, x, m);
  }
}

} // namespace zmlx
