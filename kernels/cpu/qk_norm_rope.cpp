// RMS norm of each head of q and k, and rotary position embedding behind it. See
// kernels/qk_norm_rope.yaml.
#include "heads.h"
#include "host/error.h"
#include "norm.h"

extern "C" int zmlx_native_qk_norm_rope(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, k, wq, wk, offset, qr, kr };
  enum { rows, b, l, hq, d, hk, dims, traditional };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q], result = c->types[qr];
  if (!is_float(type) || c->types[k] != type || !is_float(c->types[wq]) || c->types[wk] != c->types[wq] || result != promote(type, c->types[wq]) || c->types[kr] != result)
    return fail("qk_norm_rope: element types that the reference does not have");
  float *w = room<0>(2 * n[d]);
  load(c->types[wq], c->in[wq], w, n[d]);
  load(c->types[wk], c->in[wk], w + n[d], n[d]);
  round_all(result, w, 2 * n[d]);
  const float eps = static_cast<float>(c->floats[0]);
  const Rotary r{result, n[dims], n[traditional] != 0, static_cast<float>(c->floats[1]), static_cast<float>(c->floats[2])};
  turn_heads(c, type, {n[b], n[l], n[hq], n[hk], n[d]}, r, *static_cast<const int32_t *>(c->in[offset]),
             [&](bool of_q, float *x) { rms_norm(result, x, of_q ? w : w + n[d], n[d], eps); });
  return 0;
}
