// Parts of a multi-head latent attention of one query row. One group for up to four heads and
// a part of the rows: each row is read and converted once for all of them.
#include "attention.h"
#include "latent.h"

// How many heads' queries and sums a simdgroup has in registers. A thread of Metal has half of
// NVIDIA's.
#if ZMLX_METAL || ZMLX_OPENCL
constexpr constant int heads_once = 2;
#else
constexpr constant int heads_once = 4;
#endif

// Two elements as they are read. On NVIDIA both are one load, and nothing waits for it before
// they are needed.
#if ZMLX_CUDA
template <typename T> struct heads_pair {
  uint u[1];
};
template <> struct heads_pair<float> {
  uint u[2];
};
template <bool wide, typename T, typename P> inline heads_pair<T> heads_two(P x, bool there) {
  heads_pair<T> c;
  constexpr int words = sizeof(c) / 4;
  ATTN_UNROLL
  for (int i = 0; i < words; i++) c.u[i] = !there ? 0 : wide ? *(const uint *)(x + i) : attn_bits(x + i);
  return c;
}
template <typename T> inline float heads_first(heads_pair<T> c) { return attn_low(c.u[0], T()); }
template <typename T> inline float heads_second(heads_pair<T> c) { return attn_high(c.u[0], T()); }
inline float heads_first(heads_pair<float> c) { return as_type<float>(c.u[0]); }
inline float heads_second(heads_pair<float> c) { return as_type<float>(c.u[1]); }
#else
template <typename T> struct heads_pair {
  T a, b;
};
template <bool wide, typename T, typename P> inline heads_pair<T> heads_two(P x, bool there) {
  heads_pair<T> c;
  c.a = there ? T(x[0]) : T(0.0f);
  c.b = there ? T(x[1]) : T(0.0f);
  return c;
}
template <typename T> inline float heads_first(heads_pair<T> c) { return float(c.a); }
template <typename T> inline float heads_second(heads_pair<T> c) { return float(c.b); }
#endif

// Two rows, a lane's elements of each.
template <typename T> struct heads_rows {
  attn_eight<T> near[2], far[2];
  heads_pair<T> turned[2];
};

// A row behind the end is the last one again, which is nothing but read: no register has to be
// cleared for it.
template <bool wide, typename T, typename K, typename R>
inline heads_rows<T> heads_read(K latent, R k_pe, int r, int p, int every, int row, int end, uint lane) {
  const int at = 8 * int(lane), turned = 2 * int(lane);
  heads_rows<T> x;
  ATTN_UNROLL
  for (int u = 0; u < 2; u++) {
    const uint here = uint(metal::min(row + u, end - 1));
    const size_t from = size_t(here) * uint(r * every) + uint(at);
    x.near[u] = attn_read<wide, T>(latent + from, at < r);
    x.far[u] = attn_read<wide, T>(latent + (from + 256), at + 256 < r);
    x.turned[u] = heads_two<wide, T>(k_pe + (size_t(here) * uint(p * every) + uint(turned)), turned < p);
  }
  return x;
}

