// The largest logit of each part of a row, and the sum of exponentials relative to it. See
// kernels/logits_parts.yaml.
#include <algorithm>
#include <cmath>

#include "elements.h"
#include "exp.h"
#include "host/error.h"
#include "logits.h"
#include "parallel.h"

namespace zmlx {

// of_part returns the largest of n logits, NaN if there is one, and the sum.
static float of_part(const float *v, int64_t n, float *sum) {
  float top = -INFINITY;
  bool bad = false;
  for (int64_t i = 0; i < n; i++) {
    top = std::max(top, v[i]);
    bad |= v[i] != v[i];
  }
  *sum = 0;
  if (bad || top == INFINITY) {
    *sum = NAN;
    return bad ? NAN : top;
  }
  if (top == -INFINITY) return top;
  for (int64_t first = 0; first < n; first += 64) {
    float e[64], part = 0;
    const int64_t m = std::min<int64_t>(64, n - first);
    for (int64_t i = 0; i < m; i++) e[i] = v[first + i] - top;
    exp_all(e, m);
    for (int64_t i = 0; i < m; i++) part += e[i];
    *sum += part;
  }
  return top;
}

} // namespace zmlx

extern "C" int zmlx_native_logits_parts(const zmlx_call *c) {
  using namespace zmlx;
  enum { logits, tops, sums };
  enum { rows, n };
  const int64_t *d = c->ints;
  const int32_t type = c->types[logits];
  if (!is_float(type) || c->types[tops] != type || c->types[sums] != zmlx_float32) return fail("logits_parts: element types that the reference does not have");
  const int64_t all = d[rows] * logits_parts;
  parallel(workers_for(c->workers, d[rows] * d[n], logits_part), all, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      const int64_t from = i % logits_parts * logits_part, here = std::clamp<int64_t>(d[n] - from, 0, logits_part);
      float v[logits_part], sum;
      if (here > 0) load(type, at(c->in[logits], type, i / logits_parts * d[n] + from), v, here);
      const float top = of_part(v, here, &sum);
      store(type, &top, at(c->out[0], type, i), 1);
      static_cast<float *>(c->out[1])[i] = sum;
    }
  });
  return 0;
}
