#include "many.h"

#include <algorithm>
#include <cstring>

#include "codes.h"
#include "parallel.h"

namespace zmlx {

namespace {

// Rows of the matrix that are decoded at a time; codes of each, fewer where whole groups
// want it; and what lies between rows: a little more, so that they do not all fall into
// the same lines of a cache.
constexpr int64_t deep = 640, apart = deep + 16;
// The longest vector is 16 floats, and two are a panel's width.
constexpr int64_t widest = 32;

static_assert(many_block % wide == 0 && many_tile % widest == 0 && many_block <= block);

// Order of a row's elements. Codes of 4 bits come in the order that quantized.cpp has:
// element e of 32 is number place(e).
template <bool Narrow> constexpr int64_t place(int64_t e) { return Narrow ? e / 32 * 32 + 4 * (e % 8) + e % 32 / 8 : e; }

// Sums of a panel: those of row o of the matrix are at o * width of the panel.
enum class Sums { first, further };

// Wanted are the lines of memory of the rows that will be decoded next. Loops ask for them
// one by one while others meet the panels: all at once, they would keep what these need
// waiting. What lies behind a matrix may be asked for: a prefetch does not fault.
struct Wanted {
  // Codes of 8 bits, with scales and biases of float32.
  uintptr_t line[wide * (deep / 64 + 1 + 2 * (deep / 32 * 4 / 64 + 2))];
  int64_t count = 0;

  Wanted(const Matrix &m, int64_t row, int64_t first, int64_t last) {
    const int64_t bytes = m.row_bytes() / std::max<int64_t>(1, m.groups()), scale = m.scale_bytes();
    for (int64_t at = row * m.groups(), end = at + wide * m.groups(); at < end; at += m.groups()) add(m.codes, (at + first) * bytes, (last - first) * bytes);
    for (const uint8_t *p : {m.scales, m.biases})
      for (int64_t at = row * m.groups(), end = at + wide * m.groups(); p && at < end; at += m.groups()) add(p, (at + first) * scale, (last - first) * scale);
  }

  // part is what to ask for during one of some parts of the work.
  const uintptr_t *part(int64_t i, int64_t parts) const { return line + count * i / parts; }

