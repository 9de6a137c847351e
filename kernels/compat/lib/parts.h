// Parts of an attention of one query row, in the subset of MSL that all targets share. It needs
// attention.h and heads.h before it.
//
// One group for up to eight heads of q that have one head of k and v, and a part of the rows: each
// row is read once for all of them, on tensor cores, or for four at a time.
#pragma once

// The heads of q one behind the other, as they lie in memory. begin is called once, by all threads,
// when the first rows have been asked for.
template <typename P> struct parts_read {
  P x;
  void begin() const {}
  float operator[](int i) const { return float(x[i]); }
  template <typename T> attn_eight<T> eight(int i, bool there, bool wide) const { return wide ? attn_read<true, T>(x + i, there) : attn_read<false, T>(x + i, there); }
};
template <typename P> inline parts_read<P> parts_of(P x) {
  parts_read<P> r = {x};
  return r;
}
// A row of a part that is not in the cache yet; row is -1 if there is none.
template <typename K, typename V> struct parts_fresh {
  int row;
  K key;
  V value;
};
template <typename K, typename V> inline parts_fresh<K, V> parts_row(int row, K key, V value) {
  parts_fresh<K, V> r = {row, key, value};
  return r;
}

template <bool wide, typename T, typename K, typename V>
inline void heads_rows(thread attn_seen<8> *a, const thread float *q, int heads, K k, V v, int d, int dv, int every, int first, int end, int step, int skip, uint lane) {
  const int per = attn_lanes<8>(metal::max(d, dv));
  const int at = 8 * (int(lane) % per), mine = int(lane) / per;
  for (int row = first; row < end; row += step) {
    attn_eight<T> keys[4], values[4];
    bool there[4];
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      const int r = row + 32 / per * u + mine;
      there[u] = r < end && r != skip;
      keys[u] = attn_read<wide, T>(k + (size_t(uint(r)) * uint(d * every) + uint(at)), there[u] && at < d);
    }
    ATTN_UNROLL
    for (int u = 0; u < 4; u++) {
      const int r = row + 32 / per * u + mine;
      values[u] = attn_read<wide, T>(v + (size_t(uint(r)) * uint(dv * every) + uint(at)), there[u] && at < dv);
    }
    ATTN_UNROLL
    for (int h = 0; h < 4; h++) {
      if (h < heads) {
        float score[4];
        ATTN_UNROLL
        for (int u = 0; u < 4; u++) {
          float sum = 0.0f;
          ATTN_UNROLL
          for (int i = 0; i < 8; i++) sum += q[8 * h + i] * attn_element(keys[u], i);
          score[u] = attn_sum(sum, per);
        }
        a[h] = attn_weigh(a[h], score, there);
        ATTN_UNROLL
        for (int u = 0; u < 4; u++) {
          ATTN_UNROLL
          for (int i = 0; i < 8; i++) a[h].acc[i] += score[u] * attn_element(values[u], i);
        }
      }
    }
  }
}

#if ZMLX_MMA
// What a simdgroup has seen of the rows, for eight heads. Lane 4 * j + t has the largest score of
// head j, a part of the sum, and of heads 2t and 2t + 1 the products with columns 8 * j + 2 * w
// and the next, of each 64: of column and head in four floats from 16 * (column / 64) + 4 * w on.
struct heads_seen {
  float top, sum, acc[64];
};

// What a lane brings of sixteen rows of k and of v, from `row` on: see heads_tiles.
template <bool wide, typename T, typename K> inline void heads_keys(thread attn_eight<T> *keys, K k, int d, int every, int row, int end, int skip, uint lane) {
  const int j = int(lane) / 4, t = int(lane) % 4;
  ATTN_UNROLL
  for (int h = 0; h < 2; h++) {
    const int r = row + 8 * h + j;
    ATTN_UNROLL
    for (int c = 0; c < 8; c++)
      if (32 * c < d) keys[8 * h + c] = attn_read<wide, T>(k + (size_t(uint(r)) * uint(d * every) + uint(32 * c + 8 * t)), r < end && r != skip && 32 * c + 8 * t < d);
  }
}
template <bool wide, typename T, typename V> inline void heads_values(thread attn_eight<T> *values, V v, int dv, int every, int row, int end, int skip, uint lane) {
  const int j = int(lane) / 4, t = int(lane) % 4;
  ATTN_UNROLL
  for (int h = 0; h < 4; h++) {
    const int r = row + 2 * t + h / 2 * 8 + h % 2;
    ATTN_UNROLL
    for (int c = 0; c < 4; c++)
      if (64 * c < dv) values[4 * h + c] = attn_read<wide, T>(v + (size_t(uint(r)) * uint(dv * every) + uint(64 * c + 8 * j)), r < end && r != skip && 64 * c + 8 * j < dv);
  }
}

