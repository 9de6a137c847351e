#include "attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu.h"
#include "elements.h"
#include "exp.h"
#include "parallel.h"
#include "room.h"

namespace zmlx {

// Rows that are looked at together: their scores fit on the stack, and where several heads
// read them, they stay in the first cache meanwhile.
constexpr int64_t most = 64;
static int64_t together(int64_t width) { return std::clamp<int64_t>(8192 / width / 8 * 8, 8, most); }

// Rows are floats that lie step apart.
struct Rows {
  const float *at;
  int64_t step;
  const float *operator[](int64_t i) const { return at + i * step; }
};

// The loops come in two kinds. score gives q · k of n rows for one head; add gives
// value += sum of p[i] * v[i]. d and dv are multiples of 8.

static void score(const float *q, Rows k, int64_t n, int64_t d, float *s) {
  for (int64_t i = 0; i < n; i++) {
    float part[8] = {};
    for (int64_t c = 0; c < d; c += 8)
      for (int64_t j = 0; j < 8; j++) part[j] += q[c + j] * k[i][c + j];
    s[i] = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
  }
}

static void add(const float *p, Rows v, int64_t n, int64_t dv, float *value) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < dv; c++) value[c] += p[i] * v[i][c];
}

#if ZMLX_X86

// Eight rows at a time, so that no sum waits for the one before; behind the last row, that
// one is read again.
ZMLX_AVX2 static void score_avx2(const float *q, Rows k, int64_t n, int64_t d, float *s) {
  for (int64_t i = 0; i < n; i += 8) {
    const float *row[8];
    __m256 sum[8];
    ZMLX_UNROLL
    for (int r = 0; r < 8; r++) {
      row[r] = k[std::min(i + r, n - 1)];
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

ZMLX_AVX2 static void add_avx2(const float *p, Rows v, int64_t n, int64_t dv, float *value) {
  int64_t c = 0;
  for (; c + 64 <= dv; c += 64) {
    __m256 sum[8];
    ZMLX_UNROLL
    for (int j = 0; j < 8; j++) sum[j] = _mm256_loadu_ps(value + c + 8 * j);
    for (int64_t i = 0; i < n; i++) {
      const __m256 x = _mm256_broadcast_ss(p + i);
      ZMLX_UNROLL
      for (int j = 0; j < 8; j++) sum[j] = _mm256_fmadd_ps(x, _mm256_loadu_ps(v[i] + c + 8 * j), sum[j]);
    }
    ZMLX_UNROLL
    for (int j = 0; j < 8; j++) _mm256_storeu_ps(value + c + 8 * j, sum[j]);
  }
  for (; c < dv; c += 8) {
    __m256 sum = _mm256_loadu_ps(value + c);
    for (int64_t i = 0; i < n; i++) sum = _mm256_fmadd_ps(_mm256_broadcast_ss(p + i), _mm256_loadu_ps(v[i] + c), sum);
    _mm256_storeu_ps(value + c, sum);
  }
}

#endif

// unpack gives n elements of words of codes as floats; n is whole words.

static void unpack(const uint32_t *w, int64_t bits, float scale, float bias, float *to, int64_t n) {
  const int64_t each = 32 / bits;
  const uint32_t mask = bits == 4 ? 15 : 255;
  for (int64_t i = 0; i < n; i++) to[i] = static_cast<float>((w[i / each] >> (i % each * bits)) & mask) * scale + bias;
}

#if ZMLX_X86
ZMLX_AVX2 static void unpack_avx2(const uint32_t *w, int64_t bits, float scale, float bias, float *to, int64_t n) {
  const __m256 s = _mm256_set1_ps(scale), b = _mm256_set1_ps(bias);
  const __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), low = _mm256_set1_epi32(15);
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i codes = bits == 4 ? _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(w[i / 8])), shift), low)
                                    : _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(w + i / 4)));
    _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(codes), s), b));
  }
}
#endif

// Seen is what some rows came to: the sum of exponentials and the weighted sum of values,
// both relative to top.
struct Seen {
  float top, sum;
  float *value; // dv of them
};

// whole is the next multiple of 8.
static int64_t whole(int64_t n) { return (n + 7) / 8 * 8; }