 private:
  void add(const uint8_t *p, int64_t at, int64_t n) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(at); // maybe no pointer into p any more
    for (uintptr_t a = begin & ~uintptr_t{63}; a < begin + static_cast<uintptr_t>(n); a += 64)
      if (count == 0 || line[count - 1] != a) line[count++] = a; // rows follow each other
  }
};

// Loops are what is done with one kind of processor.
struct Loops {
  int64_t lanes;              // of a vector
  bool (*pays)(int64_t rows); // whether panels do: measured, on a Zen 5
  // transpose packs lanes rows of n elements, stride apart, into to, width apart.
  void (*transpose[2])(const float *x, int64_t stride, int64_t rows, int64_t n, float *to, int64_t width); // whole codes, narrow codes
  // decode gives groups [first, last) of a row as floats.
  void (*decode[3])(const Matrix &m, int64_t row, int64_t first, int64_t last, float *to);
  // sum adds up n products for each of `wide` rows and all rows of a panel, of one vector or two.
  void (*sum[2])(const float *w, const float *x, int64_t n, float *to, Sums which, const uintptr_t *next, const uintptr_t *end);
};

// What any processor has: vectors of four floats.

typedef float float4 __attribute__((vector_size(16)));

ZMLX_INLINE float4 four(const float *p) {
  float4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
ZMLX_INLINE void four(float *p, float4 v) { std::memcpy(p, &v, sizeof v); }

template <bool Narrow> void transpose_plain(const float *x, int64_t stride, int64_t rows, int64_t n, float *to, int64_t width) {
  for (int64_t r = 0; r < 4; r++) {
    const float *from = x + std::min(r, rows - 1) * stride; // a row that is not there is anything
    for (int64_t i = 0; i < n; i++) to[place<Narrow>(i) * width + r] = from[i];
  }
}

template <Format F> void decode_plain(const Matrix &m, int64_t row, int64_t first, int64_t last, float *to) {
  const uint8_t *codes = m.codes + row * m.row_bytes();
  for (int64_t g = first; g < last; g++) {
    const int64_t at = (row * m.groups() + g) * m.scale_bytes();
    float s, b = 0;
    if constexpr (F == Format::mxfp4) {
      s = half_scale(m.scales[at]);
    } else {
      load(m.scale_type, m.scales + at, &s, 1);
      load(m.scale_type, m.biases + at, &b, 1);
    }
    float table[16];
    if constexpr (F != Format::affine8)
      for (int i = 0; i < 16; i++) table[i] = F == Format::mxfp4 ? e2m1[i] * s : static_cast<float>(i) * s + b;
    for (int64_t k = g * m.group; k < (g + 1) * m.group; k += 32, to += 32) {
      if constexpr (F == Format::affine8) {
        for (int i = 0; i < 32; i++) to[i] = static_cast<float>(codes[k + i]) * s + b;
      } else {
        uint32_t words[4];
        std::memcpy(words, codes + k / 2, sizeof words);
        for (int i = 0; i < 32; i++) to[i] = table[(words[i % 4] >> (i / 4 * 4)) & 15];
      }
    }
  }
}

template <int V> void sum_plain(const float *w, const float *x, int64_t n, float *to, Sums which, const uintptr_t *, const uintptr_t *) {
  constexpr int out = 4, width = 4 * V;
  for (int first = 0; first < wide; first += out, w += out * apart, to += out * width) {
    float4 sum[out][V] = {};
    const float *v = x;
    for (int64_t i = 0; i < n; i++, v += width) {
      ZMLX_UNROLL
      for (int o = 0; o < out; o++) {
        const float one = w[o * apart + i];
        ZMLX_UNROLL
        for (int j = 0; j < V; j++) sum[o][j] += float4{one, one, one, one} * four(v + 4 * j);
      }
    }
    for (int o = 0; o < out; o++)
      for (int j = 0; j < V; j++) {
        float *p = to + o * width + 4 * j;
        four(p, which == Sums::first ? sum[o][j] : four(p) + sum[o][j]);
      }
  }
}

const Loops plain_loops{4,
                        [](int64_t rows) { return rows >= 2; },
                        {transpose_plain<false>, transpose_plain<true>},
                        {decode_plain<Format::affine4>, decode_plain<Format::affine8>, decode_plain<Format::mxfp4>},
                        {sum_plain<1>, sum_plain<2>}};

#if ZMLX_X86

template <bool Narrow> ZMLX_AVX2 void transpose_avx2(const float *x, int64_t stride, int64_t rows, int64_t n, float *to, int64_t width) {
  const float *row[8];
  for (int64_t r = 0; r < 8; r++) row[r] = x + std::min(r, rows - 1) * stride;
  for (int64_t i = 0; i < n; i += 8) {
    __m256 a[8], b[8];
    ZMLX_UNROLL
    for (int r = 0; r < 8; r++) a[r] = _mm256_loadu_ps(row[r] + i);
    ZMLX_UNROLL
    for (int r = 0; r < 8; r += 4) {
      const __m256 p = _mm256_unpacklo_ps(a[r], a[r + 1]), q = _mm256_unpackhi_ps(a[r], a[r + 1]);
      const __m256 s = _mm256_unpacklo_ps(a[r + 2], a[r + 3]), t = _mm256_unpackhi_ps(a[r + 2], a[r + 3]);
      b[r] = _mm256_shuffle_ps(p, s, 0x44), b[r + 1] = _mm256_shuffle_ps(p, s, 0xee);
      b[r + 2] = _mm256_shuffle_ps(q, t, 0x44), b[r + 3] = _mm256_shuffle_ps(q, t, 0xee);
    }
    ZMLX_UNROLL
    for (int c = 0; c < 4; c++) {
      _mm256_store_ps(to + place<Narrow>(i + c) * width, _mm256_permute2f128_ps(b[c], b[c + 4], 0x20));
      _mm256_store_ps(to + place<Narrow>(i + c + 4) * width, _mm256_permute2f128_ps(b[c], b[c + 4], 0x31));
    }
  }
}

template <Format F> ZMLX_AVX2 void decode_avx2(const Matrix &m, int64_t row, int64_t first, int64_t last, float *to) {
  const int64_t group = m.group;
  const uint8_t *codes = m.codes + row * m.row_bytes() + first * group / (F == Format::affine8 ? 1 : 2);
  const __m256i shift = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4), nibble = _mm256_set1_epi32(15);
  float scales[deep / 32], biases[deep / 32];
  const int64_t at = (row * m.groups() + first) * m.scale_bytes();
  widen_avx2(m.scale_type, m.scales + at, scales, last - first);
  if constexpr (F != Format::mxfp4) widen_avx2(m.scale_type, m.biases + at, biases, last - first);
  for (int64_t g = 0; g < last - first; g++) {
    const __m256 scale = _mm256_set1_ps(scales[g]);
    __m256 bias = _mm256_setzero_ps(), magnitudes = bias;
    if constexpr (F == Format::mxfp4) magnitudes = _mm256_mul_ps(scale, _mm256_load_ps(e2m1));
    else bias = _mm256_set1_ps(biases[g]);
    for (const float *end = to + group; to < end; to += 32, codes += F == Format::affine8 ? 32 : 16) {
      __m256i q = _mm256_setzero_si256();
      if constexpr (F != Format::affine8) {
        q = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes)));
        q = _mm256_srlv_epi32(q, shift);
      }
      ZMLX_UNROLL
      for (int j = 0; j < 4; j++) {
        __m256 w;
        if constexpr (F == Format::affine8) {
          const __m128i c = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes + 8 * j));
          w = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(c)), scale, bias);
        } else if constexpr (F == Format::affine4) {
          w = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(q, 8 * j), nibble)), scale, bias);
        } else {
          // Three bits choose one of eight magnitudes, the fourth is the sign.
          const __m256i c = _mm256_srli_epi32(q, 8 * j);
          const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(c, 3), 31);
          w = _mm256_xor_ps(_mm256_permutevar8x32_ps(magnitudes, c), _mm256_castsi256_ps(sign));
        }
        _mm256_storeu_ps(to + 8 * j, w);
      }
    }
  }
}

