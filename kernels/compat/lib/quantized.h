// Products with packed weights, in the subset of MSL that all targets share.
//
// A lane works on slices: 32 columns of x and of a row of w, at columns 32 * lane,
// 32 * lane + 1024, ... Every group size is a multiple of 32, so a slice has one scale and
// one bias; 4-bit codes of a slice are one 16-byte load, 8-bit codes two. Products are
// added up in float32, as on Metal; MLX on CUDA adds up codes of less than 8 bits in T.
//
// The layout is MLX's: the codes of a row lie one behind the other, lowest bits first.
// A weight is scale * code + bias in mode affine, scale * fp4(code) in mode mxfp4, where
// a scale is a power of two (e8m0).
//
// Source of the algorithm: qmv_fast_impl of mlx/backend/metal/kernels/quantized.h: x is
// divided by the place value of each code, so that codes need a mask and no shift, and
// sum(x * (scale * code + bias)) is scale * sum(x * code) + bias * sum(x).
#pragma once

#if ZMLX_HOST
#define QUANT_UNROLL
#else
#define QUANT_UNROLL _Pragma("unroll")
#endif

// A product has the type that x and scales have in common; scales of mxfp4 have no say.
template <typename T, typename S> struct quant_product {
  using type = float;
};
template <typename T> struct quant_product<T, T> {
  using type = T;
};
template <typename T> struct quant_product<T, uint8_t> {
  using type = T;
};
template <typename T, typename S> inline float quant_round(float v) {
  using D = typename quant_product<T, S>::type;
  return float(D(v));
}

struct quant_layout {
  int k, kp, g; // lengths of rows of x, w, and scales
  int bits, group_size;
  bool affine;
};

// What a lane reads of a row. Reading is apart from computing so that the loads of
// several rows are under way at once.
template <typename S> struct quant_slice {
  uint4 a, b; // 32 codes; b only for 8 bits
  S scale, bias;
};

inline uint4 quant_words(const device uint *p) {
#if ZMLX_HOST
  return uint4(p[0], p[1], p[2], p[3]); // weights of a mapped file may lie at any address
#else
  return *(const device uint4 *)p;
#endif
}

#if ZMLX_METAL || ZMLX_OPENCL
inline uint4 quant_words(const constant uint *p) { return uint4(p[0], p[1], p[2], p[3]); } // tiny arrays
#endif

inline float quant_scale(uint8_t s) { return as_type<float>(s == 0 ? 0x00400000u : uint(s) << 23); }
template <typename S> inline float quant_scale(S s) { return float(s); }

// How far behind row `first` the row is that is read as the i-th from there: i, but no row
// behind the last one. Where nothing is left over, the compiler sees that it is i, and
// rows have one address and distances in place of an address each.
inline int quant_more(int first, int i, int n) { return n % 4 == 0 ? i : metal::min(first + i, n - 1) - first; }

// The slice at column `at` of the row that is `more` rows behind `row`, counted over all
// experts.
template <typename S, typename W, typename P, typename Q>
inline quant_slice<S> quant_load(W w, P scales, Q biases, uint row, int more, int at, quant_layout l) {
  quant_slice<S> q;
  const size_t i = size_t(row) * uint(l.kp) + uint(l.bits == 4 ? at / 8 : at / 4) + size_t(more * l.kp);
  q.a = quant_words(w + i);
  if (l.bits == 8) q.b = quant_words(w + i + 4);
  const size_t j = size_t(row) * uint(l.g) + uint(at / l.group_size) + size_t(more * l.g);
  q.scale = scales[j];
  if (l.affine) q.bias = biases[j];
  return q;
}

#if ZMLX_CUDA || ZMLX_MMA
// The two elements of a word.
inline float quant_low(uint u, bfloat16_t) { return as_type<float>(u << 16); }
inline float quant_high(uint u, bfloat16_t) { return as_type<float>(u & 0xffff0000u); }
inline float quant_low(uint u, half) { return float(as_type<half>(ushort(u & 0xffffu))); }
inline float quant_high(uint u, half) { return float(as_type<half>(ushort(u >> 16))); }
#endif

