// Rows of a batch, each at its own experts, some of which are the same. A group stands at one place of
// the indices, and takes with it up to seven places behind that have the same expert, so that its matrix
// is read and unpacked once for eight; groups that stand at those have nothing to do. So no rows need
// to be sorted. It needs rows.h before it, whose fragments it uses: columns of a product are rows of x.
#pragma once

struct batch_rows {
  int count; // 0 where another group does it
  int place; // of row lane / 4 of those, for this lane
};

// The places of a group that stands at `me`, of m. More than 1,024, a bit of a word for each lane, are
// each by themselves, and so are all where weights are not multiplied by tensor cores.
template <typename T, typename I> inline batch_rows batch_find(I idx, int m, int me, uint lane) {
  batch_rows r = {1, me};
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    if (m > 1024) return r;
    const uint chosen = uint(idx[me]);
    uint same = 0u; // bit c: place 32 * c + lane
    int before = 0;
    for (int c = 0; 32 * c < m; c++) {
      const int at = 32 * c + int(lane);
      const bool hit = at < m && uint(idx[metal::min(at, m - 1)]) == chosen;
      same |= hit ? 1u << c : 0u;
      before += hit && at < me ? 1 : 0;
    }
    if (simd_sum(before) % 8 != 0) {
      r.count = 0;
      return r;
    }
    int last = me;
    while (r.count < 8) {
      int next = m;
      for (int c = (m - 1) / 32; c >= 0; c--) {
        const int at = 32 * c + int(lane);
        if ((same >> c & 1u) != 0u && at > last) next = at;
      }
      last = simd_min(next);
      if (last == m) break;
      if (int(lane >> 2) == r.count) r.place = last;
      r.count++;
    }
  }
#endif
  return r;
}

// The place of row i of a group's.
inline int batch_place(batch_rows r, int i) { return simd_shuffle(r.place, 4u * uint(i)); }

#if ZMLX_MMA
// The products of two tiles with the rows of a group; x is this lane's row. A lane gets of tile q and rows
// i = 2 * (lane % 4) and the next: of weights' row lane / 4 at 4 * q and the next, of row lane / 4 + 8
// behind them, from steps `first`, first + every, ... of columns. What the next one needs is asked for before one
// is multiplied.
template <typename T, typename S, typename X, typename R>
inline void batch_multiply(X x, R r0, R r1, int first, int every, quant_layout l, uint lane, thread float *sums) {
  const int step = rows_step(l), own = step / 4, t = int(lane & 3);
  const float offset = tile_offset<T, S>() ? 16.0f : 0.0f;
  first *= step;
  every *= step;
  if (first >= l.k) return;
  rows_part next = rows_load(r0, r1, first, l, lane);
  uint ahead[16];
  QUANT_UNROLL
  for (int i = 0; i < 16; i++) ahead[i] = 0;
  tile_pairs(x + (first + t * own), own, ahead);
  for (int at = first; at < l.k; at += every) {
    const rows_part part = next;
    uint u[8];
    QUANT_UNROLL
    for (int i = 0; i < 8; i++) u[i] = ahead[i];
    if (at + every < l.k) {
      next = rows_load(r0, r1, at + every, l, lane);
      tile_pairs(x + (at + every + t * own), own, ahead);
    }
    float s0 = 0.0f, s1 = 0.0f; // of x over this step, for the lane's two rows
    if (l.affine) {
      float all = 0.0f;
      QUANT_UNROLL
      for (int i = 0; i < 8; i++)
        if (i < own / 2) all += quant_low(u[i], T()) + quant_high(u[i], T());
      all += simd_shuffle_xor(all, 1);
      all += simd_shuffle_xor(all, 2);
      s0 = simd_shuffle(all, 8 * uint(t));
      s1 = simd_shuffle(all, 8 * uint(t) + 4);
    }
    QUANT_UNROLL
    for (int q = 0; q < 2; q++) {
      float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      QUANT_UNROLL
      for (int w = 0; w < 2; w++) {
        if (8 * w < own) {
          const uint one = part.code[4 * q + w], other = part.code[4 * q + 2 + w];
          QUANT_UNROLL
          for (int h = 0; h < 2; h++) { // the pairs that codes come in are four columns apart
            const uint low = u[4 * w + h], high = u[4 * w + h + 2], b0 = (low & 0xffffu) | high << 16, b1 = low >> 16 | (high & 0xffff0000u);
            if (l.affine) {
              simd_mma(T(), c, tile_operand<T, S>(tile_codes(one, 2 * h, T())), tile_operand<T, S>(tile_codes(other, 2 * h, T())),
                       tile_operand<T, S>(tile_codes(one, 2 * h + 1, T())), tile_operand<T, S>(tile_codes(other, 2 * h + 1, T())), b0, b1);
            } else {
              simd_mma(T(), c, tile_fp4(one, 2 * h, T()), tile_fp4(other, 2 * h, T()), tile_fp4(one, 2 * h + 1, T()), tile_fp4(other, 2 * h + 1, T()), b0, b1);
            }
          }
        }
      }
      QUANT_UNROLL
      for (int i = 0; i < 4; i++) {
        const float scale = part.scale[2 * q + i / 2], s = i % 2 == 0 ? s0 : s1;
        sums[4 * q + i] += l.affine ? scale * (c[i] - offset * s) + part.bias[2 * q + i / 2] * s : scale * tile_fp4_scale(T()) * c[i];
      }
    }
  }
}

// Where a sum is no finite number: each weight by itself. x is the first row of all, of which each place
// has one, or `each` share one.
template <typename X, typename R> inline void batch_slow(X x, int each, batch_rows at, R r0, R r1, quant_layout l, uint lane, thread float *sums) {
  bool odd = false;
  QUANT_UNROLL
  for (int i = 0; i < 8; i++) odd = odd || (2 * int(lane & 3) + i % 2 < at.count && (metal::isnan(sums[i]) || metal::isinf(sums[i])));
  if (simd_max(odd ? 1.0f : 0.0f) == 0.0f) return;
  for (int row = 0; row < at.count; row++) {
    const auto from = x + size_t(uint(batch_place(at, row) / each)) * uint(l.k);
    for (int c = 0; c < 32; c++) {
      const int mine = c / 16 * 4 + c / 8 % 2 * 2 + row % 2;
      float sum = 0.0f;
      QUANT_UNROLL
      for (int i = 0; i < 8; i++)
        if (i == mine) sum = sums[i];
      const uint owner = uint(c % 8 * 4 + row / 2);
      sum = simd_shuffle(sum, owner);
      if (metal::isnan(sum) || metal::isinf(sum)) { // for all lanes or for none
        const R r = c < 16 ? r0 : r1;
        sum = quant_slow(from, r.wa, r.sa, r.ba, r.row(c % 16), l, lane);
        QUANT_UNROLL
        for (int i = 0; i < 8; i++)
          if (i == mine && lane == owner) sums[i] = sum;
      }
    }
  }
}
#endif
