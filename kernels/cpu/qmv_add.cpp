// x · wᵀ + r for a quantized w: a projection and the residual sum behind it. See
// kernels/qmv_add.yaml.
#include "qmv.h"

extern "C" int zmlx_native_qmv_add(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, w, scales, biases, r, out };
  enum { rows, k, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  Matrix m;
  if (!matrix_of("qmv_add", {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, c->in[w], c->in[scales], c->in[biases], c->types[scales], &m)) return 1;
  const int32_t product = product_type(m, c->types[x]);
  if (!is_float(c->types[x]) || !is_float(c->types[r]) || c->types[out] != promote(product, c->types[r]))
    return fail("qmv_add: element types that the reference does not have");
  Input &v = input();
  v.make_all(m, c->types[x], c->in[x], d[rows], c->workers);
  each_block(c->workers, m.n, v, d[rows], m.bytes(), [&](Block b) {
    float y[many_tile * block], residual[block];
    multiply(m, b, v, y);
    for (int64_t i = 0; i < b.rows; i++) {
      const int64_t first = (b.row + i) * m.n + b.first;
      float *sum = y + i * block;
      load(c->types[r], at(c->in[r], c->types[r], first), residual, b.count);
      round_all(product, sum, b.count); // the product is a result of its own in the reference
      for (int64_t j = 0; j < b.count; j++) sum[j] += residual[j];
      store(c->types[out], sum, at(c->out[0], c->types[out], first), b.count);
    }
  });
  return 0;
}
