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
//
// Arguments that come again and again: bits, group_size and affine (mode == mode_affine)
// are the attributes; kp and g are the lengths of rows of w and scales; row is the row of
// w, counted over all experts.
#pragma once

#if ZMLX_HOST
#define QUANT_UNROLL
#else
#define QUANT_UNROLL _Pragma("unroll")
#endif

// What a lane reads of a row. Reading is apart from computing so that the loads of
// several rows are under way at once.
struct quant_slice {
  uint4 a, b; // 32 codes; b only for 8 bits
  float scale, bias;
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

template <typename W, typename S, typename B>
inline quant_slice quant_load(W w, S scales, B biases, size_t row, int at, int kp, int g, int bits, int group_size, bool affine) {
  quant_slice q;
  const size_t i = row * size_t(kp) + size_t(bits == 4 ? at / 8 : at / 4);
  q.a = quant_words(w + i);
  if (bits == 8) q.b = quant_words(w + i + 4);
  const size_t j = row * size_t(g) + size_t(at / group_size);
  q.scale = quant_scale(scales[j]);
  q.bias = affine ? float(biases[j]) : 0.0f;
  return q;
}

// 32 columns of x into v, divided by the place values of the codes. The result is the
// sum of the columns.
inline float quant_place(thread float *v, int bits, bool affine) {
  float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
  if (!affine) return 0.0f;
  QUANT_UNROLL
  for (int i = 0; i < 32; i += 4) {
    s0 += v[i];
    s1 += v[i + 1];
    s2 += v[i + 2];
    s3 += v[i + 3];
    v[i + 1] *= bits == 4 ? 1.0f / 16.0f : 1.0f / 256.0f;
    if (bits == 4) v[i + 2] *= 1.0f / 256.0f;
    v[i + 3] *= bits == 4 ? 1.0f / 4096.0f : 1.0f / 256.0f;
  }
  return (s0 + s1) + (s2 + s3);
}

#if ZMLX_CUDA
// NVCC reads x one element at a time unless told otherwise. x may be a part of something
// larger and so begin anywhere.
inline void quant_pair(uint u, thread float *v, bfloat16_t) {
  v[0] = as_type<float>(u << 16);
  v[1] = as_type<float>(u & 0xffff0000u);
}
inline void quant_pair(uint u, thread float *v, half) {
  v[0] = float(as_type<half>(ushort(u & 0xffffu)));
  v[1] = float(as_type<half>(ushort(u >> 16)));
}
template <typename T> inline void quant_read(const T *x, thread float *v) {
  if ((size_t(x) & 15) != 0) {
    QUANT_UNROLL
    for (int i = 0; i < 32; i++) v[i] = float(x[i]);
    return;
  }
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) {
    const uint4 u = ((const uint4 *)x)[i];
    quant_pair(u.x, v + 8 * i, T());
    quant_pair(u.y, v + 8 * i + 2, T());
    quant_pair(u.z, v + 8 * i + 4, T());
    quant_pair(u.w, v + 8 * i + 6, T());
  }
}
inline void quant_read(const float *x, thread float *v) {
  if ((size_t(x) & 15) != 0) {
    QUANT_UNROLL
    for (int i = 0; i < 32; i++) v[i] = x[i];
    return;
  }
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) {
    const float4 f = ((const float4 *)x)[i];
    v[4 * i] = f.x;
    v[4 * i + 1] = f.y;
    v[4 * i + 2] = f.z;
    v[4 * i + 3] = f.w;
  }
}
#else
template <typename X> inline void quant_read(X x, thread float *v) {
  QUANT_UNROLL
  for (int i = 0; i < 32; i++) v[i] = float(x[i]);
}
#endif

template <typename X> inline float quant_x(X x, thread float *v, int bits, bool affine) {
  quant_read(x, v);
  return quant_place(v, bits, affine);
}

// A small whole number as a float. On NVIDIA a conversion is slow and an addition is not.
inline float quant_code(uint n) {
#if ZMLX_CUDA
  return as_type<float>(n | 0x4b000000u) - 8388608.0f;
#else
  return float(n);
#endif
}

