// Down projection of the chosen experts and their sum by float32 weights. See
// kernels/gather_qmm_combine_fp32.yaml.
#include "gather.h"

extern "C" int zmlx_native_gather_qmm_combine_fp32(const zmlx_call *c) {
  using namespace zmlx;
  enum { h, w, scales, biases, idx, weight, out };
  enum { rows, b, l, topk, k, e, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  Matrix m;
  if (!matrix_of("gather_qmm_combine_fp32", {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, c->in[w], c->in[scales], c->in[biases], c->types[scales], &m))
    return 1;
  if (!is_float(c->types[h]) || c->types[weight] != zmlx_float32 || c->types[out] != zmlx_float32)
    return fail("gather_qmm_combine_fp32: element types that the reference does not have");
  const int32_t product = product_type(m, c->types[h]);
  const int64_t tokens = d[b] * d[l], choices = tokens * d[topk];
  if (!experts_exist("gather_qmm_combine_fp32", c->in[idx], choices, d[e])) return 1;
  const float *weights = static_cast<const float *>(c->in[weight]);
  Input &v = input();
  v.make(m, c->types[h], c->in[h], choices);
  each_choice(c->workers, tokens, m.n, m.bytes() * std::max<int64_t>(1, d[topk]), [&](int64_t token, int64_t first, int64_t count) {
    float *sum = static_cast<float *>(c->out[0]) + token * m.n + first, y[block];
    std::fill_n(sum, count, 0.0f);
    for (int64_t i = token * d[topk]; i < (token + 1) * d[topk]; i++) {
      multiply(m.expert(expert_at(c->in[idx], i)), first, count, v.row(i), 1, y, block);
      round_all(product, y, count);
      for (int64_t j = 0; j < count; j++) sum[j] += y[j] * weights[i];
    }
  });
  return 0;
}