template <int V> ZMLX_AVX2 void sum_avx2(const float *w, const float *x, int64_t n, float *to, Sums which, const uintptr_t *next, const uintptr_t *end) {
  constexpr int out = 6, width = 8 * V; // 12 sums of the 16 registers
  for (int first = 0; first < wide; first += out, w += out * apart, to += out * width) {
    __m256 sum[out][V];
    ZMLX_UNROLL
    for (int o = 0; o < out; o++)
      ZMLX_UNROLL
      for (int j = 0; j < V; j++) sum[o][j] = _mm256_setzero_ps();
    const float *v = x;
    for (int64_t i = 0; i < n; i++, v += width) {
      if (i % 4 == 0 && next != end) _mm_prefetch(reinterpret_cast<const char *>(*next++), _MM_HINT_T0);
      __m256 a[V];
      ZMLX_UNROLL
      for (int j = 0; j < V; j++) a[j] = _mm256_load_ps(v + 8 * j);
      ZMLX_UNROLL
      for (int o = 0; o < out; o++) {
        const __m256 one = _mm256_broadcast_ss(w + o * apart + i);
        ZMLX_UNROLL
        for (int j = 0; j < V; j++) sum[o][j] = _mm256_fmadd_ps(one, a[j], sum[o][j]);
      }
    }
    ZMLX_UNROLL
    for (int o = 0; o < out; o++)
      ZMLX_UNROLL
      for (int j = 0; j < V; j++) {
        float *p = to + o * width + 8 * j;
        _mm256_store_ps(p, which == Sums::first ? sum[o][j] : _mm256_add_ps(_mm256_load_ps(p), sum[o][j]));
      }
  }
}

