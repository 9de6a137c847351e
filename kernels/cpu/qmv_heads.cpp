// Rows of heads, each times the quantized matrix of its head. See kernels/qmv_heads.yaml.
#include "gather.h"

extern "C" int zmlx_native_qmv_heads(const zmlx_call *c) {
  using namespace zmlx;
  enum { x, w, scales, biases, out };
  enum { rows, b, h, l, k, n, kp, g, bits, group_size, mode };
  const int64_t *d = c->ints;
  Matrix m;
  if (!matrix_of("qmv_heads", {d[n], d[k], d[bits], d[group_size], d[mode] == 1}, c->in[w], c->in[scales], c->in[biases], c->types[scales], &m)) return 1;
  const int32_t type = c->types[out];
  if (!is_float(c->types[x]) || type != product_type(m, c->types[x])) return fail("qmv_heads: element types that the reference does not have");
  Input &v = input();
  v.make(m, c->types[x], c->in[x], d[b] * d[h] * d[l]);
  each_choice(c->workers, d[b] * d[h], m.n, m.bytes() * ((d[l] + tile - 1) / tile), [&](int64_t i, int64_t first, int64_t count) {
    const Matrix own = m.expert(i % d[h]);
    for (int64_t row = i * d[l], end = row + d[l]; row < end; row += tile) {
      float y[tile * block];
      const int64_t some = std::min(tile, end - row);
      multiply(own, first, count, v.row(row), some, y, block);
      for (int64_t r = 0; r < some; r++) store(type, y + r * block, at(c->out[0], type, (row + r) * m.n + first), count);
    }
  });
  return 0;
}
