// The parts of a multi-head latent attention of one query a head. See
// kernels/mla_decode_split.yaml.
#include "attention.h"
#include "elements.h"
#include "host/error.h"

extern "C" int zmlx_native_mla_decode_split(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, q_pe, latent, k_pe, part, lse };
  enum { rows, b, h, r, p, cap, kv_len, splits };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  for (int i = q; i <= lse; i++)
    if (!is_float(type) || c->types[i] != (i < part ? type : zmlx_float32)) return fail("mla_decode_split: element types that the reference does not have");
  attend_parts({.workers = c->workers,
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
               n[splits], static_cast<float *>(c->out[0]), static_cast<float *>(c->out[1]));
  return 0;
}
