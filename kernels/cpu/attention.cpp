#include "attention.h"

#include <algorithm>
#include <cmath>

#include "cpu.h"
#include "elements.h"
#include "exp.h"
#include "room.h"

namespace zmlx {

// Rows that are looked at together, so that their scores fit on the stack.
constexpr int64_t most = 64;

// The loops come in two kinds. score gives q · k of n rows for one head; add gives
// value += sum of p[i] * v[i].

static void score(const float *q, const float *k, int64_t n, int64_t d, float *s) {
  for (int64_t i = 0; i < n; i++) {
    float part[8] = {};
    for (int64_t c = 0; c < d; c += 8)
      for (int64_t j = 0; j < 8; j++) part[j] += q[c + j] * k[i * d + c + j];
    s[i] = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
  }
}

static void add(const float *p, const float *v, int64_t n, int64_t dv, float *value) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < dv; c++) value[c] += p[i] * v[i * dv + c];
}

#if ZMLX_X86

// Eight rows at a time, so that no sum waits for the one before; behind the last row, that
// one is read again.
ZMLX_AVX2 static void score_avx2(const float *q, const float *k, int64_t n, int64_t d, float *s) {
  for (int64_t i = 0; i < n; i += 8) {
    const float *row[8];
    __m256 sum[8];
    ZMLX_UNROLL
    for (int r = 0; r < 8; r++) {
      row[r] = k + std::min(i + r, n - 1) * d;
      sum[r] = _mm256_setzero_ps();
    }
    for (int64_t c = 0; c < d; c += 8) {
      const __m256 x = _mm256_loadu_ps(q + c);
      ZMLX_UNROLL
      for (int r = 0; r < 8; r++) sum[r] = _mm256_fmadd_ps(x, _mm256_loadu_ps(row[r] + c), sum[r]);
    }
    const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(sum[0], sum[1]), _mm256_hadd_ps(sum[2], sum[3]));
    const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(sum[4], sum[5]), _mm256_hadd_ps(sum[6], sum[7]));
    const __m256 all = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    _mm256_storeu_ps(s + i, all); // s has room for whole vectors
  }
}

ZMLX_AVX2 static void add_avx2(const float *p, const float *v, int64_t n, int64_t dv, float *value) {
  int64_t c = 0;
  for (; c + 64 <= dv; c += 64) {
    __m256 sum[8];
    ZMLX_UNROLL
    for (int j = 0; j < 8; j++) sum[j] = _mm256_loadu_ps(value + c + 8 * j);
    for (int64_t i = 0; i < n; i++) {
      const __m256 x = _mm256_broadcast_ss(p + i);
      ZMLX_UNROLL
      for (int j = 0; j < 8; j++) sum[j] = _mm256_fmadd_ps(x, _mm256_loadu_ps(v + i * dv + c + 8 * j), sum[j]);
    }
    ZMLX_UNROLL
    for (int j = 0; j < 8; j++) _mm256_storeu_ps(value + c + 8 * j, sum[j]);
  }
  for (; c < dv; c += 8) {
    __m256 sum = _mm256_loadu_ps(value + c);
    for (int64_t i = 0; i < n; i++) sum = _mm256_fmadd_ps(_mm256_broadcast_ss(p + i), _mm256_loadu_ps(v + i * dv + c), sum);
    _mm256_storeu_ps(value + c, sum);
  }
}

#endif

// rows are n rows as floats: where they lie, or a copy in the calling thread's room.
template <int Number> static const float *rows(int32_t type, const void *from, int64_t first, int64_t n, int64_t width) {
  if (type == zmlx_float32) return static_cast<const float *>(from) + first * width;
  float *to = room<Number>(most * width);
  load(type, at(from, type, first * width), to, n * width);
  return to;
}

void see(const Cache &c, int64_t first, int64_t last, const float *q, int64_t heads, Seen *seen) {
#if ZMLX_X86
  const bool wide = isa() != Isa::plain;
#else
  constexpr bool wide = false;
#endif
  for (; first < last; first += most) {
    const int64_t n = std::min(most, last - first);
    const float *k = rows<4>(c.type, c.k, first, n, c.d), *v = rows<5>(c.type, c.v, first, n, c.dv);
    for (int64_t h = 0; h < heads; h++) {
      Seen &a = seen[h];
      float p[most + 1];
#if ZMLX_X86
      if (wide) score_avx2(q + h * c.d, k, n, c.d, p);
#endif
      if (!wide) score(q + h * c.d, k, n, c.d, p);
      float top = a.top;
      for (int64_t i = 0; i < n; i++) top = std::max(top, p[i]); // NaN is left to the sum
      for (int64_t i = 0; i < n; i++) p[i] -= top;
      p[n] = a.top - top;
      exp_all(p, n + 1);
      const float less = a.top == top ? 1.0f : p[n]; // also where both are infinite
      float part[8] = {};
      int64_t i = 0;
      for (; i + 8 <= n; i += 8)
        for (int64_t j = 0; j < 8; j++) part[j] += p[i + j];
      for (; i < n; i++) part[i % 8] += p[i];
      a.top = top;
      a.sum *= less;
      for (float x : part) a.sum += x;
      if (less != 1.0f)
        for (int64_t j = 0; j < c.dv; j++) a.value[j] *= less;
#if ZMLX_X86
      if (wide) add_avx2(p, v, n, c.dv, a.value);
#endif
      if (!wide) add(p, v, n, c.dv, a.value);
    }
  }
}

void merge(Seen *a, const Seen &b, int64_t dv) {
  const float top = std::max(a->top, b.top);
  float f[2] = {a->top - top, b.top - top};
  exp_all(f, 2);
  if (a->top == top) f[0] = 1.0f;
  if (b.top == top) f[1] = 1.0f;
  a->top = top;
  a->sum = a->sum * f[0] + b.sum * f[1];
  for (int64_t i = 0; i < dv; i++) a->value[i] = a->value[i] * f[0] + b.value[i] * f[1];
}

} // namespace zmlx
