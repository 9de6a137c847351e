// What the kernels that multiply rows with quantized matrices share, apart from the
// products themselves: how the work is cut up, and rounding to the type of a product.
#pragma once

#include <algorithm>

#include "host/error.h"
#include "many.h"
#include "parallel.h"
#include "quantized.h"
#include "zmlx_kernel.h"

namespace zmlx {

// product_type is the element type of quantized_matmul and gather_qmm.
inline int32_t product_type(const Matrix &m, int32_t x) { return m.scale_type == zmlx_uint8 ? x : promote(x, m.scale_type); }

// Block is a piece of a result: rows of x by rows of the matrix, small enough for a
// buffer of many_tile by block.
struct Block {
  int64_t row, rows, first, count;
};

// each_block calls f for all blocks of a result of n columns, one for each of rows that
// x has, where reading a row of the matrix costs bytes. Rows of the matrix are shared
// between threads; rows of x are not, since then each thread would read the whole matrix.
template <typename F> void each_block(int workers, int64_t n, const Input &x, int64_t rows, int64_t bytes, const F &f) {
  // Below this, waking a thread takes longer than what it could do meanwhile.
  constexpr int64_t worth = 32 << 10;
  workers = workers_for(workers, n * bytes * ((rows + tile - 1) / tile), worth);
  // Blocks as large as they may be, but several for each thread, of whole steps.
  const int64_t high = x.many() ? many_tile : tile, step = x.many() ? wide : 4;
  const int64_t count = std::clamp((n / (workers * 4) + step - 1) / step * step, step, x.many() ? many_block : block);
  parallel(workers, n, count, [&](int64_t first, int64_t last) {
    for (int64_t row = 0; row < rows; row += high) f(Block{row, std::min(high, rows - row), first, last - first});
  });
}

// multiply computes the products of a block, row r of it at y + r * block.
inline void multiply(const Matrix &m, const Block &b, const Input &x, float *y) {
  const auto loops = x.many() ? multiply_many : static_cast<decltype(&multiply_many)>(multiply);
  loops(m, b.first, b.count, x.row(b.row), b.rows, y, block);
}

} // namespace zmlx