// 32 columns of x as they are read.
#if ZMLX_CUDA
// NVCC reads one element at a time unless told otherwise. x may be a part of something
// larger and so begin anywhere: then it comes into the same registers piece by piece,
// in a loop, so that this is a branch of its own. A branch is also what keeps the compiler
// from putting off the loads of weights, scales and biases that stand before it until
// they are needed, which saves registers and costs time.
template <typename T> struct quant_columns {
  uint u[16];
};
template <> struct quant_columns<float> {
  uint u[32];
};
inline uint quant_bits(const float *x) { return as_type<uint>(x[0]); }
template <typename T> inline uint quant_bits(const T *x) { return uint(as_type<ushort>(x[0])) | uint(as_type<ushort>(x[1])) << 16; }
template <typename T> inline quant_columns<T> quant_read(const T *x) {
  quant_columns<T> c;
  constexpr int words = sizeof(c) / 4;
  if ((size_t(x) & 15) == 0) {
    QUANT_UNROLL
    for (int i = 0; i < words / 4; i++) {
      const uint4 q = ((const uint4 *)x)[i];
      c.u[4 * i] = q.x;
      c.u[4 * i + 1] = q.y;
      c.u[4 * i + 2] = q.z;
      c.u[4 * i + 3] = q.w;
    }
  } else {
#pragma unroll 1
    for (int i = 0; i < words; i++) {
      const uint word = quant_bits(x + i * (32 / words));
      QUANT_UNROLL
      for (int j = 0; j < words; j++) c.u[j] = i == j || i == 0 ? word : c.u[j];
    }
  }
  return c;
}
template <typename T> inline void quant_eight(quant_columns<T> c, int j, thread float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) {
    v[2 * i] = quant_low(c.u[4 * j + i], T());
    v[2 * i + 1] = quant_high(c.u[4 * j + i], T());
  }
}
inline void quant_eight(quant_columns<float> c, int j, thread float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) v[i] = as_type<float>(c.u[8 * j + i]);
}
#else
template <typename T> struct quant_columns {
  T v[32];
};
template <typename T> inline quant_columns<T> quant_read(const device T *x) {
  quant_columns<T> c;
  QUANT_UNROLL
  for (int i = 0; i < 32; i++) c.v[i] = x[i];
  return c;
}
#if ZMLX_METAL || ZMLX_OPENCL
template <typename T> inline quant_columns<T> quant_read(const constant T *x) {
  quant_columns<T> c;
  for (int i = 0; i < 32; i++) c.v[i] = x[i];
  return c;
}
#endif
template <typename T> inline void quant_eight(quant_columns<T> c, int j, thread float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) v[i] = float(c.v[8 * j + i]);
}
#endif

// The bits of w under a mask, as a float. On NVIDIA a conversion is slow, but two simple
// instructions are not: the bits become the lowest of a float of 2^23 and more.
inline float quant_code(uint w, uint mask) {
#if ZMLX_CUDA
  uint u;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(u) : "r"(w), "r"(mask), "r"(0x4b000000u)); // (w & mask) | 0x4b000000
  return as_type<float>(u) - 8388608.0f;
#else
  return float(w & mask);
#endif
}

inline uint quant_word(uint4 w, int i) { return i == 0 ? w.x : i == 1 ? w.y : i == 2 ? w.z : w.w; }

// The products of one word of codes: 8 of 4 bits, or 4 of 8 bits.
inline float quant_word4(uint w, const thread float *v) {
  const uint hi = w >> 16;
  float sum = v[0] * quant_code(w, 0xfu);
  sum += v[1] * quant_code(w, 0xf0u);
  sum += v[2] * quant_code(w, 0xf00u);
  sum += v[3] * quant_code(w, 0xf000u);
  sum += v[4] * quant_code(hi, 0xfu);
  sum += v[5] * quant_code(hi, 0xf0u);
  sum += v[6] * quant_code(hi, 0xf00u);
  sum += v[7] * quant_code(hi, 0xf000u);
  return sum;
}

inline float quant_word8(uint w, const thread float *v) {
  const uint hi = w >> 16;
  float sum = v[0] * quant_code(w, 0xffu);
  sum += v[1] * quant_code(w, 0xff00u);
  sum += v[2] * quant_code(hi, 0xffu);
  sum += v[3] * quant_code(hi, 0xff00u);
  return sum;
}

// Codes of mxfp4 are e2m1: sign, two bits of exponent, one of mantissa. As the upper bits
// of a half they are 2^-14 of their value. Two codes that are 16 bits apart are
// decoded together: those at 0 and 16.
inline float quant_two_fp4(uint w, float x0, float x1) {
  const uint h = (w & 0x00070007u) << 9 | (w & 0x00080008u) << 12;
  return x0 * float(as_type<half>(ushort(h & 0xffffu))) + x1 * float(as_type<half>(ushort(h >> 16)));
}

inline float quant_word_fp4(uint w, const thread float *v) {
  float sum = quant_two_fp4(w, v[0], v[4]);
  sum += quant_two_fp4(w >> 4, v[1], v[5]);
  sum += quant_two_fp4(w >> 8, v[2], v[6]);
  sum += quant_two_fp4(w >> 12, v[3], v[7]);
  return sum;
}