// Sums of n values over all lanes, n a power of two: lane i gets that of value i % n. On each
// round a lane gives away half of what it has left, in place of adding up all of it.
template <int n> inline float heads_sums(thread float *v, uint lane) {
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
struct heads_seen {
  float top, sum, acc[16 * heads_once];
};

// Rows first, first + step, ... below end and the one behind each. Of q a lane has 16 elements a
// head, of q_pe two. The next two rows are under way while two are multiplied.
template <bool wide, typename T, typename K, typename R>
inline heads_seen heads_see(const thread float *q, const thread float *q_pe, K latent, R k_pe, int r, int p, int every, int first, int end, int step, uint lane) {
  heads_seen a;
  a.top = -3.4028235e38f;
  a.sum = 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < 16 * heads_once; i++) a.acc[i] = 0.0f;
  heads_rows<T> next = heads_read<wide, T>(latent, k_pe, r, p, every, first, end, lane);
  for (int row = first; row < end; row += step) {
    float x[32], pe[4];
    ATTN_UNROLL
    for (int u = 0; u < 2; u++) {
      ATTN_UNROLL
      for (int i = 0; i < 8; i++) {
        x[16 * u + i] = attn_element(next.near[u], i);
        x[16 * u + 8 + i] = attn_element(next.far[u], i);
      }
      pe[2 * u] = heads_first(next.turned[u]);
      pe[2 * u + 1] = heads_second(next.turned[u]);
    }
    next = heads_read<wide, T>(latent, k_pe, r, p, every, row + step, end, lane);

    float v[2 * heads_once];
    ATTN_UNROLL
    for (int h = 0; h < heads_once; h++) {
      ATTN_UNROLL
      for (int u = 0; u < 2; u++) {
        float sum = q_pe[2 * h] * pe[2 * u] + q_pe[2 * h + 1] * pe[2 * u + 1];
        ATTN_UNROLL
        for (int i = 0; i < 16; i++) sum += q[16 * h + i] * x[16 * u + i];
        v[2 * h + u] = sum;
      }
    }
    const float score = heads_sums<2 * heads_once>(v, lane);
    const bool there = row + int(lane & 1) < end;
    float top = there ? metal::max(a.top, score) : a.top;
    top = metal::max(top, simd_shuffle_xor(top, 1));
    const float less = metal::exp2(a.top - top);
    const float weight = there ? metal::exp2(score - top) : 0.0f;
    a.sum = a.sum * less + weight;
    if (simd_max(top > a.top ? 1 : 0) != 0) { // seldom, after the first rows
      ATTN_UNROLL
      for (int h = 0; h < heads_once; h++) {
        const float mine = simd_shuffle(less, uint(2 * h));
        ATTN_UNROLL
        for (int i = 0; i < 16; i++) a.acc[16 * h + i] *= mine;
      }
    }
    a.top = top;
    ATTN_UNROLL
    for (int h = 0; h < heads_once; h++) {
      ATTN_UNROLL
      for (int u = 0; u < 2; u++) {
        const float mine = simd_shuffle(weight, uint(2 * h + u));
        ATTN_UNROLL
        for (int i = 0; i < 16; i++) a.acc[16 * h + i] += mine * x[16 * u + i];
      }
    }
  }
  a.sum += simd_shuffle_xor(a.sum, 1);
  return a;
}

kernel void mla_decode_split() {
  threadgroup float share[4096];
  threadgroup float tops[8];
  threadgroup float sums[8];
  const int split = int(threadgroup_position_in_grid.x), before = 4 * int(threadgroup_position_in_grid.y);
  const int batch = int(threadgroup_position_in_grid.z);
  const int heads = metal::min(4, h - before);
  const size_t from = size_t(uint(batch)) * uint(cap) + uint(split);
  const int rows_here = (kv_len - split + splits - 1) / splits;
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const int at = 8 * int(lane), turned = 2 * int(lane);
  const float unit = scale * 1.44269504f;
  for (int some = 0; some < heads; some += heads_once) {
    const int head = batch * h + before + some, now = metal::min(heads_once, heads - some);
    float query[16 * heads_once], pe[2 * heads_once];
    ATTN_UNROLL
    for (int i = 0; i < heads_once; i++) {
      ATTN_UNROLL
      for (int j = 0; j < 8; j++) {
        query[16 * i + j] = i < now && at < r ? float(q[(head + i) * r + at + j]) * unit : 0.0f;
        query[16 * i + 8 + j] = i < now && at + 256 < r ? float(q[(head + i) * r + at + 256 + j]) * unit : 0.0f;
      }
      pe[2 * i] = i < now && turned < p ? float(q_pe[(head + i) * p + turned]) * unit : 0.0f;
      pe[2 * i + 1] = i < now && turned < p ? float(q_pe[(head + i) * p + turned + 1]) * unit : 0.0f;
    }
    heads_seen a;
    if (attn_wide(latent) && attn_wide(k_pe)) {
      a = heads_see<true, T>(query, pe, latent + from * uint(r), k_pe + from * uint(p), r, p, splits, 2 * int(simdgroup), rows_here, 16, lane);
    } else {
      a = heads_see<false, T>(query, pe, latent + from * uint(r), k_pe + from * uint(p), r, p, splits, 2 * int(simdgroup), rows_here, 16, lane);
    }
    ATTN_UNROLL
    for (int i = 0; i < heads_once; i++) {
      if (i < now) {
        attn_seen<16> one;
        one.top = simd_shuffle(a.top, uint(2 * i));
        one.sum = simd_shuffle(a.sum, uint(2 * i));
        ATTN_UNROLL
        for (int j = 0; j < 16; j++) one.acc[j] = a.acc[16 * i + j];
        attn_share(one, 32, share, tops, sums, lane, simdgroup);
        const int to = (head + i) * splits + split;
        for (int place = int(thread_index_in_threadgroup); place < 512; place += 256) {
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
