// RMS norm over each head of q and k and rotary position embedding, from
// [batch, position, head, d] to [batch, head, position, d]. One simdgroup a head.
#include "rope.h"
#include "norm_rope.h"

kernel void qk_norm_rope() {
  const int row = int(threadgroup_position_in_grid.x); // batch, position, head of q or k
  const int head = row % (hq + hk);
  const int position = row / (hq + hk) % l;
  const int batch = row / (hq + hk) / l;
  const uint lane = thread_index_in_simdgroup;
  const rope_turns turns = turns_at(position + offset[0], dims / 2, base, scale, lane);
  if (head < hq) {
    norm_rope<qr_t, qr_t>(q + ((batch * l + position) * hq + head) * d, wq, qr + ((batch * hq + head) * l + position) * d, d, turns, traditional, eps, lane);
  } else {
    const int h = head - hq;
    norm_rope<kr_t, kr_t>(k + ((batch * l + position) * hk + h) * d, wk, kr + ((batch * hk + h) * l + position) * d, d, turns, traditional, eps, lane);
  }
}
