// Attention of one query row over packed keys and values. As sdpa_decode, but a lane has
// sixteen columns: two words of 4-bit codes or four of 8-bit ones, which belong to one
// quantization group. So a lane's part of a score is scale * sum(q * code) +
// bias * sum(q), and of a value p * scale * code + p * bias, the latter the same for
// all its columns.
#include "attention.h"
#include "quantized.h"

// Sixteen codes with their scale and bias as they are read; 4-bit codes are in x and y.
template <typename T> struct packed_sixteen {
  uint4 w;
  T scale, bias;
};

inline uint4 packed_words(const device uint *p, int bits) {
#if ZMLX_HOST
  return bits == 4 ? uint4(p[0], p[1], 0u, 0u) : uint4(p[0], p[1], p[2], p[3]);
#else
  if (bits == 8) return *(const device uint4 *)p;
  const uint2 w = *(const device uint2 *)p;
  return uint4(w.x, w.y, 0u, 0u);
#endif
}

#if ZMLX_METAL || ZMLX_OPENCL
inline uint4 packed_words(const constant uint *p, int bits) { return bits == 4 ? uint4(p[0], p[1], 0u, 0u) : uint4(p[0], p[1], p[2], p[3]); }
#endif

template <typename T, typename W, typename P, typename Q>
inline packed_sixteen<T> packed_read(W w, P scales, Q biases, int row, int at, int words, int groups, int bits, int group_size, bool there) {
  packed_sixteen<T> c;
  c.w = uint4(0u);
  c.scale = T(0.0f);
  c.bias = T(0.0f);
  if (there) {
    c.w = packed_words(w + (size_t(uint(row)) * uint(words) + uint(at * bits / 32)), bits);
    const size_t j = size_t(uint(row)) * uint(groups) + uint(at / group_size);
    c.scale = scales[j];
    c.bias = biases[j];
  }
  return c;
}

// Code i, times its place value in what it is taken from: 16 bits of a word.
inline float packed_code(uint4 c, int i, int bits) {
  const uint w = quant_word(c, bits == 4 ? i / 8 : i / 4);
  const int half_at = bits == 4 ? i % 8 / 4 : i % 4 / 2; // which half of the word
  const int place = bits == 4 ? i % 4 : i % 2;
  return quant_code(half_at == 0 ? w : w >> 16, bits == 4 ? 0xfu << uint(4 * place) : 0xffu << uint(8 * place));
}
inline float packed_place(int i, int bits) {
  if (bits == 8) return i % 2 == 0 ? 1.0f : 1.0f / 256.0f;
  return i % 4 == 0 ? 1.0f : i % 4 == 1 ? 1.0f / 16.0f : i % 4 == 2 ? 1.0f / 256.0f : 1.0f / 4096.0f;
}

kernel void sdpa_decode_quantized() {
  threadgroup float part[4096];
  threadgroup float tops[16];
  threadgroup float sums[16];
  const int head = int(threadgroup_position_in_grid.x); // over all batches
  const size_t from = size_t(uint(head / (hq / hk))) * uint(cap); // the first row of its keys
  const int dv = vg * group_size;
  const uint lane = thread_index_in_simdgroup;
  const int per = attn_lanes<16>(metal::max(d, dv));
  const int at = 16 * (int(lane) % per), mine = int(lane) / per;
  float query[16];
  float total = 0.0f;
  QUANT_UNROLL
  for (int i = 0; i < 16; i++) {
    query[i] = at < d ? float(q[head * d + at + i]) * (scale * 1.44269504f) : 0.0f;
    total += query[i];
    query[i] *= packed_place(i, bits);
  }

  attn_seen<16> a = attn_nothing<16>();
  float biases = 0.0f;
  const int step = 128 / per * int(simdgroups_per_threadgroup);
  for (int row = 128 / per * int(simdgroup_index_in_threadgroup); row < kv_len; row += step) {
    packed_sixteen<T> keys[4], values[4];
    bool there[4];
    QUANT_UNROLL
    for (int u = 0; u < 4; u++) {
      const int r = row + 32 / per * u + mine;
      there[u] = r < kv_len;
      keys[u] = packed_read<T>(kw + from * uint(kp), ks + from * uint(kg), kb + from * uint(kg), r, at, kp, kg, bits, group_size, there[u] && at < d);
    }
    QUANT_UNROLL
    for (int u = 0; u < 4; u++) {
      const int r = row + 32 / per * u + mine;
      values[u] = packed_read<T>(vw + from * uint(vp), vs + from * uint(vg), vb + from * uint(vg), r, at, vp, vg, bits, group_size, there[u] && at < dv);
    }
    float score[4];
    QUANT_UNROLL
    for (int u = 0; u < 4; u++) {
      float sum = 0.0f;
      QUANT_UNROLL
      for (int i = 0; i < 16; i++) sum += query[i] * packed_code(keys[u].w, i, bits);
      score[u] = attn_sum(float(keys[u].scale) * sum + float(keys[u].bias) * total, per);
    }
    const float before = a.top;
    a = attn_weigh(a, score, there);
    biases *= metal::exp2(before - a.top);
    QUANT_UNROLL
    for (int u = 0; u < 4; u++) {
      const float p = score[u] * float(values[u].scale);
      biases += score[u] * float(values[u].bias);
      QUANT_UNROLL
      for (int i = 0; i < 16; i++) a.acc[i] += p * packed_code(values[u].w, i, bits);
    }
  }
  QUANT_UNROLL
  for (int i = 0; i < 16; i++) a.acc[i] = a.acc[i] * packed_place(i, bits) + biases;
  attn_share(a, per, part, tops, sums, lane, simdgroup_index_in_threadgroup);

  for (int place = int(thread_index_in_threadgroup); place < 16 * per; place += int(threads_per_threadgroup.x)) {
    const attn_result r = attn_gather<16>(part, tops, sums, place, per, simdgroups_per_threadgroup);
    const int c = attn_column<16>(place, per);
    if (c < dv) out[head * dv + c] = out_t(r.acc / r.sum);
  }
}
