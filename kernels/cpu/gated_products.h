// Two products with quantized matrices, gate and up, and what an activation makes of them:
// one kernel for each activation, for rows and for the experts of rows.
#pragma once

#include "gather.h"

namespace zmlx {

// Places are those of the operands in a call; wg is followed by sg, bg, wu, su and bu.
struct Places {
  int x, wg, out;
};

struct Pair {
  Matrix gate, up;
  int64_t bytes() const { return gate.bytes() + up.bytes(); }
};

// pair_of checks a call, and returns false with the error set if it does not hold.
inline bool pair_of(const char *kernel, const zmlx_call *c, const Places &at, const Packing &p, Pair *to) {
  const auto matrix = [&](int w, Matrix *m) { return matrix_of(kernel, p, c->in[w], c->in[w + 1], c->in[w + 2], c->types[w + 1], m); };
  if (!matrix(at.wg, &to->gate) || !matrix(at.wg + 3, &to->up)) return false;
  if (is_float(c->types[at.x]) && c->types[at.out] == product_type(to->gate, c->types[at.x])) return true;
  last_error().format("%s: element types that the reference does not have", kernel);
  return false;
}

// gated_rows computes act(x · wgᵀ, x · wuᵀ), where act(type, gate, up, count) leaves its
// result in gate.
template <typename A> int gated_rows(const char *kernel, const zmlx_call *c, const Places &places, const Packing &p, int64_t rows, const A &act) {
  Pair m;
  if (!pair_of(kernel, c, places, p, &m)) return 1;
  const int32_t type = c->types[places.out];
  Input &v = input();
  v.make_all(m.gate, c->types[places.x], c->in[places.x], rows, c->workers);
  each_block(c->workers, p.n, v, rows, m.bytes(), [&](Block b) {
    float y[many_tile * block], u[many_tile * block];
    multiply(m.gate, b, v, y);
    multiply(m.up, b, v, u);
    for (int64_t r = 0; r < b.rows; r++) {
      act(type, y + r * block, u + r * block, b.count);
      store(type, y + r * block, at(c->out[0], type, (b.row + r) * p.n + b.first), b.count);
    }
  });
  return 0;
}

// gated_experts does it for each of topk experts of a row, which idx, the operand in place
// idx, chooses.
template <typename A>
int gated_experts(const char *kernel, const zmlx_call *c, const Places &places, int idx, const Packing &p, int64_t tokens, int64_t topk, int64_t experts,
                  const A &act) {
  Pair m;
  if (!pair_of(kernel, c, places, p, &m)) return 1;
  const int32_t type = c->types[places.out];
  const int64_t choices = tokens * topk;
  if (!experts_exist(kernel, c->in[idx], choices, experts)) return 1;
  Input &v = input();
  v.make(m.gate, c->types[places.x], c->in[places.x], tokens);
  each_choice(c->workers, choices, p.n, m.bytes(), [&](int64_t i, int64_t first, int64_t count) {
    const int64_t expert = expert_at(c->in[idx], i);
    float y[block], u[block];
    multiply(m.gate.expert(expert), first, count, v.row(i / topk), 1, y, block);
    multiply(m.up.expert(expert), first, count, v.row(i / topk), 1, u, block);
    act(type, y, u, count);
    store(type, y, at(c->out[0], type, i * p.n + first), count);
  });
  return 0;
}

} // namespace zmlx
