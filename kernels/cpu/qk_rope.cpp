// Rotary position embedding of q and k. See kernels/qk_rope.yaml.
#include "heads.h"
#include "host/error.h"

extern "C" int zmlx_native_qk_rope(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, k, offset, qr, kr };
  enum { rows, b, l, hq, d, hk, dims, traditional };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  if (!is_float(type) || c->types[k] != type || c->types[qr] != type || c->types[kr] != type) return fail("qk_rope: element types that the reference does not have");
  const Rotary r{type, n[dims], n[traditional] != 0, static_cast<float>(c->floats[0]), static_cast<float>(c->floats[1])};
  turn_heads(c, type, {n[b], n[l], n[hq], n[hk], n[d]}, r, *static_cast<const int32_t *>(c->in[offset]), [](bool, float *) {});
  return 0;
}
