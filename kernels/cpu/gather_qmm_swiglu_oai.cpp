// Gate and up projections of the chosen experts with biases, and GPT-OSS's SwiGLU. See
// kernels/gather_qmm_swiglu_oai.yaml.
#include "gather.h"
#include "swiglu.h"

extern "C" int zmlx_native_gather_qmm_swiglu_oai(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, wg, sg, bg, eg, wu, su, bu, eu, idx, out };
  enum { rows, b, l, k, e, n, kp, g, topk, bits, group_size, mode };
  const int64_t *d = c->ints;
  const Packing p{d[n], d[k], d[bits], d[group_size], d[mode] == 1};
  Matrix gate, up;
  if (!matrix_of("gather_qmm_swiglu_oai", p, c->in[wg], c->in[sg], c->in[bg], c->types[sg], &gate) ||
      !matrix_of("gather_qmm_swiglu_oai", p, c->in[wu], c->in[su], c->in[bu], c->types[su], &up))
    return 1;
  const int32_t type = c->types[out], given = c->types[x];
  if (!is_float(given) || c->types[eg] != given || c->types[eu] != given || type != product_type(gate, given))
    return fail("gather_qmm_swiglu_oai: element types that the reference does not have");
  const int64_t tokens = d[b] * d[l], choices = tokens * d[topk];
  if (!experts_exist("gather_qmm_swiglu_oai", c->in[idx], choices, d[e])) return 1;
  const Clamp clamp(type, c->floats);
  Input &v = input();
  v.make(gate, given, c->in[x], tokens);
  each_choice(c->workers, choices, d[n], gate.bytes() + up.bytes(), [&](int64_t i, int64_t first, int64_t count) {
    const int64_t expert = expert_at(c->in[idx], i);
    float y[block], u[block], bias[block];
    const auto project = [&](const Matrix &m, const void *biases, float *to) {
      multiply(m.expert(expert), first, count, v.row(i / d[topk]), 1, to, block);
      load(given, at(biases, given, expert * d[n] + first), bias, count);
      round_all(type, to, count);
      for (int64_t j = 0; j < count; j++) to[j] += bias[j];
      round_all(type, to, count);
    };
    project(gate, c->in[eg], y);
    project(up, c->in[eu], u);
    swiglu_oai(type, clamp, y, u, count);
    store(type, y, at(c->out[0], type, i * d[n] + first), count);
  });
  return 0;
}
