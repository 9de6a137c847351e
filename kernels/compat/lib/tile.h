// Sixteen rows of packed weights at a time, by a whole group: eight of one matrix and eight of
// another, or sixteen of one. It needs quantized.h before it.
//
// On tensor cores (ZMLX_MMA) the group's simdgroups share out the columns, and one holds 16
// rows: a weight takes half as many instructions as multiplied by itself, or fewer. Elsewhere
// a simdgroup takes four of the rows. Both leave parts of the sums in threadgroup memory.
//
// Source of the fragments: mma.m16n8k16 in the PTX ISA. That columns of a product may stand
// for different things, parts of one row of x here, is how a matrix of one row fills them.
#pragma once

// How many simdgroups share a tile whose rows are kp words of codes of so many bits: as kernels are
// launched, so that the compiler knows it. One asks for 256 or 512 bytes of each row at a time, of 4 and
// of 8 bits, or for fewer where groups of 32 share a scale. Eight of them have twice as many
// under way, which pays where tiles are few: up to 256, two on each processor of an H200. Where
// there are many, other tiles' words are under way anyway, and more tiles of four fit.
inline uint tile_simdgroups(int kp, int bits, bool many) {
  const int words = 16 * bits, own = words * (many ? 8 : 4);
  return uint(metal::min(4, (kp + words - 1) / words) * metal::min(2, (kp + own - 1) / own));
}

// The two matrices of a tile, and which rows: a + 0 to 7 and b + 0 to 7, none behind row n - 1,
// counted from row `base`, the first of an expert's. Where nothing is left over, the compiler
// sees `whole`, and rows have one address and distances.
template <typename W, typename P, typename Q> struct tile_rows {
  W wa;
  P sa;
  Q ba;
  W wb;
  P sb;
  Q bb;
  uint base;
  int a, b, n;
  bool whole;

  uint row(int i) const {
    const int at = (i < 8 ? a : b - 8) + i;
    return base + uint(whole ? at : metal::min(at, n - 1));
  }
};

template <typename W, typename P, typename Q> inline tile_rows<W, P, Q> tile_of(W w, P scales, Q biases, uint base, int first, int n) {
  tile_rows<W, P, Q> r = {w, scales, biases, w, scales, biases, base, first, first + 8, n, n % 16 == 0};
  return r;
}
template <typename W, typename P, typename Q> inline tile_rows<W, P, Q> tile_of(W wa, P sa, Q ba, W wb, P sb, Q bb, uint base, int first, int n) {
  tile_rows<W, P, Q> r = {wa, sa, ba, wb, sb, bb, base, first, first, n, n % 8 == 0};
  return r;
}

// Rows of x one behind the other. begin is called once, by all threads, when weights have been
// asked for.
template <typename P> struct tile_plain {
  P x;
  void begin() const {}
  P at(int i) const { return x + i; }      // what is multiplied, from element i on
  P rounded(int i) const { return x + i; } // the same as pairs
};
template <typename P> inline tile_plain<P> tile_x(P x) {
  tile_plain<P> r = {x};
  return r;
}

// Rows of x, and M numbers of E of which the first `count` are asked for with them where a thread is
// `mine`: what the sums meet at the end comes from far away, and then nothing else would be under way.
template <int M, typename E, typename X, typename P> struct tile_beside {
  X row;
  P from;
  int step, count; // step is from one number to the next
  bool mine;
  E beside[M];

  void begin() {
    QUANT_UNROLL
    for (int m = 0; m < M; m++)
      if (mine && m < count) beside[m] = from[m * step];
    row.begin();
  }
  auto at(int i) const { return row.at(i); }
  auto rounded(int i) const { return row.rounded(i); }
};
template <int M, typename E, typename X, typename P> inline tile_beside<M, E, X, P> tile_with(X row, P from, int step, int count, bool mine) {
  tile_beside<M, E, X, P> r = {row, from, step, count, mine, {}};
  return r;
}