// Sixteen rows at a time, of which the first are in keys and values. Scores are products of q, whose rows are the heads, with k turned over:
// lane 4 * j + t brings 16 bytes of row j of each, 8 * t elements behind every 32, and so gets
// scores of head j for rows 2t and 2t + 1: the very fragment of weights that v turned over, whose
// pairs are elements of two rows, is multiplied with. A weight is a sum of numbers of type T, so that
// hardly more is lost than in float32.
template <bool wide, typename T, typename K, typename V>
inline heads_seen heads_tiles(const thread attn_eight<T> *query, K k, V v, thread attn_eight<T> *keys, thread attn_eight<T> *values, float scale, int d, int dv, int every, int first,
                              int end, int step, int skip, uint lane) {
  const int t = int(lane) % 4;
  heads_seen a;
  a.top = -3.4028235e38f;
  a.sum = 0.0f;
  ATTN_UNROLL
  for (int i = 0; i < 64; i++) a.acc[i] = 0.0f;

  for (int row = first; row < end; row += step) {
    float score[4];
    ATTN_UNROLL
    for (int h = 0; h < 2; h++) {
      float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      ATTN_UNROLL
      for (int i = 0; i < 16; i++) {
        if (32 * (i / 2) < d) {
          const int c = i / 2, w = i % 2 * 2;
          simd_mma(T(), sum, heads_word(query[c], w), 0u, heads_word(query[c], w + 1), 0u, heads_word(keys[8 * h + c], w), heads_word(keys[8 * h + c], w + 1));
        }
      }
      score[2 * h] = sum[0] * scale;
      score[2 * h + 1] = sum[1] * scale;
    }
    heads_keys<wide, T>(keys, k, d, every, row + step, end, skip, lane);
    float top = a.top;
    bool there[4];
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) {
      const int r = row + 2 * t + i / 2 * 8 + i % 2;
      there[i] = r < end && r != skip;
      top = there[i] ? metal::max(top, score[i]) : top;
    }
    top = metal::max(top, simd_shuffle_xor(top, 1));
    top = metal::max(top, simd_shuffle_xor(top, 2));
    const float less = metal::exp2(a.top - top);
    a.top = top;
    a.sum *= less;
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) {
      score[i] = there[i] ? metal::exp2(score[i] - top) : 0.0f;
      a.sum += score[i];
    }
    const float less0 = simd_shuffle(less, uint(8 * t)), less1 = simd_shuffle(less, uint(8 * t + 4));
    ATTN_UNROLL
    for (int i = 0; i < 64; i++)
      if (64 * (i / 16) < dv) a.acc[i] *= i % 2 == 0 ? less0 : less1;
    uint p[6];
    ATTN_UNROLL
    for (int h = 0; h < 2; h++) {
      float x = score[2 * h] * heads_lift, y = score[2 * h + 1] * heads_lift;
      ATTN_UNROLL
      for (int i = h; i < 2 * heads_mma<T>::terms; i += 2) {
        p[i] = heads_pair<T>(x, y);
        x -= heads_low<T>(p[i]);
        y -= heads_high<T>(p[i]);
      }
    }
    ATTN_UNROLL
    for (int i = 0; i < 16; i++) {
      if (64 * (i / 4) < dv) {
        const int c = i / 4, w = i % 4;
        const uint v0 = heads_word(values[c], w), v1 = heads_word(values[4 + c], w), v2 = heads_word(values[8 + c], w), v3 = heads_word(values[12 + c], w);
        const uint a0 = (v0 & 0xffffu) | v1 << 16, a1 = v0 >> 16 | (v1 & 0xffff0000u), a2 = (v2 & 0xffffu) | v3 << 16, a3 = v2 >> 16 | (v3 & 0xffff0000u);
        ATTN_UNROLL
        for (int h = 0; h < heads_mma<T>::terms; h++) simd_mma(T(), a.acc + 4 * i, a0, a1, a2, a3, p[2 * h], p[2 * h + 1]);
      }
    }
    heads_values<wide, T>(values, v, dv, every, row + step, end, skip, lane);
  }
  a.sum += simd_shuffle_xor(a.sum, 1);
  a.sum += simd_shuffle_xor(a.sum, 2);
  return a;
}

