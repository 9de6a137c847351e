// Rotary position embedding of q and k, from [batch, position, head, d] to
// [batch, head, position, d]. One thread a pair, or an element behind dims.
#include "rope.h"

kernel void qk_rope() {
  const int half_dims = dims / 2;
  const int each = d - half_dims; // threads a head
  const int i = int(thread_position_in_grid.x);
  if (i >= b * l * (hq + hk) * each) return;
  const int c = i % each;
  const int row = i / each; // batch, position, head of q or k
  const int head = row % (hq + hk);
  const int position = row / (hq + hk) % l;
  const int batch = row / (hq + hk) / l;
  const bool of_q = head < hq;
  const int h = of_q ? head : head - hq;
  const int heads = of_q ? hq : hk;
  const int from = ((batch * l + position) * heads + h) * d;
  const int to = ((batch * heads + h) * l + position) * d;
  if (c >= half_dims) { // not turned
    const int at = c + half_dims;
    if (of_q) {
      qr[to + at] = q[from + at];
    } else {
      kr[to + at] = k[from + at];
    }
    return;
  }
  const int first = traditional ? 2 * c : c;
  const int second = traditional ? first + 1 : first + half_dims;
  const float2 turn = rope_turn(rope_angle(position + offset[0], scale, rope_frequency(c, half_dims, base)));
  if (of_q) {
    const float x = float(q[from + first]), y = float(q[from + second]);
    qr[to + first] = rope_first<T>(x, y, turn);
    qr[to + second] = rope_second<T>(x, y, turn);
  } else {
    const float x = float(k[from + first]), y = float(k[from + second]);
    kr[to + first] = rope_first<T>(x, y, turn);
    kr[to + second] = rope_second<T>(x, y, turn);
  }
}
