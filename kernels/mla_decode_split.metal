// Parts of a multi-head latent attention of one query row. One group for up to eight heads and a
// part of the rows, which are key and value of all: each row is read once for all of them, on
// tensor cores, or for four at a time.
#include "attention.h"
#include "heads.h"
#include "latent.h"

// How many heads a simdgroup has in registers without tensor cores. A thread of Metal has half of
// NVIDIA's.
#if ZMLX_METAL || ZMLX_OPENCL
constexpr constant int latent_once = 2;
#else
constexpr constant int latent_once = 4;
#endif

// Sums of n values over all lanes, n a power of two: lane i gets that of value i % n. On each
// round a lane gives away half of what it has left, in place of adding up all of it.
template <int n> inline float latent_sums(thread float *v, uint lane) {
  ATTN_UNROLL
  for (int x = 1; x < n; x *= 2) {
    const bool odd = (lane & uint(x)) != 0;
    ATTN_UNROLL
    for (int i = 0; i < n / 2; i++)
      if (i < n / 2 / x) v[i] = (odd ? v[2 * i + 1] : v[2 * i]) + simd_shuffle_xor(odd ? v[2 * i] : v[2 * i + 1], uint(x));
  }
  float sum = v[0];
  ATTN_UNROLL
  for (int x = n; x < 32; x *= 2) sum += simd_shuffle_xor(sum, uint(x));
  return sum;
}

// What a simdgroup has seen of the rows. Lane 2 * h + u has head h's largest score, and the sum of
// the exponentials of rows u, u + 2, ...; the lanes behind the last head have the same again.
struct latent_seen {
  float top, sum, acc[16 * latent_once];
};

// Rows first, first + step, ... below end and the one behind each. A lane has 16 elements of q a
// head, and two of q_pe.
template <bool wide, typename T, typename K, typename R>
inline latent_seen latent_pairs(const thread float *q, const thread float *q_pe, K latent, R k_pe, int r, int p, int every, int first, int end, int step, uint lane) {
  const int at = 8 * int(lane), turned = 2 * int(lane);
  latent_seen a;
  a.top = -3.4028235e38f;
  a.sum = 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < 16 * latent_once; i++) a.acc[i] = 0.0f;
  for (int row = first; row < end; row += step) {
    float x[32], pe[4];
    ATTN_UNROLL
    for (int u = 0; u < 2; u++) {
      const bool there = row + u < end;
      const size_t from = size_t(uint(row + u)) * uint(r * every) + uint(at);
      const attn_eight<T> near = attn_read<wide, T>(latent + from, there && at < r);
      const attn_eight<T> far = attn_read<wide, T>(latent + (from + 256), there && at + 256 < r);
      ATTN_UNROLL
      for (int i = 0; i < 8; i++) {
        x[16 * u + i] = attn_element(near, i);
        x[16 * u + 8 + i] = attn_element(far, i);
      }
      const size_t i = size_t(uint(row + u)) * uint(p * every) + uint(turned);
      pe[2 * u] = there && turned < p ? float(k_pe[i]) : 0.0f;
      pe[2 * u + 1] = there && turned < p ? float(k_pe[i + 1]) : 0.0f;
    }
    float v[2 * latent_once];
    ATTN_UNROLL
    for (int h = 0; h < latent_once; h++) {
      ATTN_UNROLL
      for (int u = 0; u < 2; u++) {
        float sum = q_pe[2 * h] * pe[2 * u] + q_pe[2 * h + 1] * pe[2 * u + 1];
        ATTN_UNROLL
        for (int i = 0; i < 16; i++) sum += q[16 * h + i] * x[16 * u + i];
        v[2 * h + u] = sum;
      }
    }
    const float score = latent_sums<2 * latent_once>(v, lane);
    const bool there = row + int(lane & 1) < end;
    float top = there ? metal::max(a.top, score) : a.top;
    top = metal::max(top, simd_shuffle_xor(top, 1));
    const float less = metal::exp2(a.top - top);
    const float weight = there ? metal::exp2(score - top) : 0.0f;
    a.top = top;
    a.sum = a.sum * less + weight;
    ATTN_UNROLL
    for (int h = 0; h < latent_once; h++) {
      const float before = simd_shuffle(less, uint(2 * h)), one = simd_shuffle(weight, uint(2 * h)), two = simd_shuffle(weight, uint(2 * h + 1));
      ATTN_UNROLL
      for (int i = 0; i < 16; i++) a.acc[16 * h + i] = a.acc[16 * h + i] * before + one * x[i] + two * x[16 + i];
    }
  }
  a.sum += simd_shuffle_xor(a.sum, 1);
  return a;
}

