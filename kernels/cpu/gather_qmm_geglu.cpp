// Gate and up projections of the chosen experts and GeGLU (GELU by tanh). See kernels/gather_qmm_geglu.yaml.
#include "gather.h"
#include "geglu.h"

extern "C" int zmlx_native_gather_qmm_geglu(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, wg, sg, bg, wu, su, bu, idx, out };
  enum { rows, b, l, k, e, n, kp, g, topk, bits, group_size, mode };
  const int64_t *d = c->ints;
  const Packing p{d[n], d[k], d[bits], d[group_size], d[mode] == 1};
  Matrix gate, up;
  if (!matrix_of("gather_qmm_geglu", p, c->in[wg], c->in[sg], c->in[bg], c->types[sg], &gate) ||
      !matrix_of("gather_qmm_geglu", p, c->in[wu], c->in[su], c->in[bu], c->types[su], &up))
    return 1;
  const int32_t type = c->types[out];
  if (!is_float(c->types[x]) || type != product_type(gate, c->types[x])) return fail("gather_qmm_geglu: element types that the reference does not have");
  const int64_t tokens = d[b] * d[l], choices = tokens * d[topk];
  if (!experts_exist("gather_qmm_geglu", c->in[idx], choices, d[e])) return 1;
  Input &v = input();
  v.make(gate, c->types[x], c->in[x], tokens);
  each_choice(c->workers, choices, d[n], gate.bytes() + up.bytes(), [&](int64_t i, int64_t first, int64_t count) {
    const int64_t expert = expert_at(c->in[idx], i);
    float y[block], u[block];
    multiply(gate.expert(expert), first, count, v.row(i / d[topk]), 1, y, block);
    multiply(up.expert(expert), first, count, v.row(i / d[topk]), 1, u, block);
    geglu(type, y, u, count);
    store(type, y, at(c->out[0], type, i * d[n] + first), count);
  });
  return 0;
}
