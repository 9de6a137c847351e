// Attention of one query row over a cache, in the subset of MSL that all targets share.
//
// A row of keys or values lies over `per` lanes, N elements a lane (8, which are 16 bytes
// of half, unless something else is said); a simdgroup looks at 32 / per rows at once,
// and at four times as many in one step, so that eight loads a lane are under way.
// Each such part of a simdgroup keeps the largest score so far, and sums relative
// to it (online softmax); parts are merged at the end, first of a simdgroup by
// exchanges, then of a group through its memory.
//
// Scores are in units of log(2), so that 2^x is enough. The largest begins at the lowest
// finite number, not at minus infinity: a part without rows, or with scores of minus
// infinity only, then has the sum 0 and adds nothing. NaN and plus infinity among
// scores make the sum NaN, as softmax has it.
//
// Source of the algorithm: sdpa_vector of mlx/backend/metal/kernels/sdpa_vector.h.
#pragma once

#if ZMLX_HOST
#define ATTN_UNROLL
#else
#define ATTN_UNROLL _Pragma("unroll")
#endif

// Eight elements as they are read.
#if ZMLX_CUDA
template <typename T> struct attn_eight {
  uint u[4];
};
template <> struct attn_eight<float> {
  uint u[8];
};
inline uint attn_bits(const float *x) { return as_type<uint>(x[0]); }
template <typename T> inline uint attn_bits(const T *x) { return uint(as_type<ushort>(x[0])) | uint(as_type<ushort>(x[1])) << 16; }
template <bool wide, typename T, typename P> inline attn_eight<T> attn_read(P x, bool there) {
  attn_eight<T> c;
  constexpr int words = sizeof(c) / 4;
  ATTN_UNROLL
  for (int i = 0; i < words; i++) c.u[i] = 0;
  if (there && wide) {
    ATTN_UNROLL
    for (int i = 0; i < words; i += 4) {
      const uint4 q = *(const uint4 *)(x + i * (8 / words));
      c.u[i] = q.x;
      c.u[i + 1] = q.y;
      c.u[i + 2] = q.z;
      c.u[i + 3] = q.w;
    }
  } else if (there) {
    ATTN_UNROLL
    for (int i = 0; i < words; i++) c.u[i] = attn_bits(x + i * (8 / words));
  }
  return c;
}
// Eight numbers that were made in place of read.
template <typename T, typename P> inline attn_eight<T> attn_made(P x, bool there) {
  T v[8];
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) v[i] = there ? T(float(x[i])) : T(0.0f);
  attn_eight<T> c;
  constexpr int words = sizeof(c) / 4;
  ATTN_UNROLL
  for (int i = 0; i < words; i++) c.u[i] = attn_bits(v + i * (8 / words));
  return c;
}
inline float attn_low(uint u, bfloat16_t) { return as_type<float>(u << 16); }
inline float attn_high(uint u, bfloat16_t) { return as_type<float>(u & 0xffff0000u); }
inline float attn_low(uint u, half) { return float(as_type<half>(ushort(u & 0xffffu))); }
inline float attn_high(uint u, half) { return float(as_type<half>(ushort(u >> 16))); }
template <typename T> inline float attn_element(attn_eight<T> c, int i) { return i % 2 == 0 ? attn_low(c.u[i / 2], T()) : attn_high(c.u[i / 2], T()); }
inline float attn_element(attn_eight<float> c, int i) { return as_type<float>(c.u[i]); }
// Whether x can be read 16 bytes at a time: it may be a part of something larger.
template <typename P> inline bool attn_wide(P x) { return (size_t(x) & 15) == 0; }
#else
template <typename T> struct attn_eight {
  T v[8];
};
template <bool wide, typename T, typename P> inline attn_eight<T> attn_read(P x, bool there) {
  attn_eight<T> c;
  if (there) {
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) c.v[i] = x[i];
  } else {
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) c.v[i] = T(0.0f);
  }
  return c;
}
template <typename T, typename P> inline attn_eight<T> attn_made(P x, bool there) {
  attn_eight<T> c;
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) c.v[i] = there ? T(float(x[i])) : T(0.0f);
  return c;
}
template <typename T> inline float attn_element(attn_eight<T> c, int i) { return float(c.v[i]); }
template <typename P> inline bool attn_wide(P) { return true; }
#endif

// Lanes that a row of n elements lies over, N a lane.
template <int N> inline int attn_lanes(int n) { return n > 16 * N ? 32 : n > 8 * N ? 16 : n > 4 * N ? 8 : 4; }

// What a part has seen: the largest score, the sum of the exponentials, and that of
// the exponentials times values.
template <int N> struct attn_seen {
  float top, sum, acc[N];
};

template <int N> inline attn_seen<N> attn_nothing() {
  attn_seen<N> a;
  a.top = -3.4028235e38f;
  a.sum = 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < N; i++) a.acc[i] = 0.0f;
  return a;
}

// A sink is a score without a row, and so without values.
template <int N> inline attn_seen<N> attn_sink(attn_seen<N> a, float score) {
  a.top = metal::max(score, a.top);
  a.sum = metal::exp2(score - a.top);
  return a;
}

// The sum of v over `per` neighbouring lanes.
inline float attn_sum(float v, int per) {
  ATTN_UNROLL
  for (int x = 16; x > 0; x /= 2)
    if (x < per) v += simd_shuffle_xor(v, uint(x));
  return v;
}