const Loops avx2_loops{8,
                       [](int64_t rows) { return rows >= 12; },
                       {transpose_avx2<false>, transpose_avx2<true>},
                       {decode_avx2<Format::affine4>, decode_avx2<Format::affine8>, decode_avx2<Format::mxfp4>},
                       {sum_avx2<1>, sum_avx2<2>}};

template <bool Narrow> ZMLX_AVX512 void transpose_avx512(const float *x, int64_t stride, int64_t rows, int64_t n, float *to, int64_t width) {
  const float *row[16];
  for (int64_t r = 0; r < 16; r++) row[r] = x + std::min(r, rows - 1) * stride;
  for (int64_t i = 0; i < n; i += 16) {
    // Lane l of b[4 * q + c] is columns 4 * l + c of rows 4 * q to 4 * q + 3.
    __m512 b[16];
    ZMLX_UNROLL
    for (int q = 0; q < 4; q++) {
      const __m512 r0 = _mm512_loadu_ps(row[4 * q] + i), r1 = _mm512_loadu_ps(row[4 * q + 1] + i);
      const __m512 r2 = _mm512_loadu_ps(row[4 * q + 2] + i), r3 = _mm512_loadu_ps(row[4 * q + 3] + i);
      const __m512 s = _mm512_unpacklo_ps(r0, r1), t = _mm512_unpackhi_ps(r0, r1);
      const __m512 u = _mm512_unpacklo_ps(r2, r3), v = _mm512_unpackhi_ps(r2, r3);
      b[4 * q] = _mm512_shuffle_ps(s, u, 0x44), b[4 * q + 1] = _mm512_shuffle_ps(s, u, 0xee);
      b[4 * q + 2] = _mm512_shuffle_ps(t, v, 0x44), b[4 * q + 3] = _mm512_shuffle_ps(t, v, 0xee);
    }
    ZMLX_UNROLL
    for (int c = 0; c < 4; c++) {
      const __m512 s = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x44), t = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xee);
      const __m512 u = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x44), v = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xee);
      _mm512_store_ps(to + place<Narrow>(i + c) * width, _mm512_shuffle_f32x4(s, u, 0x88));
      _mm512_store_ps(to + place<Narrow>(i + 4 + c) * width, _mm512_shuffle_f32x4(s, u, 0xdd));
      _mm512_store_ps(to + place<Narrow>(i + 8 + c) * width, _mm512_shuffle_f32x4(t, v, 0x88));
      _mm512_store_ps(to + place<Narrow>(i + 12 + c) * width, _mm512_shuffle_f32x4(t, v, 0xdd));
    }
  }
}

