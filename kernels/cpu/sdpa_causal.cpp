// Attention of a prompt's rows over a cache. See kernels/sdpa_causal.yaml.
#include "attention.h"
#include "elements.h"
#include "host/error.h"

extern "C" int zmlx_native_sdpa_causal(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, k, v, out };
  enum { rows, b, hq, l, d, hk, cap, dv, kv_len };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  if (!is_float(type) || c->types[k] != type || c->types[v] != type || c->types[out] != type)
    return fail("sdpa_causal: element types that the reference does not have");
  attend_causal({.workers = c->workers,
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
                n[l], c->out[0]);
  return 0;
}