#if ZMLX_MMA
template <typename T> struct tile_mma {
  static constexpr bool on = false;
};
template <> struct tile_mma<half> {
  static constexpr bool on = true;
  static constexpr uint one = 0x3c003c00u, minus16 = 0xcc00cc00u; // pairs
};
template <> struct tile_mma<bfloat16_t> {
  static constexpr bool on = true;
  static constexpr uint one = 0x3f803f80u, minus16 = 0xc180c180u;
};
template <typename T> inline uint pair_mul(T, uint a, uint b) { return pair_fma(T(), a, b, 0x80008000u); }

// Whether a multiple of the sum of x is taken off the sum of x * (16 + code), not 16 off each code:
// in float32 that costs less than a bit of T. Likewise the 1024 of codes of 8 bits.
template <typename T, typename S> inline bool tile_offset() { return sizeof(typename quant_product<T, S>::type) == sizeof(T); }

template <typename T, typename S> inline uint tile_operand(uint codes) { return tile_offset<T, S>() ? codes : pair_fma(T(), codes, tile_mma<T>::one, tile_mma<T>::minus16); }

// Codes of 8 bits are products of halves whatever T is, since 1024 + code is a half with the code in
// the lower bits of its mantissa: two of them are one instruction. Half 0 has the word's lower two.
#if ZMLX_CUDA
inline uint tile_bytes(uint w, int i) { return __byte_perm(w, 0x64646464u, i == 0 ? 0x4140u : 0x4342u); }
inline uint tile_larger(uint a, uint b) { return __vmaxu2(a, b); }
#else
inline uint tile_bytes(uint w, int i) {
  const uint b = w >> (16 * i);
  return (b & 0xffu) | (b & 0xff00u) << 8 | 0x64006400u;
}
inline uint tile_larger(uint a, uint b) { return metal::max(a & 0xffffu, b & 0xffffu) | metal::max(a >> 16, b >> 16) << 16; }
#endif
template <typename T, typename S> inline uint tile_byte_operand(uint w, int i) {
  return tile_offset<T, S>() ? tile_bytes(w, i) : pair_fma(half(), tile_bytes(w, i), tile_mma<half>::one, 0xe400e400u);
}

// Sixteen elements of x as halves, and what these are to be multiplied with. Of bfloat16 the lanes of
// a column of the product take a power of two off that makes the largest half as large as it can be:
// then none is lost that counts beside it.
inline float tile_halves(thread uint *, half) { return 1.0f; }
inline float tile_halves(thread uint *u, bfloat16_t) {
  uint most = 0;
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) most = tile_larger(most, u[i] & 0x7fff7fffu);
  uint e = metal::max(most & 0xffffu, most >> 16);
  e = metal::max(e, simd_shuffle_xor(e, 1));
  e = metal::max(e, simd_shuffle_xor(e, 2));
  e = metal::max(e >> 7, 15u);
  const float up = as_type<float>((268u - e) << 23); // to 2^14 or a little more
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) {
    const half low = half(as_type<float>(u[i] << 16) * up), high = half(as_type<float>(u[i] & 0xffff0000u) * up);
    u[i] = uint(as_type<ushort>(low)) | uint(as_type<ushort>(high)) << 16;
  }
  return as_type<float>((e - 14u) << 23);
}

// n elements of x, two in a word.
template <typename T> inline void tile_pairs(const T *x, int n, uint *u) {
#if ZMLX_CUDA
  if ((size_t(x) & 15) == 0) {
    QUANT_UNROLL
    for (int i = 0; i < 4; i++) {
      if (i < n / 8) {
        const uint4 q = ((const uint4 *)x)[i];
        u[4 * i] = q.x;
        u[4 * i + 1] = q.y;
        u[4 * i + 2] = q.z;
        u[4 * i + 3] = q.w;
      }
    }
    return;
  }
#endif
  QUANT_UNROLL
  for (int i = 0; i < 16; i++)
    if (i < n / 2) u[i] = uint(as_type<ushort>(x[2 * i])) | uint(as_type<ushort>(x[2 * i + 1])) << 16;
}
inline void tile_pairs(const float *, int, uint *) {}