#if ZMLX_MMA
// The same for eight heads. Lane 4 * j + t has the largest score of head j, a part of the sum, and of
// heads 2t and 2t + 1 the products with columns 8 * j + 2 * w and the next, of each 64: of column
// and head in four floats from 16 * (column / 64) + 4 * w on.
struct latent_tile {
  float top, sum, acc[128];
};

// Sixteen rows at a time. Scores are products of q, whose fragments are in a group's memory, with rows
// turned over: lane 4 * j + t brings 16 bytes of rows j and j + 8, 8 * t elements behind every 32, and
// gets scores of head j for rows 2t and 2t + 1: the very fragment of weights that rows are multiplied
// with, whose pairs are elements of two. Sixteen rows of q are multiplied: the first eight are heads
// with two words of what a lane brings, the others the same heads with the other two, so that half of
// each product is of use, and no register has to be moved. A row behind the end is the last one again,
// with the weight 0.
template <typename T, typename Q, typename K, typename R>
inline latent_tile latent_tiles(Q queries, K latent, R k_pe, float unit, int r, int p, int every, int first, int end, int step, uint lane) {
  const int j = int(lane) / 4, t = int(lane) % 4;
  latent_tile a;
  a.top = -3.4028235e38f;
  a.sum = 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < 128; i++) a.acc[i] = 0.0f;
  for (int row = first; row < end; row += step) {
    simdgroup_barrier(mem_flags::mem_threadgroup); // else queries would be read once, into registers that are not there
    float sums[16];
    ATTN_UNROLL
    for (int i = 0; i < 16; i++) sums[i] = 0.0f;
    ATTN_UNROLL
    for (int h = 0; h < 2; h++) {
      const size_t from = size_t(uint(metal::min(row + 8 * h + j, end - 1)) * uint(every));
      const K keys = latent + (from * uint(r) + uint(8 * t));
      const R keys_pe = k_pe + (from * uint(p) + uint(8 * t));
      ATTN_UNROLL
      for (int c = 0; c < 18; c++) { // the last two are the rotated part
        const int at = c < 16 ? 32 * c : 32 * c - 512, n = c < 16 ? r : p;
        if (at < n) {
          attn_eight<T> x;
          if (c < 16) {
            x = attn_read<true, T>(keys + at, at + 8 * t < n);
          } else {
            x = attn_read<true, T>(keys_pe + at, at + 8 * t < n);
          }
          const uint4 query = queries[32 * c + int(lane)];
          simd_mma(T(), sums + 8 * h, query.x, query.y, query.z, query.w, heads_word(x, 0), heads_word(x, 1));
          simd_mma(T(), sums + (8 * h + 4), query.x, query.y, query.z, query.w, heads_word(x, 2), heads_word(x, 3));
        }
      }
    }
    float score[4];
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) score[i] = (sums[i / 2 * 8 + i % 2] + sums[i / 2 * 8 + 6 + i % 2]) * unit;
    float top = a.top;
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) top = row + 2 * t + i / 2 * 8 + i % 2 < end ? metal::max(top, score[i]) : top;
    top = metal::max(top, simd_shuffle_xor(top, 1));
    top = metal::max(top, simd_shuffle_xor(top, 2));
    const float less = metal::exp2(a.top - top);
    a.top = top;
    a.sum *= less;
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) {
      score[i] = row + 2 * t + i / 2 * 8 + i % 2 < end ? metal::exp2(score[i] - top) : 0.0f;
      a.sum += score[i];
    }
    const float less0 = simd_shuffle(less, uint(8 * t)), less1 = simd_shuffle(less, uint(8 * t + 4));
    ATTN_UNROLL
    for (int i = 0; i < 128; i++)
      if (64 * (i / 16) < r) a.acc[i] *= i % 2 == 0 ? less0 : less1;
    uint weights[6];
    ATTN_UNROLL
    for (int h = 0; h < 2; h++) {
      float x = score[2 * h] * heads_lift, y = score[2 * h + 1] * heads_lift;
      ATTN_UNROLL
      for (int i = h; i < 2 * heads_mma<T>::terms; i += 2) {
        weights[i] = heads_pair<T>(x, y);
        x -= heads_low<T>(weights[i]);
        y -= heads_high<T>(weights[i]);
      }
    }
    K from[4];
    ATTN_UNROLL
    for (int h = 0; h < 4; h++) from[h] = latent + (size_t(uint(metal::min(row + 2 * t + h / 2 * 8 + h % 2, end - 1))) * uint(r * every) + uint(8 * j));
    ATTN_UNROLL
    for (int c = 0; c < 8; c++) {
      if (64 * c < r) {
        attn_eight<T> values[4];
        ATTN_UNROLL
        for (int h = 0; h < 4; h++) values[h] = attn_read<true, T>(from[h] + 64 * c, 64 * c + 8 * j < r);
        ATTN_UNROLL
        for (int w = 0; w < 4; w++) {
          const uint v0 = heads_word(values[0], w), v1 = heads_word(values[1], w), v2 = heads_word(values[2], w), v3 = heads_word(values[3], w);
          const uint a0 = heads_lows(v0, v1), a1 = heads_highs(v0, v1), a2 = heads_lows(v2, v3), a3 = heads_highs(v2, v3);
          ATTN_UNROLL
          for (int h = 0; h < heads_mma<T>::terms; h++) simd_mma(T(), a.acc + (16 * c + 4 * w), a0, a1, a2, a3, weights[2 * h], weights[2 * h + 1]);
        }
      }
    }
  }
  a.sum += simd_shuffle_xor(a.sum, 1);
  a.sum += simd_shuffle_xor(a.sum, 2);
  return a;
}
#endif