// rows are n rows of a cache as floats, `every` apart, with zeros up to a whole width: where
// they lie, or a copy in the calling thread's room.
template <int Number> static Rows rows(int32_t type, const void *from, int64_t first, int64_t every, int64_t n, int64_t width) {
  const int64_t padded = whole(width);
  if (type == zmlx_float32 && padded == width) return {static_cast<const float *>(from) + first * width, every * width};
  float *to = room<Number>(most * padded);
  if (every == 1 && padded == width) {
    load(type, at(from, type, first * width), to, n * width);
  } else {
    for (int64_t i = 0; i < n; i++) {
      load(type, at(from, type, (first + i * every) * width), to + i * padded, width);
      std::fill(to + i * padded + width, to + (i + 1) * padded, 0.0f);
    }
  }
  return {to, padded};
}

// unpacked are n rows of codes as floats, every apart, in the calling thread's room.
template <int Number> static Rows unpacked(const Attention &a, const void *words, const Packed &of, int64_t first, int64_t every, int64_t n, int64_t width) {
  const int64_t groups = width / a.group_size, each = a.group_size * a.bits / 32;
  float *to = room<Number>(most * width);
  for (int64_t i = 0; i < n; i++)
    for (int64_t g = 0; g < groups; g++) {
      const int64_t from = (first + i * every) * groups + g;
      float scale, bias;
      load(a.type, at(of.scales, a.type, from), &scale, 1);
      load(a.type, at(of.biases, a.type, from), &bias, 1);
      const uint32_t *w = static_cast<const uint32_t *>(words) + from * each;
      float *x = to + i * width + g * a.group_size;
#if ZMLX_X86
      if (isa() != Isa::plain) {
        unpack_avx2(w, a.bits, scale, bias, x, a.group_size);
        continue;
      }
#endif
      unpack(w, a.bits, scale, bias, x, a.group_size);
    }
  return {to, width};
}

// Piece is what one thread does at a time: some rows of a head of k and v, for some of the
// heads of q that share it.
struct Piece {
  int64_t group, first, every, last;
  int64_t head, heads; // of q
};

// see adds the rows of a piece to what each of its heads has seen. q and pe are floats of all
// heads, already scaled.
static void see(const Attention &a, const Piece &piece, const float *q, const float *pe, Seen *seen) {
#if ZMLX_X86
  const bool wide = isa() != Isa::plain;
#else
  constexpr bool wide = false;
#endif
  const auto scores = [&](const float *x, Rows k, int64_t n, int64_t d, float *s) {
#if ZMLX_X86
    if (wide) return score_avx2(x, k, n, d, s);
#endif
    score(x, k, n, d, s);
  };
  const bool same = a.k == a.v && a.d == a.dv && !a.bits;
  const int64_t pp = whole(a.p), many = together(std::max(a.d, a.dv));
  const int64_t head = piece.group * a.cap; // its first row
  const void *of_k = a.bits ? a.k : at(a.k, a.type, head * a.d), *of_v = a.bits ? a.v : at(a.v, a.type, head * a.dv);
  const void *of_pe = a.p ? at(a.k_pe, a.type, head * a.p) : nullptr;
  for (int64_t first = piece.first; first < piece.last; first += many * piece.every) {
    const int64_t n = std::min(many, (piece.last - first + piece.every - 1) / piece.every);
    const Rows k = a.bits ? unpacked<4>(a, of_k, a.of_k, head + first, piece.every, n, a.d) : rows<4>(a.type, of_k, first, piece.every, n, a.d);
    const Rows v = same     ? k
                   : a.bits ? unpacked<5>(a, of_v, a.of_v, head + first, piece.every, n, a.dv)
                            : rows<5>(a.type, of_v, first, piece.every, n, a.dv);
    const Rows turned = a.p ? rows<6>(a.type, of_pe, first, piece.every, n, a.p) : Rows{};
    for (int64_t h = 0; h < piece.heads; h++) {
      Seen &s = seen[h];
      float p[most + 1];
      scores(q + (piece.head + h) * a.d, k, n, a.d, p);
      if (a.p) {
        float more[most];
        scores(pe + (piece.head + h) * pp, turned, n, pp, more);
        for (int64_t i = 0; i < n; i++) p[i] += more[i];
      }
      float top = s.top;
      for (int64_t i = 0; i < n; i++) top = std::max(top, p[i]); // NaN is left to the sum
      for (int64_t i = 0; i < n; i++) p[i] -= top;
      p[n] = s.top - top;
      exp_all(p, n + 1);
      const float less = s.top == top ? 1.0f : p[n]; // also where both are infinite
      float part[8] = {};
      int64_t i = 0;
      for (; i + 8 <= n; i += 8)
        for (int64_t j = 0; j < 8; j++) part[j] += p[i + j];
      for (; i < n; i++) part[i % 8] += p[i];
      s.top = top;
      s.sum *= less;
      for (float x : part) s.sum += x;
      if (less != 1.0f)
        for (int64_t j = 0; j < a.dv; j++) s.value[j] *= less;
#if ZMLX_X86
      if (wide) add_avx2(p, v, n, a.dv, s.value);
#endif
      if (!wide) add(p, v, n, a.dv, s.value);
    }
  }
}

