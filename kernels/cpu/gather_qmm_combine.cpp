// Down projection of the chosen experts and their weighted sum. See
// kernels/gather_qmm_combine.yaml.
#include "gather.h"

extern "C" int zmlx_native_gather_qmm_combine(const zmlx_call *c) {
  using namespace zmlx;
  enum { h, w, scales, biases, idx, weight, out };
  enum { rows, b, l, topk, k, e, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  Matrix m;
  if (!matrix_of("gather_qmm_combine", {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, c->in[w], c->in[scales], c->in[biases], c->types[scales], &m))
    return 1;
  const int32_t type = c->types[out];
  if (!is_float(c->types[h]) || c->types[weight] != c->types[h] || type != product_type(m, c->types[h]))
    return fail("gather_qmm_combine: element types that the reference does not have");
  const int64_t tokens = d[b] * d[l], choices = tokens * d[topk];
  if (!experts_exist("gather_qmm_combine", c->in[idx], choices, d[e])) return 1;
  Input &v = input();
  v.make(m, c->types[h], c->in[h], choices);
  each_choice(c->workers, tokens, m.n, m.bytes() * std::max<int64_t>(1, d[topk]), [&](int64_t token, int64_t first, int64_t count) {
    float sum[block] = {}, y[block];
    for (int64_t i = token * d[topk]; i < (token + 1) * d[topk]; i++) {
      float share;
      load(c->types[weight], at(c->in[weight], c->types[weight], i), &share, 1);
      multiply(m.expert(expert_at(c->in[idx], i)), first, count, v.row(i), 1, y, block);
      round_all(type, y, count);
      for (int64_t j = 0; j < count; j++) y[j] *= share;
      round_all(type, y, count);
      for (int64_t j = 0; j < count; j++) sum[j] += y[j];
    }
    store(type, sum, at(c->out[0], type, token * m.n + first), count);
  });
  return 0;
}
