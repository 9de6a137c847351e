#include "quantized.h"

#include <cstring>

#include "codes.h"
#include "host/error.h"
#include "many.h"

namespace zmlx {

bool matrix_of(const char *kernel, const Packing &p, const void *w, const void *scales, const void *biases, int32_t scale_type, Matrix *m) {
  const auto bad = [kernel](const char *why) {
    last_error().format("%s: %s", kernel, why);
    return false;
  };
  if (p.bits != 4 && p.bits != 8) return bad("codes must have 4 or 8 bits");
  if (p.group != 32 && p.group != 64 && p.group != 128) return bad("a group must have 32, 64 or 128 codes");
  if (p.k < 0 || p.n < 0 || p.k % p.group != 0) return bad("rows must be of whole groups");
  if (p.mxfp4 ? p.bits != 4 || scale_type != zmlx_uint8 || biases : !is_float(scale_type) || !biases)
    return bad(p.mxfp4 ? "mode mxfp4 has 4 bits, scales of uint8 and no biases" : "mode affine has floating-point scales and biases");
  *m = Matrix{p.mxfp4 ? Format::mxfp4 : p.bits == 4 ? Format::affine4 : Format::affine8,
              scale_type,
              p.n,
              p.k,
              p.group,
              static_cast<const uint8_t *>(w),
              static_cast<const uint8_t *>(scales),
              static_cast<const uint8_t *>(biases)};
  return true;
}

// Codes of 4 bits are handled 32 at a time, which are four words. A vector register is
// loaded with the same four words over and over, and each lane shifts its word to
// another code: lanes 4j to 4j+3 of that row of lanes hold code j of each word. So
// element i of a block in the order of the loops is element 8*(i%4) + i/4 of x, for
// vectors of any length.
static void transpose_block(float *x) {
  float t[32];
  for (int i = 0; i < 32; i++) t[i] = x[8 * (i % 4) + i / 4];
  std::memcpy(x, t, sizeof t);
}

void Input::reserve(int64_t n) {
  if (n + 16 <= size_) return;
  memory_.reset(new float[static_cast<size_t>(n + 16)]);
  size_ = n + 16;
  // Vectors that lie in two cache lines cost twice.
  data_ = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(memory_.get()) + 63) & ~uintptr_t{63});
}

void Input::make(const Matrix &m, int32_t type, const void *x, int64_t rows) {
  k_ = m.k, many_ = false;
  reserve(rows * k_);
  load(type, x, data_, rows * k_);
  if (m.format == Format::affine8) return;
  for (int64_t i = 0; i < rows * k_; i += 32) transpose_block(data_ + i);
}

void Input::make_all(const Matrix &m, int32_t type, const void *x, int64_t rows, int workers) {
  if (!zmlx::many(rows)) return make(m, type, x, rows);
  k_ = m.k, many_ = true;
  reserve(panel_rows(rows) * k_);
  pack(m, type, x, rows, data_, workers);
}

Input &input() {
  static thread_local Input mine;
  return mine;
}

// Groups whose scales are converted at a time.
constexpr int64_t chunk = 64;

// some is how many groups the chunk that begins at group g has.
static ZMLX_INLINE int64_t some(const Matrix &m, int64_t g) { return m.groups() - g < chunk ? m.groups() - g : chunk; }

template <Format F, int Rows> static void plain(const Matrix &m, int64_t row, const float *x, float *y, int64_t stride) {
  const uint8_t *codes = m.codes + row * m.row_bytes();
  const int64_t groups = m.groups();
  const uint8_t *scales = m.scales + row * groups * m.scale_bytes(), *biases = m.biases ? m.biases + row * groups * m.scale_bytes() : nullptr;
  // Sixteen sums, so that a compiler can make vectors of them.
  float sum[Rows][16] = {};
  for (int64_t g = 0; g < groups; g++) {
    float s, b = 0;
    if constexpr (F == Format::mxfp4) {
      s = half_scale(scales[g]);
    } else {
      load(m.scale_type, scales + g * m.scale_bytes(), &s, 1);
      load(m.scale_type, biases + g * m.scale_bytes(), &b, 1);
    }
    float table[16];
    if constexpr (F != Format::affine8)
      for (int i = 0; i < 16; i++) table[i] = F == Format::mxfp4 ? e2m1[i] * s : static_cast<float>(i) * s + b;
    for (int64_t at = g * m.group; at < (g + 1) * m.group; at += 32) {
      float w[32];
      if constexpr (F == Format::affine8) {
        for (int i = 0; i < 32; i++) w[i] = static_cast<float>(codes[at + i]) * s + b;
      } else {
        uint32_t words[4];
        std::memcpy(words, codes + at / 2, sizeof words);
        for (int i = 0; i < 32; i++) w[i] = table[(words[i % 4] >> (i / 4 * 4)) & 15];
      }
      for (int r = 0; r < Rows; r++)
        for (int i = 0; i < 32; i++) sum[r][i % 16] += w[i] * x[r * m.k + at + i];
    }
  }
  for (int r = 0; r < Rows; r++) {
    float t = 0;
    for (float v : sum[r]) t += v;
    y[r * stride] = t;
  }
}