// merge adds b to a.
static void merge(Seen *a, const Seen &b, int64_t dv) {
  const float top = std::max(a->top, b.top);
  float f[2] = {a->top - top, b.top - top};
  exp_all(f, 2);
  if (a->top == top) f[0] = 1.0f;
  if (b.top == top) f[1] = 1.0f;
  a->top = top;
  a->sum = a->sum * f[0] + b.sum * f[1];
  for (int64_t i = 0; i < dv; i++) a->value[i] = a->value[i] * f[0] + b.value[i] * f[1];
}

// scaled is x as floats, times scale, with zeros up to a whole width, in the calling
// thread's room.
template <int Number> static const float *scaled(const Attention &a, const void *x, int64_t width) {
  const int64_t heads = a.groups * a.each, padded = whole(width);
  float *to = room<Number>(heads * padded);
  for (int64_t h = 0; h < heads; h++) {
    float *row = to + h * padded;
    load(a.type, at(x, a.type, h * width), row, width);
    for (int64_t i = 0; i < width; i++) row[i] *= a.scale;
    std::fill(row + width, row + padded, 0.0f);
  }
  return to;
}

// workers_of is how many threads a call is worth. Few heads wait for memory, many for
// products.
static int workers_of(const Attention &a) {
  constexpr int64_t worth = 32 << 10; // bytes
  const int64_t elements = a.groups * (a.last - a.first) * (a.d + a.dv + a.p);
  return workers_for(a.workers, elements * std::max(static_cast<int64_t>(bytes_of(a.type)), a.each / 2), worth);
}

// look gives what each head has seen in each of some ranges of rows, [group][range][head of
// the group]; range(i) is the rows of range i. What it gives is the calling thread's until
// its next call.
template <typename R> static Seen *look(const Attention &a, int workers, int64_t ranges, const R &range) {
  const float *q = scaled<0>(a, a.q, a.d), *pe = a.p ? scaled<1>(a, a.q_pe, a.p) : nullptr;
  const int64_t all = a.groups * ranges * a.each;
  static thread_local std::vector<Seen> memory;
  if (memory.size() < static_cast<size_t>(all)) memory.resize(static_cast<size_t>(all));
  float *values = room<2>(all * a.dv);
  Seen *seen = memory.data();
  for (int64_t i = 0; i < all; i++) seen[i].value = values + i * a.dv;

  // Where ranges are too few for the threads, heads are shared out as well.
  const int64_t wanted = workers > 1 ? 4 * workers : 1, here = a.groups * ranges;
  const int64_t parts = std::clamp<int64_t>((wanted + here - 1) / here, 1, a.each), step = (a.each + parts - 1) / parts;
  parallel(workers, here * parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      const int64_t group = i / parts / ranges, number = i / parts % ranges, head = i % parts * step, heads = std::min(step, a.each - head);
      if (heads <= 0) continue;
      Seen *mine = seen + i / parts * a.each + head;
      for (int64_t h = 0; h < heads; h++) {
        mine[h].top = -INFINITY, mine[h].sum = 0;
        std::fill_n(mine[h].value, a.dv, 0.0f);
        if (a.sinks && number == 0) {
          load(a.type, at(a.sinks, a.type, (group * a.each + head + h) % a.sink_heads), &mine[h].top, 1);
          mine[h].sum = mine[h].top == INFINITY ? NAN : 1; // as it is with such a score
        }
      }
      Piece piece = range(number);
      piece.group = group, piece.head = group * a.each + head, piece.heads = heads;
      see(a, piece, q, pe, mine);
    }
  });
  return seen;
}

