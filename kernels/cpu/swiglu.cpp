// silu(gate) * up. See kernels/swiglu.yaml, which promises every bit of MLX's own ops: hence
// a body with MLX's exp.
#include "swiglu.h"

#include "host/error.h"
#include "parallel.h"

extern "C" int zmlx_native_swiglu(const zmlx_call *c) {
  using namespace zmlx;
  enum { gate, up, out };
  enum { rows, n };
  const int64_t *d = c->ints;
  const int32_t type = c->types[out];
  if (!is_float(type) || c->types[gate] != type || c->types[up] != type) return fail("swiglu: element types that the reference does not have");
  constexpr int64_t step = 1024, worth = 16384; // elements: a share, and what a thread is worth waking for
  const int64_t count = d[rows] * d[n];
  parallel(workers_for(c->workers, count, worth), count, step, [&](int64_t first, int64_t last) {
    float g[step], u[step];
    load(type, at(c->in[gate], type, first), g, last - first);
    load(type, at(c->in[up], type, first), u, last - first);
    swiglu(type, g, u, last - first);
    store(type, g, at(c->out[0], type, first), last - first);
  });
  return 0;
}
