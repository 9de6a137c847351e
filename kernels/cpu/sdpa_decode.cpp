// Attention of one query a head over the first rows of a cache. See kernels/sdpa_decode.yaml.
#include <cmath>
#include <vector>

#include "attention.h"
#include "elements.h"
#include "host/error.h"
#include "parallel.h"
#include "room.h"

extern "C" int zmlx_native_sdpa_decode(const zmlx_call *c) {
  using namespace zmlx;
  enum { q, k, v, sinks, out };
  enum { rows, b, hq, d, hk, cap, dv, kv_len };
  const int64_t *n = c->ints;
  const int32_t type = c->types[q];
  const bool has_sinks = c->types[sinks] != zmlx_absent;
  if (!is_float(type) || c->types[k] != type || c->types[v] != type || c->types[out] != type || (has_sinks && c->types[sinks] != type))
    return fail("sdpa_decode: element types that the reference does not have");
  const int64_t heads = n[b] * n[hq], groups = n[b] * n[hk], each = n[hq] / n[hk];
  float *query = room<0>(heads * n[d]);
  load(type, c->in[q], query, heads * n[d]);
  for (int64_t i = 0; i < heads * n[d]; i++) query[i] *= static_cast<float>(c->floats[0]);

  // Heads that have one head of k and v read it together. Long caches are cut up, so that
  // threads can share out what few heads leave.
  constexpr int64_t worth = 32 << 10; // bytes
  const int workers = workers_for(c->workers, groups * n[kv_len] * static_cast<int64_t>(bytes_of(type)) * (n[d] + n[dv]), worth);
  const int64_t wanted = workers > 1 ? (4 * workers + groups - 1) / groups : 1;
  const int64_t length = std::max<int64_t>(64, ((n[kv_len] + wanted - 1) / wanted + 63) / 64 * 64);
  const int64_t pieces = (n[kv_len] + length - 1) / length;
  static thread_local std::vector<Seen> memory;
  if (memory.size() < static_cast<size_t>(heads * pieces)) memory.resize(static_cast<size_t>(heads * pieces));
  Seen *seen = memory.data(); // [group][piece][head of the group]
  parallel(workers, groups * pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      const int64_t group = i / pieces, piece = i % pieces;
      for (int64_t h = 0; h < each; h++) {
        Seen &a = seen[i * each + h];
        a.top = -INFINITY, a.sum = 0;
        std::fill_n(a.value, n[dv], 0.0f);
        if (has_sinks && piece == 0) { // one more score, which has no value
          load(type, at(c->in[sinks], type, (group * each + h) % n[hq]), &a.top, 1);
          a.sum = 1;
        }
      }
      const Cache cache{type, at(c->in[k], type, group * n[cap] * n[d]), at(c->in[v], type, group * n[cap] * n[dv]), n[d], n[dv]};
      see(cache, piece * length, std::min(n[kv_len], (piece + 1) * length), query + group * each * n[d], each, seen + i * each);
    }
  });
  for (int64_t h = 0; h < heads; h++) {
    Seen &a = seen[h / each * pieces * each + h % each];
    for (int64_t piece = 1; piece < pieces; piece++) merge(&a, (&a)[piece * each], n[dv]);
    for (int64_t i = 0; i < n[dv]; i++) a.value[i] /= a.sum;
    store(type, a.value, at(c->out[0], type, h * n[dv]), n[dv]);
  }
  return 0;
}