// The products of one word of codes: 8 of 4 bits, or 4 of 8 bits.
inline float quant_word4(uint w, const thread float *v, float sum) {
  const uint hi = w >> 16;
  sum += v[0] * quant_code(w & 0xfu);
  sum += v[1] * quant_code(w & 0xf0u);
  sum += v[2] * quant_code(w & 0xf00u);
  sum += v[3] * quant_code(w & 0xf000u);
  sum += v[4] * quant_code(hi & 0xfu);
  sum += v[5] * quant_code(hi & 0xf0u);
  sum += v[6] * quant_code(hi & 0xf00u);
  sum += v[7] * quant_code(hi & 0xf000u);
  return sum;
}

inline float quant_word8(uint w, const thread float *v, float sum) {
  const uint hi = w >> 16;
  sum += v[0] * quant_code(w & 0xffu);
  sum += v[1] * quant_code(w & 0xff00u);
  sum += v[2] * quant_code(hi & 0xffu);
  sum += v[3] * quant_code(hi & 0xff00u);
  return sum;
}

// Codes of mxfp4 are e2m1: sign, two bits of exponent, one of mantissa. As the upper bits
// of a half they are 2^-14 of their value. Two codes that are 16 bits apart are
// decoded together: those at 0 and 16.
inline float quant_two_fp4(uint w, float x0, float x1, float sum) {
  const uint h = (w & 0x00070007u) << 9 | (w & 0x00080008u) << 12;
  sum += x0 * float(as_type<half>(ushort(h & 0xffffu)));
  sum += x1 * float(as_type<half>(ushort(h >> 16)));
  return sum;
}

inline float quant_word_fp4(uint w, const thread float *v, float sum) {
  sum = quant_two_fp4(w, v[0], v[4], sum);
  sum = quant_two_fp4(w >> 4, v[1], v[5], sum);
  sum = quant_two_fp4(w >> 8, v[2], v[6], sum);
  return quant_two_fp4(w >> 12, v[3], v[7], sum);
}

// The products of a slice, where v and sum are from quant_x.
inline float quant_dot(quant_slice q, const thread float *v, float sum, int bits, bool affine) {
  float s = 0.0f;
  if (!affine) {
    s = quant_word_fp4(q.a.x, v, s);
    s = quant_word_fp4(q.a.y, v + 8, s);
    s = quant_word_fp4(q.a.z, v + 16, s);
    s = quant_word_fp4(q.a.w, v + 24, s);
    return q.scale * (16384.0f * s);
  }
  if (bits == 4) {
    s = quant_word4(q.a.x, v, s);
    s = quant_word4(q.a.y, v + 8, s);
    s = quant_word4(q.a.z, v + 16, s);
    s = quant_word4(q.a.w, v + 24, s);
  } else {
    s = quant_word8(q.a.x, v, s);
    s = quant_word8(q.a.y, v + 4, s);
    s = quant_word8(q.a.z, v + 8, s);
    s = quant_word8(q.a.w, v + 12, s);
    s = quant_word8(q.b.x, v + 16, s);
    s = quant_word8(q.b.y, v + 20, s);
    s = quant_word8(q.b.z, v + 24, s);
    s = quant_word8(q.b.w, v + 28, s);
  }
  return q.scale * s + q.bias * sum;
}

// A lane's part of a row with every weight by itself, for rows whose sum is no number: an
// infinite x is infinity minus infinity in scale * sum(x * code) + bias * sum(x), though
// the row may well be infinite.
template <typename X, typename W, typename S, typename B>
inline float quant_slow(X x, W w, S scales, B biases, size_t row, int k, int kp, int g, int bits, int group_size, bool affine, uint lane) {
  float sum = 0.0f;
  for (int i = int(lane); i < k; i += 32) {
    const uint word = w[row * size_t(kp) + size_t(i * bits / 32)];
    const uint code = (word >> uint(i * bits % 32)) & (bits == 4 ? 0xfu : 0xffu);
    const size_t j = row * size_t(g) + size_t(i / group_size);
    const float scale = quant_scale(scales[j]);
    const float value = affine ? ZMLX_ROUND(scale * float(code)) + float(biases[j])
                               : scale * (16384.0f * float(as_type<half>(ushort((code & 7u) << 9 | (code & 8u) << 12))));
    sum += float(x[i]) * value;
  }
  return simd_sum(sum);
}
