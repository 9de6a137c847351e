// The norm of a row, the row times a quantized matrix whose thirds are B, C and x, then
// y = C * conv(state and B * x), and the state shifted by B * x: rms_norm_qmv and short_conv.
//
// A group makes 16 channels of one row: one to four simdgroups a third hold 16 of its rows against
// the row (tile.h), round the sums, and 16 threads make the convolution of a channel each.
#include "quantized.h"
#include "tile.h"
#include "normed.h"

// A row under a norm, for tile.h, and in threads that are `mine` a channel's past and its taps.
// They are asked for together with the row, and first used behind the products: they come from
// far away, and at the end nothing else would be under way. P and Q are pointers to T.
template <typename T, typename R, typename P, typename Q> struct conv_rows {
  R row;
  P state; // of the channel
  Q conv;
  int keep, c;
  bool mine;
  T past[3], tap[4];

  void begin() {
    if (mine) {
      QUANT_UNROLL
      for (int j = 0; j < 3; j++)
        if (j < keep) past[j] = state[j * c];
      QUANT_UNROLL
      for (int j = 0; j < 4; j++)
        if (j <= keep) tap[j] = conv[j];
    }
    row.begin();
  }
  auto at(int i) const { return row.at(i); }
  auto rounded(int i) const { return row.rounded(i); }
  float factor() const { return row.factor(); }
};
template <typename T, typename R, typename P, typename Q> inline conv_rows<T, R, P, Q> conv_row(R row, P state, Q conv, int keep, int c, bool mine) {
  conv_rows<T, R, P, Q> r = {row, state, conv, keep, c, mine, {}, {}};
  return r;
}

kernel void rms_norm_qmv_short_conv() {
  threadgroup float part[192]; // 16 of each of up to twelve simdgroups
  threadgroup float squares[12];
  threadgroup float thirds[48]; // 16 of each third
  const quant_layout layout = {k, kp, g, bits, group_size, mode == mode_affine};
  const uint lane = thread_index_in_simdgroup;
  const uint simdgroups = uint(metal::min(4, (kp + 16 * bits - 1) / (16 * bits))); // of a third, as launched
  const uint place = simdgroup_index_in_threadgroup;
  const uint third = place / simdgroups, simdgroup = place % simdgroups;
  const int first = 16 * int(threadgroup_position_in_grid.x);
  const int channel = first + int(lane);
  const int batch = int(threadgroup_position_in_grid.y);
  const auto from = x + size_t(batch) * uint(k);
  const int to = batch * keep * c + channel;
  // The last simdgroup has the least to do with the row's squares.
  const bool mine = place == 3 * simdgroups - 1 && lane < 16 && channel < c;
  const auto own = part + int(16 * simdgroups * third);
  const auto tile = tile_of(w, scales, biases, third * uint(c), first, c);
  // The first third's simdgroups go over all of the row, and their squares are what all add up. The
  // others begin where these have been, which is behind the end of most rows.
  const auto normed_in = tile_norm<T>(from, weight, squares, k, eps, lane, place, simdgroups);
  auto rows_in = conv_row<T>(normed_in, state + to, conv + channel * taps, keep, c, mine);
  tile_products<1, T, S>(rows_in, 1, own, tile, layout, lane, simdgroup, simdgroups);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    const float sum = tile_slow(rows_in.rounded(0), tile, layout, lane, rows_in.factor() * tile_sum(own, 0, tile_parts<T>(simdgroups), lane));
    if (lane < 16) thirds[16 * third + lane] = float(y_t(sum));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (!mine) return;
  const y_t bx = y_t(float(thirds[lane]) * float(thirds[32 + lane]));
  float sum = 0.0f;
  QUANT_UNROLL
  for (int j = 0; j < 3; j++) {
    if (j < keep) {
      sum += float(rows_in.past[j]) * float(rows_in.tap[j]);
      if (j > 0) next[to + (j - 1) * c] = next_t(float(rows_in.past[j]));
    }
  }
  sum += float(bx) * float(rows_in.tap[keep]);
  next[to + (keep - 1) * c] = bx;
  y[batch * c + channel] = y_t(float(thirds[16 + lane]) * float(y_t(sum)));
}