// Codes i and i + 4 of the eight in a word, as elements: 16 + code, which is the code in the upper
// bits of a mantissa.
inline uint tile_codes(uint w, int i, bfloat16_t) { return and_or(i == 0 ? w << 3 : w >> (4 * i - 3), 0x00780078u, 0x41804180u); }
inline uint tile_codes(uint w, int i, half) { return and_or(i == 0 ? w << 6 : i == 1 ? w << 2 : w >> (4 * i - 6), 0x03c003c0u, 0x4c004c00u); }

// Codes of mxfp4 likewise, which are sign, exponent and mantissa already: halves are 2^-14 of
// their value.
inline uint tile_shifted(uint w, int left) { return left < 0 ? w >> -left : w << left; }
inline uint tile_fp4(uint w, int i, half) { return and_or(tile_shifted(w, 12 - 4 * i), 0x80008000u, tile_shifted(w, 9 - 4 * i) & 0x0e000e00u); }
inline uint tile_fp4(uint w, int i, bfloat16_t) {
  return pair_mul(bfloat16_t(), and_or(tile_shifted(w, 12 - 4 * i), 0x80008000u, tile_shifted(w, 6 - 4 * i) & 0x01c001c0u), 0x7e807e80u); // times 2^126
}
inline float tile_fp4_scale(half) { return 16384.0f; }
inline float tile_fp4_scale(bfloat16_t) { return 1.0f; }

// What a lane reads of its two rows at a time: codes of columns from `at` on, and what their
// scales and biases are.
struct tile_part {
  uint4 a[8], b[8]; // of each chunk
  float scale[4], bias[4];
};

// The numbers of a tile's fragments. A lane l holds rows l / 4 and l / 4 + 8. It loads 16 bytes of
// codes of each row at a time, `own` columns of a chunk that four lanes share. Column j of a product
// stands for the columns of w from j * width on, which have one scale: lanes of column j bring x for
// those. So a chunk's product has a meaning in the chunk's own columns alone, and each has sums of its own.
// A matrix of many rows n leaves half of the columns of a product of 8-bit codes empty: eight chunks take
// half as many registers again, and where tiles come one behind the other, more of them at once are worth more.
struct tile_shape {
  int own, width, each, chunks; // columns of a product that a chunk has, and chunks of a product
  int step;                     // columns of w that a product takes
};
inline tile_shape tile_shape_of(quant_layout l, int n) {
  const int own = l.bits == 4 ? 32 : 16, width = l.group_size == 32 ? 32 : 64;
  const int each = 4 * own / width, chunks = metal::min(8 / each, n > 16384 ? 4 : 8);
  return {own, width, each, chunks, 4 * own * chunks};
}

template <typename R> inline tile_part tile_load(R r, int at, tile_shape d, quant_layout l, uint lane) {
  const bool whole = l.k % d.step == 0;
  if (whole) at = metal::min(at, l.k - d.step); // there may be too little for all simdgroups
  const int t = int(lane & 3), j = int(lane >> 2);
  const uint ra = r.row(j), rb = r.row(j + 8);
  const auto wa = r.wa + size_t(ra) * uint(l.kp), wb = r.wb + size_t(rb) * uint(l.kp);
  tile_part q;
  QUANT_UNROLL
  for (int c = 0; c < 8; c++) {
    if (c < d.chunks) {
      const int from = at + (4 * c + t) * d.own;
      const uint word = uint(whole ? from : metal::min(from, l.k - d.own)) * uint(l.bits) / 32;
      q.a[c] = quant_words(wa + word);
      q.b[c] = quant_words(wb + word);
    }
  }
  QUANT_UNROLL
  for (int h = 0; h < 2; h++) {
    const int from = at + (2 * t + h) % (d.each * d.chunks) * d.width;
    const uint g = uint(whole ? from : metal::min(from, l.k - d.width)) / uint(l.group_size);
    const size_t ga = size_t(ra) * uint(l.g) + g, gb = size_t(rb) * uint(l.g) + g;
    q.scale[h] = quant_scale(r.sa[ga]);
    q.scale[2 + h] = quant_scale(r.sb[gb]);
    q.bias[h] = l.affine ? float(r.ba[ga]) : 0.0f;
    q.bias[2 + h] = l.affine ? float(r.bb[gb]) : 0.0f;
  }
  return q;
}