#if ZMLX_X86

// Ahead is where the rows lie that will be wanted soon: a tile of rows some kilobytes
// behind the one at work. The processor does not see by itself in which order the rows
// of a tile are read, and without this one core reads little more than half of what it
// can (docs/BENCHMARKS.md). What lies behind the end of a matrix may be asked for: a
// prefetch does not fault.
struct Ahead {
  const char *codes, *scales, *biases;
  int64_t bytes; // of a tile's scales

  ZMLX_INLINE Ahead(const Matrix &m, int64_t row, int64_t out) {
    constexpr int64_t distance = 4096;
    const int64_t tile_bytes = out * m.row_bytes() + 1; // k may be 0
    const int64_t then = row + out * ((distance + tile_bytes - 1) / tile_bytes);
    bytes = out * m.groups() * m.scale_bytes();
    codes = reinterpret_cast<const char *>(m.codes) + then * m.row_bytes();
    scales = reinterpret_cast<const char *>(m.scales) + then * m.groups() * m.scale_bytes();
    biases = m.biases ? scales - reinterpret_cast<const char *>(m.scales) + reinterpret_cast<const char *>(m.biases) : nullptr;
  }
  // fetch asks for n bytes of the tile's codes.
  ZMLX_INLINE void fetch(int64_t at, int64_t n) const {
    for (int64_t i = 0; i < n; i += 64) _mm_prefetch(codes + at + i, _MM_HINT_T0);
  }
  ZMLX_INLINE void fetch_scales() const {
    for (int64_t i = 0; i < bytes; i += 64) {
      _mm_prefetch(scales + i, _MM_HINT_T0);
      if (biases) _mm_prefetch(biases + i, _MM_HINT_T0);
    }
  }
};

// sum4 gives the sums of four vectors' lanes.
ZMLX_AVX2 static ZMLX_INLINE __m128 sum4(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 t = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
}

