// Attention of one query a head over the rows of a window, which are all that is read. See
// kernels/sdpa_decode_window.yaml.
#include <algorithm>

#include "attention.h"
#include "elements.h"
#include "host/error.h"

extern "C" int zmlx_native_sdpa_decode_window(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, k, v, sinks, out };
  enum { rows, b, hq, d, hk, cap, dv, kv_len, window };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  if (!is_float(type) || c->types[k] != type || c->types[v] != type || c->types[out] != type || (c->types[sinks] != zmlx_absent && c->types[sinks] != type))
    return fail("sdpa_decode_window: element types that the reference does not have");
  attend({.workers = c->workers,
          .type = type,
          .groups = n[b] * n[hk],
          .each = n[hq] / n[hk],
          .cap = n[cap],
          .first = std::max<int64_t>(0, n[kv_len] - n[window]),
          .last = n[kv_len],
          .d = n[d],
          .dv = n[dv],
          .p = 0,
          .scale = static_cast<float>(c->floats[0]),
          .q = c->in[q],
          .k = c->in[k],
          .v = c->in[v],
          .sinks = c->in[sinks],
          .sink_heads = n[hq]},
         c->out[0]);
  return 0;
}
