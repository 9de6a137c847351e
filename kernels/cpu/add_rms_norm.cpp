// h = x + r, and the RMS norm of h. See kernels/add_rms_norm.yaml.
#include "host/error.h"
#include "norm.h"

extern "C" int zmlx_native_add_rms_norm(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, r, w, h, y };
  enum { rows, d };
  const int64_t n = c->ints[d];
  const int32_t sum = c->types[h], type = c->types[y];
  if (!is_float(c->types[x]) || !is_float(c->types[r]) || !is_float(c->types[w]) || sum != promote(c->types[x], c->types[r]) ||
      type != promote(sum, c->types[w]))
    return fail("add_rms_norm: element types that the reference does not have");
  const float *weight = weights(type, c->types[w], c->in[w], n);
  each_row(c->workers, c->ints[rows], n, [&](int64_t row) {
    float *v = room<1>(n), *other = room<2>(n);
    load(c->types[x], at(c->in[x], c->types[x], row * n), v, n);
    load(c->types[r], at(c->in[r], c->types[r], row * n), other, n);
    for (int64_t i = 0; i < n; i++) v[i] += other[i];
    round_all(sum, v, n);
    store(sum, v, at(c->out[0], sum, row * n), n);
    rms_norm(type, v, weight, n, static_cast<float>(c->floats[0]));
    store(type, v, at(c->out[1], type, row * n), n);
  });
  return 0;
}