// A word of codes of each of a lane's two rows, times the pairs of x for word w, added to sum.
template <typename T, typename S> inline void tile_word(thread float *sum, uint a, uint b, const thread uint *p, int w, quant_layout l) {
  if (l.bits == 8) {
    simd_mma(half(), sum, tile_byte_operand<T, S>(a, 0), tile_byte_operand<T, S>(b, 0), tile_byte_operand<T, S>(a, 1), tile_byte_operand<T, S>(b, 1), p[2 * w], p[2 * w + 1]);
    return;
  }
  QUANT_UNROLL
  for (int h = 0; h < 4; h += 2) {
    if (l.affine) {
      simd_mma(T(), sum, tile_operand<T, S>(tile_codes(a, h, T())), tile_operand<T, S>(tile_codes(b, h, T())), tile_operand<T, S>(tile_codes(a, h + 1, T())),
               tile_operand<T, S>(tile_codes(b, h + 1, T())), p[4 * w + h], p[4 * w + h + 1]);
    } else {
      simd_mma(T(), sum, tile_fp4(a, h, T()), tile_fp4(b, h, T()), tile_fp4(a, h + 1, T()), tile_fp4(b, h + 1, T()), p[4 * w + h], p[4 * w + h + 1]);
    }
  }
}

// The products of what was loaded with a row of x from column `at` on, added to two sums.
template <typename T, typename S, typename X> inline void tile_multiply(X x, int row, tile_part q, int at, tile_shape d, quant_layout l, uint lane, float *sums) {
  const int t = int(lane & 3), j = int(lane >> 2);
  uint u[16], p[16];
  QUANT_UNROLL
  for (int i = 0; i < 16; i++) u[i] = 0;
  const int from = at + (4 * (j / d.each) + t) * d.own;
  if (j / d.each < d.chunks && t * d.own / d.width == j % d.each && from < l.k) tile_pairs(x.rounded(row * l.k + from), d.own, u);
  const float unit = l.bits == 8 ? tile_halves(u, T()) : 1.0f;
  QUANT_UNROLL
  for (int i = 0; i < 16; i++) { // the pairs that codes come in
    const uint low = u[i / 4 * 4 + i % 4 / 2], high = u[i / 4 * 4 + i % 4 / 2 + 2];
    p[i] = l.bits == 8 ? u[i] : i % 2 == 0 ? (low & 0xffffu) | high << 16 : low >> 16 | (high & 0xffff0000u);
  }
  float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) {
    if (i < d.chunks) {
      float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      QUANT_UNROLL
      for (int w = 0; w < 4; w++) tile_word<T, S>(sum, quant_word(q.a[i], w), quant_word(q.b[i], w), p, w, l);
      QUANT_UNROLL
      for (int h = 0; h < 4; h++) c[h] = (2 * t + h % 2) / d.each == i ? sum[h] : c[h];
    }
  }
  if (!l.affine) {
    QUANT_UNROLL
    for (int i = 0; i < 4; i++) sums[i / 2] += q.scale[i] * tile_fp4_scale(T()) * c[i];
    return;
  }
  float all[4] = {0.0f, 0.0f, 0.0f, 0.0f}; // the sums of x in columns 2t and 2t + 1, twice
  const uint one = tile_mma<T>::one, half_one = tile_mma<half>::one;
  QUANT_UNROLL
  for (int i = 0; i < 16; i += 2) {
    if (l.bits != 8) {
      simd_mma(T(), all, one, one, one, one, p[i], p[i + 1]);
    } else if (i < 8) {
      simd_mma(half(), all, half_one, half_one, half_one, half_one, p[i], p[i + 1]);
    }
  }
  const float offset = !tile_offset<T, S>() ? 0.0f : l.bits == 8 ? 1024.0f : 16.0f;
  float units[2] = {1.0f, 1.0f};
  if (l.bits == 8) {
    units[0] = simd_shuffle(unit, uint(8 * t));
    units[1] = simd_shuffle(unit, uint(8 * t + 4));
  }
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) sums[i / 2] += units[i % 2] * (q.scale[i] * (c[i] - offset * all[i % 2]) + q.bias[i] * all[i % 2]);
}
#endif

