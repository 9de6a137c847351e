// Many rows of x at a time, by a simdgroup on tensor cores: 32 rows of 4-bit weights times up to 32
// rows of x. It needs tile.h before it, whose fragments it uses the other way: columns of a
// product are rows of x, so that an unpacked weight is used for 32 of them.
//
// A step takes columns of w that have one scale, 64 at most. Codes are multiplied as they are and
// scaled behind each step, so that no weight is rounded.
#pragma once

inline int rows_step(quant_layout l) { return l.group_size == 32 ? 32 : 64; }

// Rows of a group: 32, and as many as a product reaches beyond the last of them.
inline int rows_stride() { return 40; }

#if ZMLX_MMA
// What a lane reads of a step: codes of two tiles' rows j and j + 8, and their scales and biases.
struct rows_part {
  uint code[8]; // a tile's row h has word w at 4 * tile + 2 * h + w
  float scale[4], bias[4];
};

template <typename R> inline rows_part rows_load(R r0, R r1, int at, quant_layout l, uint lane) {
  const int own = rows_step(l) / 4;
  rows_part p;
  QUANT_UNROLL
  for (int i = 0; i < 4; i++) {
    const R r = i < 2 ? r0 : r1;
    const uint row = r.row(int(lane >> 2) + i % 2 * 8);
    const auto w = r.wa + (size_t(row) * uint(l.kp) + uint(at + int(lane & 3) * own) / 8);
#if ZMLX_CUDA
    if (own == 16) {
      const uint2 two = *(const uint2 *)w;
      p.code[2 * i] = two.x;
      p.code[2 * i + 1] = two.y;
    } else {
      p.code[2 * i] = w[0];
    }
#else
    p.code[2 * i] = w[0];
    if (own == 16) p.code[2 * i + 1] = w[1];
#endif
    const size_t g = size_t(row) * uint(l.g) + uint(at / l.group_size);
    p.scale[i] = quant_scale(r.sa[g]);
    p.bias[i] = l.affine ? float(r.ba[g]) : 0.0f;
  }
  return p;
}

// The sums of rows of x from `top` on over the columns of each step, by all threads: that of row i and
// step s is at rows_stride() * s + i. Rows behind the end of 32 count 0.
template <typename T, typename X, typename F> inline void rows_totals(X x, F totals, int top, int end, quant_layout l, uint thread_index, uint threads) {
  const int own = rows_step(l) / 4, pieces = l.k / own, steps = pieces / 4;
  for (int i = int(thread_index); i < 32 * pieces; i += int(threads)) { // as often for each thread
    const int row = i / pieces, piece = i % pieces;
    uint u[16];
    QUANT_UNROLL
    for (int c = 0; c < 16; c++) u[c] = 0;
    tile_pairs(x + (size_t(uint(metal::min(top + row, end - 1))) * uint(l.k) + uint(piece * own)), own, u);
    float sum = 0.0f;
    QUANT_UNROLL
    for (int c = 0; c < 8; c++)
      if (c < own / 2) sum += quant_low(u[c], T()) + quant_high(u[c], T());
    sum += simd_shuffle_xor(sum, 1);
    sum += simd_shuffle_xor(sum, 2);
    if (piece % 4 == 0) totals[rows_stride() * (piece / 4) + row] = sum;
  }
  for (int i = int(thread_index); i < 8 * steps; i += int(threads)) totals[rows_stride() * (i / 8) + 32 + i % 8] = 0.0f;
}

