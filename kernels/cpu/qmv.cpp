// out = x · wᵀ for a quantized w. See kernels/qmv.yaml.
#include "qmv.h"

extern "C" int zmlx_native_qmv(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, w, scales, biases, out }; // places in types
  enum { rows, k, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  Matrix m;
  if (!matrix_of("qmv", {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, c->in[w], c->in[scales], c->in[biases], c->types[scales], &m)) return 1;
  if (!is_float(c->types[x]) || c->types[out] != product_type(m, c->types[x])) return fail("qmv: element types that the reference does not have");
  Input &v = input();
  v.make_all(m, c->types[x], c->in[x], d[rows], c->workers);
  each_block(c->workers, m.n, v, d[rows], m.bytes(), [&](Block b) {
    float y[many_tile * block];
    multiply(m, b, v, y);
    for (int64_t r = 0; r < b.rows; r++)
      store(c->types[out], y + r * block, at(c->out[0], c->types[out], (b.row + r) * m.n + b.first), b.count);
  });
  return 0;
}
