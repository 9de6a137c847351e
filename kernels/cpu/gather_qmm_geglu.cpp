// Gate and up projections of the chosen experts and GeGLU (GELU by tanh). See kernels/gather_qmm_geglu.yaml.
#include "gated_products.h"
#include "geglu.h"

extern "C" int zmlx_native_gather_qmm_geglu(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, wg, sg, bg, wu, su, bu, idx, out };
  enum { rows, b, l, k, e, n, kp, g, topk, bits, group_size, mode };
  const int64_t *d = c->ints;
  return gated_experts("gather_qmm_geglu", c, {x, wg, out}, idx, {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, d[b] * d[l], d[topk], d[e], geglu);
}
