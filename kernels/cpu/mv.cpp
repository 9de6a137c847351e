// A few rows times a matrix that is not quantized. See kernels/mv.yaml.
#include <algorithm>

#include "dense.h"
#include "elements.h"
#include "host/error.h"
#include "parallel.h"
#include "room.h"

extern "C" int zmlx_native_mv(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, w, out };
  enum { rows, k, n };
  const int64_t *d = c->ints;
  const int32_t given = c->types[x], type = c->types[out];
  if (!is_float(given) || !is_float(c->types[w]) || type != promote(given, c->types[w])) return fail("mv: element types that the reference does not have");
  const Dense m{c->types[w], d[n], d[k], c->in[w]};
  float *v = room<0>(d[rows] * d[k]);
  load(given, c->in[x], v, d[rows] * d[k]);
  constexpr int64_t worth = 32 << 10, most = 64; // bytes; rows of the matrix that a thread takes
  const int workers = workers_for(c->workers, d[rows] * d[n] * d[k] * static_cast<int64_t>(bytes_of(m.type)), worth);
  const int64_t step = std::clamp<int64_t>((d[n] / (workers * 4) + 3) / 4 * 4, 4, most);
  parallel(workers, d[n], step, [&](int64_t first, int64_t last) {
    float y[most];
    for (int64_t r = 0; r < d[rows]; r++) {
      multiply(m, first, last - first, v + r * d[k], y);
      store(type, y, at(c->out[0], type, r * d[n] + first), last - first);
    }
  });
  return 0;
}