template <Format F> ZMLX_AVX512 void decode_avx512(const Matrix &m, int64_t row, int64_t first, int64_t last, float *to) {
  const int64_t group = m.group;
  const uint8_t *codes = m.codes + row * m.row_bytes() + first * group / (F == Format::affine8 ? 1 : 2);
  const __m512 iota = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i low = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16));
  float scales[(deep + 511) / 512 * 16], biases[(deep + 511) / 512 * 16]; // room for whole vectors
  const int64_t at = (row * m.groups() + first) * m.scale_bytes();
  widen_avx512(m.scale_type, m.scales + at, scales, last - first);
  if constexpr (F != Format::mxfp4) widen_avx512(m.scale_type, m.biases + at, biases, last - first);
  for (int64_t g = 0; g < last - first; g++) {
    __m512 scale = _mm512_set1_ps(scales[g]), bias = _mm512_setzero_ps(); // in formats of 4 bits, scale is a table of what the 16 codes stand for
    if constexpr (F == Format::affine8) bias = _mm512_set1_ps(biases[g]);
    if constexpr (F == Format::affine4) scale = _mm512_fmadd_ps(scale, iota, _mm512_set1_ps(biases[g]));
    if constexpr (F == Format::mxfp4) scale = _mm512_mul_ps(scale, _mm512_load_ps(e2m1));
    for (const float *end = to + group; to < end; to += 32, codes += F == Format::affine8 ? 32 : 16) {
      __m512 a, b;
      if constexpr (F == Format::affine8) {
        const __m128i *p = reinterpret_cast<const __m128i *>(codes);
        a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p))), scale, bias);
        b = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p + 1))), scale, bias);
      } else {
        // A permutation looks at the lowest 4 bits of an index only: nothing is to be masked.
        const __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes)));
        a = _mm512_permutexvar_ps(_mm512_srlv_epi32(q, low), scale);
        b = _mm512_permutexvar_ps(_mm512_srlv_epi32(q, high), scale);
      }
      _mm512_storeu_ps(to, a);
      _mm512_storeu_ps(to + 16, b);
    }
  }
}

template <int V> ZMLX_AVX512 void sum_avx512(const float *w, const float *x, int64_t n, float *to, Sums which, const uintptr_t *next, const uintptr_t *end) {
  constexpr int width = 16 * V; // 24 sums of the 32 registers
  __m512 sum[wide][V];
  ZMLX_UNROLL
  for (int o = 0; o < wide; o++)
    ZMLX_UNROLL
    for (int j = 0; j < V; j++) sum[o][j] = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i++, x += width) {
    if (i % 4 == 0 && next != end) _mm_prefetch(reinterpret_cast<const char *>(*next++), _MM_HINT_T0);
    __m512 a[V];
    ZMLX_UNROLL
    for (int j = 0; j < V; j++) a[j] = _mm512_load_ps(x + 16 * j);
    ZMLX_UNROLL
    for (int o = 0; o < wide; o++) {
      const __m512 one = _mm512_set1_ps(w[o * apart + i]);
      ZMLX_UNROLL
      for (int j = 0; j < V; j++) sum[o][j] = _mm512_fmadd_ps(one, a[j], sum[o][j]);
    }
  }
  ZMLX_UNROLL
  for (int o = 0; o < wide; o++)
    ZMLX_UNROLL
    for (int j = 0; j < V; j++) {
      float *p = to + o * width + 16 * j;
      _mm512_store_ps(p, which == Sums::first ? sum[o][j] : _mm512_add_ps(_mm512_load_ps(p), sum[o][j]));
    }
}

const Loops avx512_loops{16,
                         [](int64_t rows) { return rows >= 14 && (rows <= 16 || rows > 20); },
                         {transpose_avx512<false>, transpose_avx512<true>},
                         {decode_avx512<Format::affine4>, decode_avx512<Format::affine8>, decode_avx512<Format::mxfp4>},
                         {sum_avx512<1>, sum_avx512<2>}};

#endif

const Loops &loops() {
#if ZMLX_X86
  switch (isa()) {
  case Isa::avx512: return avx512_loops;
  case Isa::avx2: return avx2_loops;
  case Isa::plain: break;
  }
#endif
  return plain_loops;
}

// width_at is how wide the panel is whose first row has rows behind it, itself included.
int64_t width_at(const Loops &l, int64_t rows) { return rows > l.lanes ? 2 * l.lanes : l.lanes; }

