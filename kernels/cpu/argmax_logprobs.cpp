// The place of the largest of each row's log-probabilities, as they are rounded, with what
// logits_parts found. See kernels/argmax_logprobs.yaml and its Metal source.
#include <algorithm>
#include <cmath>

#include "elements.h"
#include "host/error.h"
#include "logits.h"

namespace zmlx {

static int64_t place(int32_t type, const void *row, int64_t n, const float *tops, const float *sums) {
  float most = -INFINITY, total = 0;
  for (int64_t i = 0; i < logits_parts; i++) most = std::max(most, tops[i]);
  for (int64_t i = 0; i < logits_parts; i++) total += sums[i] * std::exp(tops[i] - most);
  const float less = round(type, std::log(total) + most);
  if (!std::isfinite(less)) return 0;
  int64_t part = 0;
  float best = round(type, tops[0] - less);
  for (int64_t i = 1; i < logits_parts; i++) {
    const float p = round(type, tops[i] - less);
    if (p > best) part = i, best = p;
  }
  // Other parts are minus infinity, from their first place on.
  int64_t first = part * logits_part, found = part > 0 ? 0 : logits_part;
  const int64_t here = std::clamp<int64_t>(n - first, 0, logits_part);
  float v[logits_part];
  if (here > 0) load(type, at(row, type, first), v, here);
  best = -INFINITY;
  bool any = part > 0 || n > logits_part;
  for (int64_t i = 0; i < here; i++) {
    const float p = round(type, v[i] - less);
    if (std::isnan(p)) {
      if (first + i == 0) return 0; // NaN counts there only
    } else if (!any || p > best || (p == best && first + i < found)) {
      any = true;
      found = first + i;
      best = p;
    }
  }
  return any ? found : 0;
}

} // namespace zmlx

extern "C" int zmlx_native_argmax_logprobs(const zmlx_call *c) {
  using namespace zmlx;
  enum { logits, tops, sums, token };
  enum { rows, n, parts };
  const int64_t *d = c->ints;
  const int32_t type = c->types[logits];
  if (!is_float(type) || c->types[tops] != type || c->types[sums] != zmlx_float32 || c->types[token] != zmlx_int32) {
    return fail("argmax_logprobs: element types that the reference does not have");
  }
  for (int64_t row = 0; row < d[rows]; row++) {
    float largest[logits_parts];
    load(type, at(c->in[tops], type, row * logits_parts), largest, logits_parts);
    const float *sum = static_cast<const float *>(c->in[sums]) + row * logits_parts;
    static_cast<int32_t *>(c->out[0])[row] = static_cast<int32_t>(place(type, at(c->in[logits], type, row * d[n]), d[n], largest, sum));
  }
  return 0;
}
