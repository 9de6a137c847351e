// gelu(x · wgᵀ) * (x · wuᵀ) for quantized wg and wu, GELU by tanh. See kernels/qmv_geglu.yaml.
#include "qmv.h"
#include "geglu.h"

extern "C" int zmlx_native_qmv_geglu(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, wg, sg, bg, wu, su, bu, out };
  enum { rows, k, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  const Packing p{d[n], d[k], d[bits], d[group_size], d[mode] == 1};
  Matrix gate, up;
  if (!matrix_of("qmv_geglu", p, c->in[wg], c->in[sg], c->in[bg], c->types[sg], &gate) ||
      !matrix_of("qmv_geglu", p, c->in[wu], c->in[su], c->in[bu], c->types[su], &up))
    return 1;
  const int32_t type = c->types[out];
  if (!is_float(c->types[x]) || type != product_type(gate, c->types[x])) return fail("qmv_geglu: element types that the reference does not have");
  Input &v = input();
  v.make_all(gate, c->types[x], c->in[x], d[rows], c->workers);
  each_block(c->workers, d[n], v, d[rows], gate.bytes() + up.bytes(), [&](Block b) {
    float y[many_tile * block], u[many_tile * block];
    multiply(gate, b, v, y);
    multiply(up, b, v, u);
    for (int64_t r = 0; r < b.rows; r++) {
      geglu(type, y + r * block, u + r * block, b.count);
      store(type, y + r * block, at(c->out[0], type, (b.row + r) * d[n] + b.first), b.count);
    }
  });
  return 0;
}
