// Each row times the matrix of its expert. See kernels/gather_qmm.yaml.
#include <vector>

#include "gather.h"

extern "C" int zmlx_native_gather_qmm(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, w, scales, biases, idx, out };
  enum { rows, m, k, e, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  Matrix all;
  if (!matrix_of("gather_qmm", {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, c->in[w], c->in[scales], c->in[biases], c->types[scales], &all)) return 1;
  const int32_t type = c->types[out];
  if (!is_float(c->types[x]) || type != product_type(all, c->types[x])) return fail("gather_qmm: element types that the reference does not have");
  if (!experts_exist("gather_qmm", c->in[idx], d[m], d[e])) return 1;
  Input &v = input();
  v.make(all, c->types[x], c->in[x], d[m]);

  // Neighbours that have one expert read its matrix together.
  struct Run {
    int64_t first, count, expert;
  };
  std::vector<Run> runs;
  for (int64_t i = 0; i < d[m]; i++) {
    const int64_t expert = expert_at(c->in[idx], i);
    if (!runs.empty() && runs.back().expert == expert && runs.back().count < tile) {
      runs.back().count++;
    } else {
      runs.push_back({i, 1, expert});
    }
  }
  each_choice(c->workers, static_cast<int64_t>(runs.size()), d[n], all.bytes(), [&](int64_t i, int64_t first, int64_t count) {
    const Run &r = runs[static_cast<size_t>(i)];
    float y[tile * block];
    multiply(all.expert(r.expert), first, count, v.row(r.first), r.count, y, block);
    for (int64_t row = 0; row < r.count; row++) store(type, y + row * block, at(c->out[0], type, (r.first + row) * d[n] + first), count);
  });
  return 0;
}
