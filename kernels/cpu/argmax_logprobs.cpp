// The place of the largest of each row's log-probabilities, as they are rounded. See
// kernels/argmax_logprobs.yaml.
#include <algorithm>
#include <cmath>

#include "elements.h"
#include "exp.h"
#include "host/error.h"
#include "room.h"
#include "parallel.h"

namespace zmlx {

// Rounding keeps order, so the largest is what the largest logit becomes, and the place is
// that of the first logit which becomes the same.
static int64_t place(int32_t type, const float *v, int64_t n) {
  float top = -INFINITY;
  bool bad = false;
  for (int64_t i = 0; i < n; i++) {
    top = std::max(top, v[i]);
    bad |= v[i] != v[i];
  }
  float sum = 0;
  if (!bad && !std::isinf(top)) {
    for (int64_t first = 0; first < n; first += 64) {
      float e[64], part = 0;
      const int64_t m = std::min<int64_t>(64, n - first);
      for (int64_t i = 0; i < m; i++) e[i] = v[first + i] - top;
      exp_all(e, m);
      for (int64_t i = 0; i < m; i++) part += e[i];
      sum += part;
    }
    const float less = round(type, std::log(sum) + top), best = round(type, top - less);
    for (int64_t i = 0; i < n; i++)
      if (round(type, v[i] - less) == best) return i;
  }
  // Nothing is left but NaN and minus infinity. NaN counts if it comes first, else not.
  const float less = bad ? NAN : top;
  int64_t at = 0;
  float best = v[0] - less;
  for (int64_t i = 1; i < n && best == best; i++) {
    const float p = v[i] - less;
    if (p > best) at = i, best = p;
  }
  return at;
}

} // namespace zmlx

extern "C" int zmlx_native_argmax_logprobs(const zmlx_call *c) {
  using namespace zmlx;
  enum { logits, token };
  enum { rows, n };
  const int64_t *d = c->ints;
  const int32_t type = c->types[logits];
  if (!is_float(type) || c->types[token] != zmlx_int32) return fail("argmax_logprobs: element types that the reference does not have");
  parallel(workers_for(c->workers, d[rows], 1), d[rows], 1, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++) {
      const void *from = at(c->in[logits], type, row * d[n]);
      const float *v = static_cast<const float *>(from);
      if (type != zmlx_float32) {
        float *copy = room<1>(d[n]);
        load(type, from, copy, d[n]);
        v = copy;
      }
      static_cast<int32_t *>(c->out[0])[row] = static_cast<int32_t>(place(type, v, d[n]));
    }
  });
  return 0;
}