// The products of four slices with the same columns, added to sums. The slices take turns,
// so that a GPU has to ask for all of them before it can begin, and eight columns at a
// time are in registers as floats.
template <typename T, typename S>
inline void quant_dots(quant_columns<T> c, const thread quant_slice<S> *q, quant_layout l, thread float *sums) {
  const int bits = l.bits;
  const bool affine = l.affine;
  QUANT_UNROLL
  for (int j = 0; j < 4; j++) {
    float v[8];
    quant_eight(c, j, v);
    float sum = 0.0f;
    if (affine) {
      sum = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
      QUANT_UNROLL
      for (int i = 0; i < 8; i += 4) { // divided by the place values of the codes
        v[i + 1] *= bits == 4 ? 1.0f / 16.0f : 1.0f / 256.0f;
        if (bits == 4) v[i + 2] *= 1.0f / 256.0f;
        v[i + 3] *= bits == 4 ? 1.0f / 4096.0f : 1.0f / 256.0f;
      }
    }
    QUANT_UNROLL
    for (int r = 0; r < 4; r++) {
      const float scale = quant_scale(q[r].scale);
      if (!affine) {
        sums[r] += scale * (16384.0f * quant_word_fp4(quant_word(q[r].a, j), v));
      } else if (bits == 4) {
        sums[r] += scale * quant_word4(quant_word(q[r].a, j), v) + float(q[r].bias) * sum;
      } else {
        const uint4 w = j < 2 ? q[r].a : q[r].b;
        const float codes = quant_word8(quant_word(w, 2 * j & 3), v) + quant_word8(quant_word(w, (2 * j + 1) & 3), v + 4);
        sums[r] += scale * codes + float(q[r].bias) * sum;
      }
    }
  }
}

// A lane's part of up to M rows of x times four rows of w, added to sums: four for each
// row of x. The rows of w are `row` and the one m1 behind it in a, and those m2 and m3
// behind it in b; a and b may be the same. `first` and `step` are in slices.
template <int M, typename S, typename X, typename W, typename P, typename Q>
inline void quant_four(X x, int count, W wa, P sa, Q ba, W wb, P sb, Q bb, uint row, int m1, int m2, int m3, int first, int step, quant_layout l, thread float *sums) {
  for (int at = 32 * first; at < l.k; at += 32 * step) {
    const quant_slice<S> q[4] = {quant_load<S>(wa, sa, ba, row, 0, at, l), quant_load<S>(wa, sa, ba, row, m1, at, l),
                                 quant_load<S>(wb, sb, bb, row, m2, at, l), quant_load<S>(wb, sb, bb, row, m3, at, l)};
    QUANT_UNROLL
    for (int m = 0; m < M; m++)
      if (m < count) quant_dots(quant_read(x + (m * l.k + at)), q, l, sums + 4 * m);
  }
}

// The sums of v[0] to v[3] over all lanes: lane i gets that of v[i % 4]. Six exchanges in
// place of twenty.
inline float quant_sums(const thread float *v, uint lane) {
  const bool one = (lane & 1) != 0, two = (lane & 2) != 0;
  const float a = (one ? v[1] : v[0]) + simd_shuffle_xor(one ? v[0] : v[1], 1);
  const float b = (one ? v[3] : v[2]) + simd_shuffle_xor(one ? v[2] : v[3], 1);
  float sum = (two ? b : a) + simd_shuffle_xor(two ? a : b, 2);
  sum += simd_shuffle_xor(sum, 4);
  sum += simd_shuffle_xor(sum, 8);
  sum += simd_shuffle_xor(sum, 16);
  return sum;
}

// A row with every weight by itself, for rows whose sum is no number: an infinite x is
// infinity minus infinity in scale * sum(x * code) + bias * sum(x), though the row may
// well be infinite. All lanes get the sum.
template <typename X, typename W, typename P, typename Q>
inline float quant_slow(X x, W w, P scales, Q biases, uint row, quant_layout l, uint lane) {
  float sum = 0.0f;
  for (int i = int(lane); i < l.k; i += 32) {
    const uint word = w[size_t(row) * uint(l.kp) + uint(i * l.bits / 32)];
    const uint code = (word >> uint(i * l.bits % 32)) & (l.bits == 4 ? 0xfu : 0xffu);
    const size_t j = size_t(row) * uint(l.g) + uint(i / l.group_size);
    const float scale = quant_scale(scales[j]);
    const float value = l.affine ? ZMLX_ROUND(scale * float(code)) + float(biases[j])
                                 : scale * (16384.0f * float(as_type<half>(ushort((code & 7u) << 9 | (code & 8u) << 12))));
    sum += float(x[i]) * value;
  }
  return simd_sum(sum);
}

// The same for the four rows of quant_four: lane i gets that of row i % 4.
template <typename X, typename W, typename P, typename Q>
inline float quant_slow_four(X x, W wa, P sa, Q ba, W wb, P sb, Q bb, uint row, int m1, int m2, int m3, quant_layout l, uint lane) {
  float mine = 0.0f;
  for (int i = 0; i < 4; i++) {
    const uint r = row + uint(i == 0 ? 0 : i == 1 ? m1 : i == 2 ? m2 : m3);
    const float sum = i < 2 ? quant_slow(x, wa, sa, ba, r, l, lane) : quant_slow(x, wb, sb, bb, r, l, lane);
    if ((lane & 3) == uint(i)) mine = sum;
  }
  return mine;
}
