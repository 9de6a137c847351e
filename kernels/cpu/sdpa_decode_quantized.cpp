// Attention of one query a head over the first rows of a cache of codes. See
// kernels/sdpa_decode_quantized.yaml.
#include <initializer_list>

#include "attention.h"
#include "elements.h"
#include "host/error.h"

extern "C" int zmlx_native_sdpa_decode_quantized(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, kw, ks, kb, vw, vs, vb, out };
  enum { rows, b, hq, d, hk, cap, kp, kg, vp, vg, kv_len, bits, group_size };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  for (int i : {q, ks, kb, vs, vb, out})
    if (!is_float(type) || c->types[i] != type) return fail("sdpa_decode_quantized: element types that the reference does not have");
  attend({.workers = c->workers,
          .type = type,
          .groups = n[b] * n[hk],
          .each = n[hq] / n[hk],
          .cap = n[cap],
          .first = 0,
          .last = n[kv_len],
          .d = n[d],
          .dv = n[vg] * n[group_size],
          .p = 0,
          .scale = static_cast<float>(c->floats[0]),
          .q = c->in[q],
          .k = c->in[kw],
          .v = c->in[vw],
          .of_k = {c->in[ks], c->in[kb]},
          .of_v = {c->in[vs], c->in[vb]},
          .bits = n[bits],
          .group_size = n[group_size]},
         c->out[0]);
  return 0;
}
