// Rotary position embedding of [..., position, d] by given frequencies. One thread a pair, or an element
// behind dims.
#include "rope.h"

kernel void rope_freqs() {
  const int half_dims = dims / 2;
  const int each = d - half_dims; // threads a row
  const int i = int(thread_position_in_grid.x);
  if (i >= b * h * l * each) return;
  const int c = i % each;
  const int row = i / each;
  const int at = row * d;
  if (c >= half_dims) { // not turned
    y[at + c + half_dims] = x[at + c + half_dims];
    return;
  }
  const int first = traditional ? 2 * c : c;
  const int second = traditional ? first + 1 : first + half_dims;
  const float2 turn = rope_turn(rope_angle(row % l + offset[0], scale, 1.0f / freqs[c]));
  const float u = float(x[at + first]), v = float(x[at + second]);
  y[at + first] = rope_first<T>(u, v, turn);
  y[at + second] = rope_second<T>(u, v, turn);
}