// spread gives y the sums of a panel.
void spread(const float *sums, int64_t width, float *y, int64_t stride) {
  for (int64_t r = 0; r < width; r += 4)
    for (int64_t o = 0; o < wide; o += 4) {
      const float *p = sums + o * width + r;
      const float4 a = four(p), b = four(p + width), c = four(p + 2 * width), d = four(p + 3 * width);
      const float4 s = __builtin_shufflevector(a, b, 0, 4, 1, 5), t = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const float4 u = __builtin_shufflevector(c, d, 0, 4, 1, 5), v = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      float *q = y + r * stride + o;
      four(q, __builtin_shufflevector(s, u, 0, 1, 4, 5));
      four(q + stride, __builtin_shufflevector(s, u, 2, 3, 6, 7));
      four(q + 2 * stride, __builtin_shufflevector(t, v, 0, 1, 4, 5));
      four(q + 3 * stride, __builtin_shufflevector(t, v, 2, 3, 6, 7));
    }
}

} // namespace

bool many(int64_t rows) { return loops().pays(rows); }

int64_t panel_rows(int64_t rows) { return (rows + loops().lanes - 1) / loops().lanes * loops().lanes; }

void pack(const Matrix &m, int32_t type, const void *x, int64_t rows, float *to, int workers) {
  const Loops &l = loops();
  const auto transpose = l.transpose[m.format != Format::affine8];
  constexpr int64_t worth = 32 << 10; // elements that are worth waking a thread for
  parallel(workers_for(workers, rows * m.k, worth), rows, 2 * l.lanes, [&](int64_t first, int64_t last) {
    const int64_t width = width_at(l, last - first);
    float *panel = to + first * m.k;
    for (int64_t r = first; r < last; r += l.lanes, panel += l.lanes) {
      const int64_t some = std::min(l.lanes, last - r);
      if (type == zmlx_float32) {
        transpose(static_cast<const float *>(x) + r * m.k, m.k, some, m.k, panel, width);
        continue;
      }
      constexpr int64_t step = 256;
      float wider[widest / 2 * step];
      for (int64_t k = 0; k < m.k; k += step) {
        const int64_t n = std::min(step, m.k - k);
        for (int64_t i = 0; i < some; i++) load(type, at(x, type, (r + i) * m.k + k), wider + i * step, n);
        transpose(wider, step, some, n, panel + k * width, width);
      }
    }
  });
}

void multiply_many(const Matrix &m, int64_t first, int64_t count, const float *panels, int64_t rows, float *y, int64_t stride) {
  const Loops &l = loops();
  const auto decode = l.decode[static_cast<int>(m.format)];
  alignas(64) float w[wide * apart], sums[many_block * many_tile];
  // All parts of a row have about as many groups.
  const int64_t groups = m.groups(), parts = std::max<int64_t>(1, (groups * m.group + deep - 1) / deep), part = (groups + parts - 1) / parts;
  const int64_t all = (rows + 2 * l.lanes - 1) / (2 * l.lanes); // panels
  int64_t g = 0;
  do {
    const int64_t end = std::min(groups, g + part), n = (end - g) * m.group;
    float *to = sums;
    for (int64_t o = 0; o < count; o += wide) {
      // Rows behind the last one are the last one again, and nobody reads their sums.
      for (int64_t i = 0; i < wide; i++) decode(m, first + std::min(o + i, count - 1), g, end, w + i * apart);
      const Wanted next = o + wide < count ? Wanted(m, first + o + wide, g, end)
                          : end < groups   ? Wanted(m, first, end, std::min(groups, end + part))
                                           : Wanted(m, first + count, 0, part);
      int64_t panel = 0;
      for (int64_t r = 0, width; r < rows; r += width, panel++) {
        width = width_at(l, rows - r);
        l.sum[width > l.lanes](w, panels + r * m.k + g * m.group * width, n, to, g == 0 ? Sums::first : Sums::further, next.part(panel, all),
                                 next.part(panel + 1, all));
        if (end == groups) spread(to, width, y + r * stride + o, stride);
        to += wide * width;
      }
    }
    g = end;
  } while (g < groups);
}

} // namespace zmlx