ZMLX_AVX512 static ZMLX_INLINE __m256 fold(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

// The products of Out rows of the matrix with Rows rows of x. The more of either, the
// less often x or the codes are loaded, as far as there are registers: 32 in AVX-512,
// 16 in AVX2. y[r * stride + o] gets row o.

template <Format F, int Out, int Rows>
ZMLX_AVX512 static void avx512(const Matrix &m, int64_t row, const float *x, float *y, int64_t stride) {
  // One row of x has few sums to wait for, and takes turns between two of each.
  constexpr int Turns = Rows == 1 ? 2 : 1;
  __m512 sum[Out][Rows][Turns];
  ZMLX_UNROLL
  for (int o = 0; o < Out; o++)
    ZMLX_UNROLL
    for (int r = 0; r < Rows; r++)
      ZMLX_UNROLL
      for (int t = 0; t < Turns; t++) sum[o][r][t] = _mm512_setzero_ps();
  const __m512 iota = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i low = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16));
  const int64_t bytes = m.row_bytes(), groups = m.groups(), width = m.scale_bytes();
  const uint8_t *codes = m.codes + row * bytes;
  constexpr int64_t step = F == Format::affine8 ? 32 : 16; // bytes of 32 codes
  const Ahead ahead(m, row, Out);
  ahead.fetch_scales();
  alignas(64) float scales[Out][chunk], biases[Out][chunk];
  for (int64_t first = 0; first < groups; first += chunk) {
    const int64_t count = some(m, first);
    for (int o = 0; o < Out; o++) {
      const int64_t at = ((row + o) * groups + first) * width;
      widen_avx512(m.scale_type, m.scales + at, scales[o], count);
      if constexpr (F != Format::mxfp4) widen_avx512(m.scale_type, m.biases + at, biases[o], count);
    }
    for (int64_t g = 0; g < count; g++) {
      __m512 scale[Out], bias[Out]; // in formats of 4 bits, scale is a table of what the 16 codes stand for
      ZMLX_UNROLL
      for (int o = 0; o < Out; o++) {
        scale[o] = _mm512_set1_ps(scales[o][g]);
        if constexpr (F == Format::affine8) bias[o] = _mm512_set1_ps(biases[o][g]);
        if constexpr (F == Format::affine4) scale[o] = _mm512_fmadd_ps(scale[o], iota, _mm512_set1_ps(biases[o][g]));
        if constexpr (F == Format::mxfp4) scale[o] = _mm512_mul_ps(scale[o], _mm512_load_ps(e2m1));
      }
      for (int64_t at = (first + g) * m.group, end = at + m.group; at < end; at += 32) {
        ahead.fetch(Out * step * (at / 32), Out * step);
        ZMLX_UNROLL
        for (int o = 0; o < Out; o++) {
          __m512 a, b;
          if constexpr (F == Format::affine8) {
            const __m128i *p = reinterpret_cast<const __m128i *>(codes + o * bytes + at);
            a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p))), scale[o], bias[o]);
            b = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p + 1))), scale[o], bias[o]);
          } else {
            // A permutation looks at the lowest 4 bits of an index only: nothing is to be masked.
            const __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + o * bytes + at / 2)));
            a = _mm512_permutexvar_ps(_mm512_srlv_epi32(q, low), scale[o]);
            b = _mm512_permutexvar_ps(_mm512_srlv_epi32(q, high), scale[o]);
          }
          ZMLX_UNROLL
          for (int r = 0; r < Rows; r++) {
            const float *v = x + r * m.k + at;
            sum[o][r][0] = _mm512_fmadd_ps(a, _mm512_loadu_ps(v), sum[o][r][0]);
            sum[o][r][Turns - 1] = _mm512_fmadd_ps(b, _mm512_loadu_ps(v + 16), sum[o][r][Turns - 1]);
          }
        }
      }
    }
  }
  ZMLX_UNROLL
  for (int r = 0; r < Rows; r++) {
    __m256 t[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    ZMLX_UNROLL
    for (int o = 0; o < Out; o++) t[o] = fold(Turns == 1 ? sum[o][r][0] : _mm512_add_ps(sum[o][r][0], sum[o][r][Turns - 1]));
    const __m128 all = sum4(t[0], t[1], t[2], t[3]);
    _mm_mask_storeu_ps(y + r * stride, (1 << Out) - 1, all);
  }
}