// One more row, whose key and value are not in the cache yet, behind all others that the simdgroup
// has seen. query is the lane's part of the heads, and value what it has of the row, as heads_fresh reads it.
template <typename T, typename F>
inline heads_seen heads_row(heads_seen a, const thread attn_eight<T> *query, F key, const thread attn_eight<T> *value, float scale, int d, int dv, uint lane) {
  const int t = int(lane) % 4;
  float score = 0.0f;
  ATTN_UNROLL
  for (int c = 0; c < 8; c++) {
    if (32 * c < d) {
      ATTN_UNROLL
      for (int i = 0; i < 8; i++) score += 32 * c + 8 * t < d ? attn_element(query[c], i) * float(key[32 * c + 8 * t + i]) : 0.0f;
    }
  }
  score += simd_shuffle_xor(score, 1);
  score += simd_shuffle_xor(score, 2);
  score *= scale;
  const float top = metal::max(a.top, score), less = metal::exp2(a.top - top), mine = metal::exp2(score - top);
  a.top = top;
  a.sum = a.sum * less + mine;
  const float less0 = simd_shuffle(less, uint(8 * t)), less1 = simd_shuffle(less, uint(8 * t + 4));
  const float mine0 = simd_shuffle(mine, uint(8 * t)) * heads_lift, mine1 = simd_shuffle(mine, uint(8 * t + 4)) * heads_lift;
  ATTN_UNROLL
  for (int i = 0; i < 64; i++) {
    if (64 * (i / 16) < dv) {
      const float x = attn_element(value[i / 16], i % 16 / 4 * 2 + i % 4 / 2);
      a.acc[i] = i % 2 == 0 ? a.acc[i] * less0 + mine0 * x : a.acc[i] * less1 + mine1 * x;
    }
  }
  return a;
}
template <bool wide, typename T, typename V> inline void heads_fresh(thread attn_eight<T> *value, V v, int dv, uint lane) {
  const int at = 8 * (int(lane) / 4);
  ATTN_UNROLL
  for (int c = 0; c < 4; c++)
    if (64 * c < dv) value[c] = attn_read<wide, T>(v + (64 * c + at), 64 * c + at < dv);
}
#endif

