// Multi-head latent attention of one query a head over the first rows of a cache, which are
// keys and values of all heads. See kernels/mla_decode.yaml.
#include "attention.h"
#include "elements.h"
#include "host/error.h"

extern "C" int zmlx_native_mla_decode(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, q_pe, latent, k_pe, out };
  enum { rows, b, h, r, p, cap, kv_len };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  for (int i = q; i <= out; i++)
    if (!is_float(type) || c->types[i] != type) return fail("mla_decode: element types that the reference does not have");
  attend({.workers = c->workers,
          .type = type,
          .groups = n[b],
          .each = n[h],
          .cap = n[cap],
          .first = 0,
          .last = n[kv_len],
          .d = n[r],
          .dv = n[r],
          .p = n[p],
          .scale = static_cast<float>(c->floats[0]),
          .q = c->in[q],
          .k = c->in[latent],
          .v = c->in[latent],
          .q_pe = c->in[q_pe],
          .k_pe = c->in[k_pe]},
         c->out[0]);
  return 0;
}
