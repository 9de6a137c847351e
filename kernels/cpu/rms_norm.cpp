// x / sqrt(mean(x^2) + eps) * w. See kernels/rms_norm.yaml.
#include "host/error.h"
#include "norm.h"

extern "C" int zmlx_native_rms_norm(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, w, y };
  enum { rows, d };
  const int64_t n = c->ints[d];
  const int32_t from = c->types[x], type = c->types[y];
  const bool weighted = c->types[w] != zmlx_absent;
  if (!is_float(from) || (weighted && !is_float(c->types[w])) || type != (weighted ? promote(from, c->types[w]) : from))
    return fail("rms_norm: element types that the reference does not have");
  const float *weight = weighted ? weights(type, c->types[w], c->in[w], n) : nullptr;
  each_row(c->workers, c->ints[rows], n, [&](int64_t row) {
    float *v = room<1>(n);
    load(from, at(c->in[x], from, row * n), v, n);
    rms_norm(type, v, weight, n, static_cast<float>(c->floats[0]));
    store(type, v, at(c->out[0], type, row * n), n);
  });
  return 0;
}