// A part of `heads` heads, at most eight. k and v begin with its first row, and rows are `splits`
// apart. part and lse are those of the first head. share is threadgroup memory for 2,080 floats,
// tops and sums for 32 each. scale is that of q, in units of log(2).
template <typename T, typename Q, typename K, typename V, typename R, typename P, typename L, typename F, typename G>
inline void attention_part(thread Q &q, int heads, K k, V v, R fresh, P part, L lse, float scale, int d, int dv, int splits, int rows, bool wide, F share, G tops, G sums, uint lane,
                           uint simdgroup) {
  const int thread_here = int(32 * simdgroup + lane);
#if ZMLX_MMA
  if constexpr (heads_mma<T>::terms > 0) {
    const int first = 16 * int(simdgroup);
    attn_eight<T> keys[16], values[16];
    if (wide) {
      heads_keys<true, T>(keys, k, d, splits, first, rows, fresh.row, lane);
      heads_values<true, T>(values, v, dv, splits, first, rows, fresh.row, lane);
    } else {
      heads_keys<false, T>(keys, k, d, splits, first, rows, fresh.row, lane);
      heads_values<false, T>(values, v, dv, splits, first, rows, fresh.row, lane);
    }
    q.begin();
    const int j = int(lane) / 4, t = int(lane) % 4;
    attn_eight<T> query[8];
    ATTN_UNROLL
    for (int c = 0; c < 8; c++)
      if (32 * c < d) query[c] = q.template eight<T>(j * d + 32 * c + 8 * t, j < heads && 32 * c + 8 * t < d, wide);
    heads_seen a;
    if (wide) {
      a = heads_tiles<true, T>(query, k, v, keys, values, scale, d, dv, splits, first, rows, 64, fresh.row, lane);
    } else {
      a = heads_tiles<false, T>(query, k, v, keys, values, scale, d, dv, splits, first, rows, 64, fresh.row, lane);
    }
    if (fresh.row >= 0 && simdgroup == 0) {
      attn_eight<T> value[4]; // of the row that is not in the cache
      if (attn_wide(fresh.value)) {
        heads_fresh<true, T>(value, fresh.value, dv, lane);
      } else {
        heads_fresh<false, T>(value, fresh.value, dv, lane);
      }
      a = heads_row<T>(a, query, fresh.key, value, scale, d, dv, lane);
    }
    if (t == 0) {
      tops[8 * simdgroup + uint(j)] = a.top;
      sums[8 * simdgroup + uint(j)] = a.sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float top = -3.4028235e38f, sum = 0.0f; // of head j, of the group
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) top = metal::max(top, float(tops[8 * i + j]));
    ATTN_UNROLL
    for (int i = 0; i < 4; i++) sum += float(sums[8 * i + j]) * metal::exp2(float(tops[8 * i + j]) - top);
    if (simdgroup == 0 && t == 0 && j < heads) lse[j * splits] = (top + metal::log2(sum)) * 0.693147181f;
    const float mine = metal::exp2(a.top - top) / (sum * heads_lift);
    const float mine0 = simd_shuffle(mine, uint(8 * t)), mine1 = simd_shuffle(mine, uint(8 * t + 4));
    ATTN_UNROLL
    for (int c = 0; c < 4; c++) { // 64 columns at a time
      if (64 * c < dv) {
        ATTN_UNROLL
        for (int i = 0; i < 16; i++) // heads are 65 apart, so that lanes meet in few banks
          share[(8 * int(simdgroup) + 2 * t + i % 2) * 65 + 8 * j + i / 4 * 2 + i % 4 / 2] = a.acc[16 * c + i] * (i % 2 == 0 ? mine0 : mine1);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int place = thread_here; place < 64 * heads; place += 128) {
          const int h = place / 64, column = place % 64;
          float acc = 0.0f;
          ATTN_UNROLL
          for (int i = 0; i < 4; i++) acc += float(share[(8 * i + h) * 65 + column]);
          if (64 * c + column < dv) part[size_t(uint(h * splits)) * uint(dv) + uint(64 * c + column)] = acc;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
      }
    }
  } else
#endif
  {
    const int per = attn_lanes<8>(metal::max(d, dv));
    const int at = 8 * (int(lane) % per);
    const int first = 128 / per * int(simdgroup), step = 512 / per;
    q.begin();
    for (int four = 0; four < heads; four += 4) {
      const int now = metal::min(4, heads - four);
      float query[32];
      attn_seen<8> a[4];
      ATTN_UNROLL
      for (int i = 0; i < 32; i++) query[i] = at < d && i / 8 < now ? q[(four + i / 8) * d + at + i % 8] * scale : 0.0f;
      ATTN_UNROLL
      for (int i = 0; i < 4; i++) a[i] = attn_nothing<8>();
      if (wide) {
        heads_rows<true, T>(a, query, now, k, v, d, dv, splits, first, rows, step, fresh.row, lane);
      } else {
        heads_rows<false, T>(a, query, now, k, v, d, dv, splits, first, rows, step, fresh.row, lane);
      }
      if (fresh.row >= 0 && simdgroup == 0) {
        float key[8], value[8];
        ATTN_UNROLL
        for (int i = 0; i < 8; i++) {
          key[i] = at < d ? float(fresh.key[at + i]) : 0.0f;
          value[i] = at < dv && int(lane) < per ? float(fresh.value[at + i]) : 0.0f; // 0 times infinity is no 0
        }
        ATTN_UNROLL
        for (int i = 0; i < 4; i++)
          if (i < now) a[i] = attn_row(a[i], query + 8 * i, key, value, int(lane) < per, per);
      }
      ATTN_UNROLL
      for (int i = 0; i < 4; i++) {
        if (i < now) {
          attn_share(a[i], per, share, tops, sums, lane, simdgroup);
          const int to = (four + i) * splits;
          for (int place = thread_here; place < 8 * per; place += 128) {
            const attn_result x = attn_gather<8>(share, tops, sums, place, per, 4);
            const int c = attn_column<8>(place, per);
            if (c < dv) part[size_t(uint(to)) * uint(dv) + uint(c)] = x.acc / x.sum;
            if (place == 0) lse[to] = (x.top + metal::log2(x.sum)) * 0.693147181f;
          }
          threadgroup_barrier(mem_flags::mem_threadgroup);
        }
      }
    }
  }
}