template <Format F, int Out, int Rows>
ZMLX_AVX2 static void avx2(const Matrix &m, int64_t row, const float *x, float *y, int64_t stride) {
  __m256 sum[Out][Rows];
  ZMLX_UNROLL
  for (int o = 0; o < Out; o++)
    ZMLX_UNROLL
    for (int r = 0; r < Rows; r++) sum[o][r] = _mm256_setzero_ps();
  const __m256i shift = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
  const __m256i nibble = _mm256_set1_epi32(15);
  const int64_t bytes = m.row_bytes(), groups = m.groups(), width = m.scale_bytes();
  const uint8_t *codes = m.codes + row * bytes;
  constexpr int64_t step = F == Format::affine8 ? 32 : 16; // bytes of 32 codes
  const Ahead ahead(m, row, Out);
  ahead.fetch_scales();
  float scales[Out][chunk], biases[Out][chunk];
  for (int64_t first = 0; first < groups; first += chunk) {
    const int64_t count = some(m, first);
    for (int o = 0; o < Out; o++) {
      const int64_t at = ((row + o) * groups + first) * width;
      widen_avx2(m.scale_type, m.scales + at, scales[o], count);
      if constexpr (F != Format::mxfp4) widen_avx2(m.scale_type, m.biases + at, biases[o], count);
    }
    for (int64_t g = 0; g < count; g++) {
      for (int64_t at = (first + g) * m.group, end = at + m.group; at < end; at += 32) {
        ahead.fetch(Out * step * (at / 32), Out * step);
        ZMLX_UNROLL
        for (int o = 0; o < Out; o++) {
          const __m256 scale = _mm256_broadcast_ss(&scales[o][g]);
          __m256i q = _mm256_setzero_si256();
          if constexpr (F != Format::affine8) {
            q = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + o * bytes + at / 2)));
            q = _mm256_srlv_epi32(q, shift);
          }
          ZMLX_UNROLL
          for (int j = 0; j < 4; j++) {
            __m256 w;
            if constexpr (F == Format::affine8) {
              const __m128i c = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes + o * bytes + at + 8 * j));
              w = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(c)), scale, _mm256_broadcast_ss(&biases[o][g]));
            } else if constexpr (F == Format::affine4) {
              const __m256i c = _mm256_and_si256(_mm256_srli_epi32(q, 8 * j), nibble);
              w = _mm256_fmadd_ps(_mm256_cvtepi32_ps(c), scale, _mm256_broadcast_ss(&biases[o][g]));
            } else {
              // Three bits choose one of eight magnitudes, the fourth is the sign.
              const __m256i c = _mm256_srli_epi32(q, 8 * j);
              const __m256 magnitude = _mm256_permutevar8x32_ps(_mm256_mul_ps(scale, _mm256_load_ps(e2m1)), c);
              const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(c, 3), 31);
              w = _mm256_xor_ps(magnitude, _mm256_castsi256_ps(sign));
            }
            ZMLX_UNROLL
            for (int r = 0; r < Rows; r++) sum[o][r] = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + r * m.k + at + 8 * j), sum[o][r]);
          }
        }
      }
    }
  }
  ZMLX_UNROLL
  for (int r = 0; r < Rows; r++) {
    __m256 t[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    ZMLX_UNROLL
    for (int o = 0; o < Out; o++) t[o] = sum[o][r];
    float all[4];
    _mm_storeu_ps(all, sum4(t[0], t[1], t[2], t[3]));
    for (int o = 0; o < Out; o++) y[r * stride + o] = all[o];
  }
}

#endif

// rows_of computes count rows with a kernel for Out at a time, and the rest one by one.
template <int Out, typename Many, typename One>
static ZMLX_INLINE void rows_of(int64_t first, int64_t count, float *y, Many many, One one) {
  int64_t i = 0;
  for (; i + Out <= count; i += Out) many(first + i, y + i);
  for (; i < count; i++) one(first + i, y + i);
}

template <Format F, int Rows> static void products(const Matrix &m, int64_t first, int64_t count, const float *x, float *y, int64_t stride) {
  const auto each = [&]<int Out>(auto body_many, auto body_one) {
    rows_of<Out>(
        first, count, y, [&](int64_t row, float *to) { body_many(m, row, x, to, stride); },
        [&](int64_t row, float *to) { body_one(m, row, x, to, stride); });
  };
#if ZMLX_X86
  constexpr int wide = Rows <= 4 ? 4 : 2, narrow = Rows <= 2 ? 4 : Rows <= 4 ? 2 : 1;
  switch (isa()) {
  case Isa::avx512: return each.template operator()<wide>(avx512<F, wide, Rows>, avx512<F, 1, Rows>);
  case Isa::avx2: return each.template operator()<narrow>(avx2<F, narrow, Rows>, avx2<F, 1, Rows>);
  case Isa::plain: break;
  }
#endif
  each.template operator()<1>(plain<F, Rows>, plain<F, Rows>);
}

template <Format F> static void any_rows(const Matrix &m, int64_t first, int64_t count, const float *x, int64_t rows, float *y, int64_t stride) {
  // Tiles of 8, 4, 2 and 1 rows: each reads the codes again.
  const auto step = [&](int64_t n) { rows -= n, x += n * m.k, y += n * stride; };
  for (; rows >= 8; step(8)) products<F, 8>(m, first, count, x, y, stride);
  if (rows >= 4) products<F, 4>(m, first, count, x, y, stride), step(4);
  if (rows >= 2) products<F, 2>(m, first, count, x, y, stride), step(2);
  if (rows >= 1) products<F, 1>(m, first, count, x, y, stride);
}

void multiply(const Matrix &m, int64_t first, int64_t count, const float *x, int64_t rows, float *y, int64_t stride) {
  switch (m.format) {
  case Format::affine4: return any_rows<Format::affine4>(m, first, count, x, rows, y, stride);
  case Format::affine8: return any_rows<Format::affine8>(m, first, count, x, rows, y, stride);
  case Format::mxfp4: return any_rows<Format::mxfp4>(m, first, count, x, rows, y, stride);
  }
}

} // namespace zmlx