// How many parts of each sum there are when so many simdgroups are done.
template <typename T> inline uint tile_parts(uint simdgroups) {
#if ZMLX_MMA
  if (tile_mma<T>::on) return simdgroups;
#endif
  return simdgroups > 4 ? simdgroups / 4 : 1;
}

// A tile, with up to M rows of x, of which there are count. part is threadgroup memory for 16 floats
// a row of x and simdgroup, to be read behind a barrier. simdgroups are 1 to 4, or 8.
template <int M, typename T, typename S, typename X, typename F, typename R>
inline void tile_products(thread X &x, int count, F part, R r, quant_layout l, uint lane, uint simdgroup, uint simdgroups) {
  const uint parts = tile_parts<T>(simdgroups);
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    const tile_shape d = tile_shape_of(l, r.n);
    int at = d.step * int(simdgroup);
    tile_part q = tile_load(r, at, d, l, lane);
    ready();
    x.begin();
    float sums[2 * M];
    QUANT_UNROLL
    for (int i = 0; i < 2 * M; i++) sums[i] = 0.0f;
    while (at < l.k) {
      QUANT_UNROLL
      for (int m = 0; m < M; m++)
        if (m < count) tile_multiply<T, S>(x, m, q, at, d, l, lane, sums + 2 * m);
      at += d.step * int(simdgroups);
      if (at < l.k) q = tile_load(r, at, d, l, lane);
    }
    QUANT_UNROLL
    for (int i = 0; i < 2 * M; i++) {
      if (i < 2 * count) {
        sums[i] += simd_shuffle_xor(sums[i], 1);
        sums[i] += simd_shuffle_xor(sums[i], 2);
        if ((lane & 3) == 0) part[(uint(i / 2) * parts + simdgroup) * 16 + uint(i % 2 * 8) + lane / 4] = sums[i];
      }
    }
  } else
#endif
  {
    ready();
    x.begin();
    const uint piece = simdgroup / 4;
    for (uint q = simdgroup % 4; q < 4; q += simdgroups) {
      float sums[4 * M];
      QUANT_UNROLL
      for (int i = 0; i < 4 * M; i++) sums[i] = 0.0f;
      const bool a = q < 2;
      const uint row = r.row(int(4 * q));
      const auto w = a ? r.wa : r.wb;
      const auto s = a ? r.sa : r.sb;
      const auto b = a ? r.ba : r.bb;
      quant_four<M, S>(x.at(0), count, w, s, b, w, s, b, row, int(r.row(int(4 * q + 1)) - row), int(r.row(int(4 * q + 2)) - row), int(r.row(int(4 * q + 3)) - row),
                       int(32 * piece + lane), int(32 * parts), l, sums);
      QUANT_UNROLL
      for (int m = 0; m < M; m++) {
        if (m < count) {
          const float sum = quant_sums(sums + 4 * m, lane);
          if (lane < 4) part[(uint(m) * parts + piece) * 16 + 4 * q + lane] = sum;
        }
      }
    }
  }
}

// The sum of row `lane` of a tile times row m of x, from its parts.
template <typename F> inline float tile_sum(F part, int m, uint parts, uint lane) {
  float sum = 0.0f;
  for (uint i = 0; i < parts; i++) sum += float(part[(uint(m) * parts + i) * 16 + (lane & 15)]);
  return sum;
}

// Where a sum is no finite number: each weight by itself. x is one row.
template <typename X, typename R> inline float tile_slow(X x, R r, quant_layout l, uint lane, float sum) {
  if (simd_max(metal::isnan(sum) || metal::isinf(sum) ? 1u : 0u) > 0u) { // of integers that is one instruction
    for (int i = 0; i < 16; i++) {
      const float slow = i < 8 ? quant_slow(x, r.wa, r.sa, r.ba, r.row(i), l, lane) : quant_slow(x, r.wb, r.sb, r.bb, r.row(i), l, lane);
      if ((lane & 15) == uint(i)) sum = slow;
    }
  }
  return sum;
}
