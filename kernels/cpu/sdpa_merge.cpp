// The parts of an attention made one. See kernels/sdpa_merge.yaml. A head's exponentials are for all of
// its columns, where a thread of the Metal source makes them for one.
#include <algorithm>
#include <cmath>

#include "elements.h"
#include "host/error.h"
#include "parallel.h"

extern "C" int zmlx_native_sdpa_merge(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, part, lse, out };
  enum { rows, b, h, d, splits };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  if (!is_float(type) || c->types[part] != zmlx_float32 || c->types[lse] != zmlx_float32 || c->types[out] != type) {
    return fail("sdpa_merge: element types that the reference does not have");
  }
  const int64_t heads = n[b] * n[h], wide = n[d], many = n[splits];
  const int workers = workers_for(c->workers, heads * many * wide * 4, 1 << 18);
  parallel(workers, heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t head = first; head < last; head++) {
      const float *logs = static_cast<const float *>(c->in[lse]) + head * many, *parts = static_cast<const float *>(c->in[part]) + head * many * wide;
      float top = -3.4028235e38f, sum = 0, e[64];
      for (int64_t s = 0; s < many; s++) top = std::max(top, logs[s]);
      for (int64_t s = 0; s < many; s++) sum += e[s] = std::exp(logs[s] - top);
      for (int64_t at_column = 0; at_column < wide; at_column += 64) {
        const int64_t count = std::min<int64_t>(64, wide - at_column);
        float acc[64] = {};
        for (int64_t s = 0; s < many; s++)
          for (int64_t i = 0; i < count; i++) acc[i] += e[s] * parts[s * wide + at_column + i];
        for (int64_t i = 0; i < count; i++) acc[i] /= sum;
        store(type, acc, at(c->out[0], type, head * wide + at_column), count);
      }
    }
  });
  return 0;
}