kernel void mla_decode_split() {
  threadgroup uint4 queries[576];
  threadgroup float share[4160];
  threadgroup float tops[64];
  threadgroup float sums[64];
  const int split = int(threadgroup_position_in_grid.x), before = 8 * int(threadgroup_position_in_grid.y), batch = int(threadgroup_position_in_grid.z);
  const int head = batch * h + before; // the first of the eight
  const int heads = metal::min(8, h - before);
  const size_t from = size_t(uint(batch)) * uint(cap) + uint(split);
  const int rows_here = (kv_len - split + splits - 1) / splits;
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const int thread_here = int(thread_index_in_threadgroup);
  const float unit = scale * 1.44269504f;
  const bool wide = attn_wide(latent) && attn_wide(k_pe) && attn_wide(q) && attn_wide(q_pe);
  bool done = false;
#if ZMLX_MMA
  if constexpr (heads_mma<T>::terms > 0) {
    if (wide && p % 8 == 0) {
      for (int i = thread_here; i < 576; i += 256) { // of heads that are not there, too, as 0
        const int c = i / 32, j = i % 32 / 4, at = i % 4 * 8 + (c < 16 ? 32 * c : 32 * c - 512);
        attn_eight<T> x;
        if (c < 16) {
          x = attn_read<true, T>(q + ((head + j) * r + at), j < heads && at < r);
        } else {
          x = attn_read<true, T>(q_pe + ((head + j) * p + at), j < heads && at < p);
        }
        queries[i] = uint4(heads_word(x, 0), heads_word(x, 2), heads_word(x, 1), heads_word(x, 3));
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      const latent_tile a = latent_tiles<T>(queries, latent + from * uint(r), k_pe + from * uint(p), unit, r, p, splits, 16 * int(simdgroup), rows_here, 128, lane);
      const int j = int(lane) / 4, t = int(lane) % 4;
      if (t == 0) {
        tops[8 * simdgroup + uint(j)] = a.top;
        sums[8 * simdgroup + uint(j)] = a.sum;
      }
      ATTN_UNROLL
      for (int c = 0; c < 8; c++) { // 64 columns at a time
        if (64 * c < r) {
          ATTN_UNROLL
          for (int i = 0; i < 16; i++) // heads are 65 apart, so that lanes meet in few banks
            share[(8 * int(simdgroup) + 2 * t + i % 2) * 65 + 8 * j + i / 4 * 2 + i % 4 / 2] = a.acc[16 * c + i];
          threadgroup_barrier(mem_flags::mem_threadgroup);
          for (int place = thread_here; place < 64 * heads; place += 256) {
            const int i = place / 64, column = place % 64;
            float top = -3.4028235e38f, sum = 0.0f, acc = 0.0f;
            for (int s = 0; s < 8; s++) top = metal::max(top, float(tops[8 * s + i]));
            for (int s = 0; s < 8; s++) {
              const float less = metal::exp2(float(tops[8 * s + i]) - top);
              sum += float(sums[8 * s + i]) * less;
              acc += float(share[(8 * s + i) * 65 + column]) * less;
            }
            const int to = (head + i) * splits + split;
            if (64 * c + column < r) part[size_t(uint(to)) * uint(r) + uint(64 * c + column)] = acc / (sum * heads_lift);
            if (c == 0 && column == 0) lse[to] = (top + metal::log2(sum)) * 0.693147181f;
          }
          threadgroup_barrier(mem_flags::mem_threadgroup);
        }
      }
      done = true;
    }
  }
#endif
  if (!done) {
    const int at = 8 * int(lane), turned = 2 * int(lane);
    for (int some = 0; some < heads; some += latent_once) {
      const int first = head + some, now = metal::min(latent_once, heads - some);
      float query[16 * latent_once], pe[2 * latent_once];
      ATTN_UNROLL
      for (int i = 0; i < latent_once; i++) {
        ATTN_UNROLL
        for (int e = 0; e < 8; e++) {
          query[16 * i + e] = i < now && at < r ? float(q[(first + i) * r + at + e]) * unit : 0.0f;
          query[16 * i + 8 + e] = i < now && at + 256 < r ? float(q[(first + i) * r + at + 256 + e]) * unit : 0.0f;
        }
        pe[2 * i] = i < now && turned < p ? float(q_pe[(first + i) * p + turned]) * unit : 0.0f;
        pe[2 * i + 1] = i < now && turned < p ? float(q_pe[(first + i) * p + turned + 1]) * unit : 0.0f;
      }
      latent_seen a;
      if (wide) {
        a = latent_pairs<true, T>(query, pe, latent + from * uint(r), k_pe + from * uint(p), r, p, splits, 2 * int(simdgroup), rows_here, 16, lane);
      } else {
        a = latent_pairs<false, T>(query, pe, latent + from * uint(r), k_pe + from * uint(p), r, p, splits, 2 * int(simdgroup), rows_here, 16, lane);
      }
      ATTN_UNROLL
      for (int i = 0; i < latent_once; i++) {
        if (i < now) {
          attn_seen<16> one;
          one.top = simd_shuffle(a.top, uint(2 * i));
          one.sum = simd_shuffle(a.sum, uint(2 * i));
          ATTN_UNROLL
          for (int e = 0; e < 16; e++) one.acc[e] = a.acc[16 * i + e];
          attn_share(one, 32, share, tops, sums, lane, simdgroup);
          const int to = (first + i) * splits + split;
          for (int place = thread_here; place < 512; place += 256) {
            const attn_result x = attn_gather<16>(share, tops, sums, place, 32, 8);
            const int c = latent_column(place);
            if (c < r) part[size_t(uint(to)) * uint(r) + uint(c)] = x.acc / x.sum;
            if (place == 0) lse[to] = (x.top + metal::log2(x.sum)) * 0.693147181f;
          }
          threadgroup_barrier(mem_flags::mem_threadgroup);
        }
      }
    }
  }
}
