// gelu(x · wgᵀ) * (x · wuᵀ) for quantized wg and wu, GELU by tanh. See kernels/qmv_geglu.yaml.
#include "gated_products.h"
#include "geglu.h"

extern "C" int zmlx_native_qmv_geglu(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, wg, sg, bg, wu, su, bu, out };
  enum { rows, k, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  return gated_rows("qmv_geglu", c, {x, wg, out}, {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, d[rows], geglu);
}
