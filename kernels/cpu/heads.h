// What the kernels share that turn q and k: heads of both, from [batch, position, head, d] to
// [batch, head, position, d].
#pragma once

#include "parallel.h"
#include "room.h"
#include "rotary.h"

namespace zmlx {

struct Heads {
  int64_t b, l, hq, hk, d;
};

// turn_heads loads each head of q and k, which are of type from, lets norm change it, turns
// it, and stores it. norm is told whether it is one of q's.
template <typename N> void turn_heads(const zmlx_call *c, int32_t from, const Heads &h, const Rotary &r, int64_t offset, const N &norm) {
  const int64_t heads = h.hq + h.hk;
  constexpr int64_t worth = 16384; // elements
  const int workers = workers_for(c->workers, h.b * h.l * heads * h.d, worth);
  parallel(workers, h.b * h.l, 1, [&](int64_t first, int64_t last) {
    float *x = room<1>(h.d);
    for (int64_t row = first; row < last; row++) {
      const int64_t batch = row / h.l, position = row % h.l;
      const Turns turns = r.at(offset + position);
      for (int64_t i = 0; i < heads; i++) {
        const bool of_q = i < h.hq;
        const int64_t head = of_q ? i : i - h.hq, all = of_q ? h.hq : h.hk;
        load(from, at(of_q ? c->in[0] : c->in[1], from, (row * all + head) * h.d), x, h.d);
        norm(of_q, x);
        r.turn(turns, x);
        store(r.type, x, at(of_q ? c->out[0] : c->out[1], r.type, ((batch * all + head) * h.l + position) * h.d), h.d);
      }
    }
  });
}

} // namespace zmlx