// The scores of four rows become what their values are multiplied with; those of rows
// that are not there become 0.
template <int N> inline attn_seen<N> attn_weigh(attn_seen<N> a, thread float *score, const thread bool *there) {
  float top = a.top;
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) top = metal::max(top, there[u] ? score[u] : top);
  const float less = metal::exp2(a.top - top);
  a.top = top;
  a.sum *= less;
  ATTN_UNROLL
  for (int i = 0; i < N; i++) a.acc[i] *= less;
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    score[u] = there[u] ? metal::exp2(score[u] - top) : 0.0f;
    a.sum += score[u];
  }
  return a;
}

// What a lane has of four rows.
template <typename T> struct attn_four {
  attn_eight<T> keys[4], values[4];
  bool there[4];
};

// The four of rows from `row` on, below end and but for row `skip`, of keys k with d and values v
// with dv elements a row.
template <bool wide, typename T, typename K, typename V> inline attn_four<T> attn_load(K k, V v, int d, int dv, int row, int end, int skip, uint lane) {
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int at = 8 * (int(lane) % per), mine = int(lane) / per;
  attn_four<T> f;
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    const int r = row + 32 / per * u + mine;
    f.there[u] = r < end && r != skip;
    f.keys[u] = attn_read<wide, T>(k + (size_t(uint(r)) * uint(d) + uint(at)), f.there[u] && at < d);
  }
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    const int r = row + 32 / per * u + mine;
    f.values[u] = attn_read<wide, T>(v + (size_t(uint(r)) * uint(dv) + uint(at)), f.there[u] && at < dv);
  }
  return f;
}

// Four rows seen, for the query q: the lane's eight elements, times the scale.
template <typename T> inline attn_seen<8> attn_see(attn_seen<8> a, const thread float *q, attn_four<T> f, int per) {
  float score[4];
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    float sum = 0.0f;
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) sum += q[i] * attn_element(f.keys[u], i);
    score[u] = attn_sum(sum, per);
  }
  a = attn_weigh(a, score, f.there);
  ATTN_UNROLL
  for (int u = 0; u < 4; u++) {
    ATTN_UNROLL
    for (int i = 0; i < 8; i++) a.acc[i] += score[u] * attn_element(f.values[u], i);
  }
  return a;
}

// Rows first, first + step, ... below end, and those in between that belong to them.
template <bool wide, typename T, typename K, typename V>
inline attn_seen<8> attn_rows(attn_seen<8> a, const thread float *q, K k, V v, int d, int dv, int first, int end, int step, uint lane) {
  for (int row = first; row < end; row += step) a = attn_see(a, q, attn_load<wide, T>(k, v, d, dv, row, end, -1, lane), attn_lanes<8>(metal::max(d, dv)));
  return a;
}

// One row, of which a lane has eight elements of the key and of the value.
inline attn_seen<8> attn_row(attn_seen<8> a, const thread float *q, const thread float *key, const thread float *value, bool there, int per) {
  float score[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  const bool first[4] = {there, false, false, false};
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) score[0] += q[i] * key[i];
  score[0] = attn_sum(score[0], per);
  a = attn_weigh(a, score, first);
  ATTN_UNROLL
  for (int i = 0; i < 8; i++) a.acc[i] += score[0] * value[i];
  return a;
}

// The parts of a simdgroup made one.
template <int N> inline attn_seen<N> attn_merge(attn_seen<N> a, int per) {
  ATTN_UNROLL
  for (int x = 16; x > 0; x /= 2) {
    if (x >= per) {
      const float other = simd_shuffle_xor(a.top, uint(x));
      const float top = metal::max(a.top, other);
      const float mine = metal::exp2(a.top - top), theirs = metal::exp2(other - top);
      const float sum = simd_shuffle_xor(a.sum, uint(x));
      a.sum = a.sum * mine + sum * theirs;
      ATTN_UNROLL
      for (int i = 0; i < N; i++) {
        const float acc = simd_shuffle_xor(a.acc[i], uint(x));
        a.acc[i] = a.acc[i] * mine + acc * theirs;
      }
      a.top = top;
    }
  }
  return a;
}

// The parts of a group put into its memory: N * per floats a simdgroup in part, one in
// tops and sums. Element c of a row is at the place of which attn_column is c:
// neighbouring places are a lane apart, so that memory is written and read without
// conflicts.
template <int N, typename P, typename Q>
inline void attn_share(attn_seen<N> a, int per, P part, Q tops, Q sums, uint lane, uint simdgroup) {
  a = attn_merge(a, per);
  if (int(lane) < per) {
    ATTN_UNROLL
    for (int i = 0; i < N; i++) part[(int(simdgroup) * N + i) * per + int(lane)] = a.acc[i];
    if (lane == 0) {
      tops[simdgroup] = a.top;
      sums[simdgroup] = a.sum;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

template <int N> inline int attn_column(int place, int per) { return place % per * N + place / per; }

// One element of the result, with the group's largest score and its sum.
struct attn_result {
  float acc, sum, top;
};

template <int N, typename P, typename Q> inline attn_result attn_gather(P part, Q tops, Q sums, int place, int per, uint simdgroups) {
  attn_result r = {0.0f, 0.0f, -3.4028235e38f};
  for (uint i = 0; i < simdgroups; i++) r.top = metal::max(r.top, float(tops[i]));
  for (uint i = 0; i < simdgroups; i++) {
    const float less = metal::exp2(float(tops[i]) - r.top);
    r.sum += float(sums[i]) * less;
    r.acc += float(part[int(i) * N * per + place]) * less;
  }
  return r;
}
