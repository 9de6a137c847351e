// The parts of an attention of one query a head. See kernels/sdpa_decode_split.yaml.
#include "attention.h"
#include "elements.h"
#include "host/error.h"

extern "C" int zmlx_native_sdpa_decode_split(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, k, v, part, lse };
  enum { rows, b, hq, d, hk, cap, dv, kv_len, splits };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  for (int i = q; i <= lse; i++)
    if (!is_float(type) || c->types[i] != (i < part ? type : zmlx_float32)) return fail("sdpa_decode_split: element types that the reference does not have");
  attend_parts({.workers = c->workers,
                .type = type,
                .groups = n[b] * n[hk],
                .each = n[hq] / n[hk],
                .cap = n[cap],
                .first = 0,
                .last = n[kv_len],
                .d = n[d],
                .dv = n[dv],
                .p = 0,
                .scale = static_cast<float>(c->floats[0]),
                .q = c->in[q],
                .k = c->in[k],
                .v = c->in[v]},
               n[splits], static_cast<float *>(c->out[0]), static_cast<float *>(c->out[1]));
  return 0;
}