// The products of `count` rows of x, of which rows up to `last` may be read, with two tiles. A lane gets
// of tile q and rows 8 * n + 2 * (lane % 4) and the next: of weights' row lane / 4 at 16 * q + 4 * n and
// the next, of row lane / 4 + 8 behind them.
template <typename T, typename S, typename X, typename F, typename R>
inline void rows_multiply(X x, int count, int last, F totals, int from, R r0, R r1, quant_layout l, uint lane, float *sums) {
  const int step = rows_step(l), own = step / 4;
  const int t = int(lane & 3), j = int(lane >> 2);
  const float offset = tile_offset<T, S>() ? 16.0f : 0.0f;
  rows_part next = rows_load(r0, r1, 0, l, lane);
  for (int at = 0; at < l.k; at += step) {
    const rows_part part = next;
    if (at + step < l.k) next = rows_load(r0, r1, at + step, l, lane);
    uint a[32];
    QUANT_UNROLL
    for (int q = 0; q < 2; q++) {
      QUANT_UNROLL
      for (int w = 0; w < 2; w++) {
        if (8 * w < own) {
          QUANT_UNROLL
          for (int h = 0; h < 4; h++) {
            const uint one = part.code[4 * q + w], other = part.code[4 * q + 2 + w];
            a[16 * q + 8 * w + 2 * h] = l.affine ? tile_operand<T, S>(tile_codes(one, h, T())) : tile_fp4(one, h, T());
            a[16 * q + 8 * w + 2 * h + 1] = l.affine ? tile_operand<T, S>(tile_codes(other, h, T())) : tile_fp4(other, h, T());
          }
        }
      }
    }
    QUANT_UNROLL
    for (int n = 0; n < 4; n++) {
      if (8 * n < count) {
        uint u[16];
        QUANT_UNROLL
        for (int i = 0; i < 16; i++) u[i] = 0;
        tile_pairs(x + (size_t(uint(metal::min(8 * n + j, last))) * uint(l.k) + uint(at + t * own)), own, u);
        float s0 = 0.0f, s1 = 0.0f;
        if (l.affine) {
          const int i = rows_stride() * (at / step) + from + 8 * n + 2 * t;
          s0 = totals[i];
          s1 = totals[i + 1];
        }
        QUANT_UNROLL
        for (int q = 0; q < 2; q++) {
          float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
          QUANT_UNROLL
          for (int w = 0; w < 2; w++) {
            if (8 * w < own) {
              QUANT_UNROLL
              for (int h = 0; h < 2; h++) { // the pairs that codes come in are four columns apart
                const uint low = u[4 * w + h], high = u[4 * w + h + 2];
                const thread uint *b = a + 16 * q + 8 * w + 4 * h;
                simd_mma(T(), c, b[0], b[1], b[2], b[3], (low & 0xffffu) | high << 16, low >> 16 | (high & 0xffff0000u));
              }
            }
          }
          QUANT_UNROLL
          for (int i = 0; i < 4; i++) {
            const float scale = part.scale[2 * q + i / 2], s = i % 2 == 0 ? s0 : s1;
            sums[16 * q + 4 * n + i] += l.affine ? scale * (c[i] - offset * s) + part.bias[2 * q + i / 2] * s : scale * tile_fp4_scale(T()) * c[i];
          }
        }
      }
    }
  }
}

// Writes a simdgroup's 32 columns from `first` on of `count` rows. Where a sum is no finite number,
// each weight is multiplied by itself.
template <typename T, typename X, typename O, typename R>
inline void rows_write(O out, X x, int count, int first, R r0, R r1, quant_layout l, uint lane, const thread float *sums) {
  const int t = int(lane & 3), j = int(lane >> 2), n = r0.n;
  bool odd = false;
  QUANT_UNROLL
  for (int i = 0; i < 32; i++) {
    const int row = i / 4 % 4 * 8 + 2 * t + i % 2, column = first + i / 16 * 16 + i / 2 % 2 * 8 + j;
    if (row < count && column < n) {
      out[size_t(uint(row)) * uint(n) + uint(column)] = T(sums[i]);
      odd = odd || metal::isnan(sums[i]) || metal::isinf(sums[i]);
    }
  }
  if (simd_max(odd ? 1.0f : 0.0f) == 0.0f) return;
  for (int row = 0; row < count; row++) {
    for (int c = 0; c < 32 && first + c < n; c++) {
      float mine = 0.0f;
      QUANT_UNROLL
      for (int i = 0; i < 32; i++)
        if (i == c / 16 * 16 + row / 8 * 4 + c / 8 % 2 * 2 + row % 2) mine = sums[i];
      const uint owner = uint(c % 8 * 4 + row % 8 / 2);
      const float sum = simd_shuffle(mine, owner);
      if (metal::isnan(sum) || metal::isinf(sum)) { // for all lanes or for none
        const R r = c < 16 ? r0 : r1;
        const float slow = quant_slow(x + size_t(uint(row)) * uint(l.k), r.wa, r.sa, r.ba, r.row(c % 16), l, lane);
        if (lane == owner) out[size_t(uint(row)) * uint(n) + uint(first + c)] = T(slow);
      }
    }
  }
}
#endif