void attend(const Attention &a, void *out) {
  // Long caches are cut up, so that threads can share out what few heads leave.
  const int workers = workers_of(a);
  const int64_t count = a.last - a.first, wanted = workers > 1 ? (4 * workers + a.groups - 1) / a.groups : 1;
  const int64_t length = std::max<int64_t>(64, ((count + wanted - 1) / wanted + 63) / 64 * 64);
  const int64_t ranges = (count + length - 1) / length;
  Seen *seen = look(a, workers, ranges, [&](int64_t i) {
    const int64_t first = a.first + i * length;
    return Piece{0, first, 1, std::min(a.last, first + length), 0, 0};
  });
  for (int64_t h = 0; h < a.groups * a.each; h++) {
    Seen &s = seen[h / a.each * ranges * a.each + h % a.each];
    for (int64_t i = 1; i < ranges; i++) merge(&s, (&s)[i * a.each], a.dv);
    for (int64_t i = 0; i < a.dv; i++) s.value[i] /= s.sum;
    store(a.type, s.value, at(out, a.type, h * a.dv), a.dv);
  }
}

// Queries that read rows of a cache together.
constexpr int64_t queries = 16;

void attend_causal(const Attention &a, int64_t l, void *out) {
  const int64_t tiles = (l + queries - 1) / queries, before = a.last - l;
  constexpr int64_t worth = 1 << 20; // products
  const int workers = workers_for(a.workers, a.groups * a.each * l * (before + l / 2 + 1) * (a.d + a.dv), worth);
  parallel(workers, a.groups * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      // The longest come first, so that no thread is left with one at the end.
      const int64_t group = i % a.groups, first = (tiles - 1 - i / a.groups) * queries, count = std::min(queries, l - first);
      const int64_t heads = count * a.each; // [query][head of the group]
      float *q = room<7>(heads * a.d), *values = room<8>(heads * a.dv);
      static thread_local std::vector<Seen> seen;
      seen.resize(static_cast<size_t>(heads));
      for (int64_t h = 0; h < heads; h++) {
        float *x = q + h * a.d;
        load(a.type, at(a.q, a.type, ((group * a.each + h % a.each) * l + first + h / a.each) * a.d), x, a.d);
        for (int64_t j = 0; j < a.d; j++) x[j] *= a.scale;
        seen[static_cast<size_t>(h)] = {-INFINITY, 0, values + h * a.dv};
      }
      std::fill_n(values, heads * a.dv, 0.0f);
      // What the first query sees, all do; the others see some rows more.
      const int64_t common = before + first + 1;
      see(a, {group, 0, 1, common, 0, heads}, q, nullptr, seen.data());
      for (int64_t j = 1; j < count; j++) see(a, {group, common, 1, common + j, j * a.each, a.each}, q, nullptr, seen.data() + j * a.each);
      for (int64_t h = 0; h < heads; h++) {
        const Seen &s = seen[static_cast<size_t>(h)];
        for (int64_t j = 0; j < a.dv; j++) s.value[j] /= s.sum;
        store(a.type, s.value, at(out, a.type, ((group * a.each + h % a.each) * l + first + h / a.each) * a.dv), a.dv);
      }
    }
  });
}

void attend_parts(const Attention &a, int64_t splits, float *part, float *lse) {
  const Seen *seen = look(a, workers_of(a), splits, [&](int64_t i) { return Piece{0, a.first + i, splits, a.last, 0, 0}; });
  for (int64_t h = 0; h < a.groups * a.each; h++)
    for (int64_t i = 0; i < splits; i++) {
      const Seen &s = seen[(h / a.each * splits + i) * a.each + h % a.each];
      lse[h * splits + i] = s.top + std::log(s.sum);
      for (int64_t j = 0; j < a.dv; j++) part[(h * splits + i) * a.dv + j] = s.value[j] / s.sum;
    }
}

} // namespace zmlx
