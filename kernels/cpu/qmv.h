// What the kernels that multiply rows with quantized matrices share, apart from the
// products themselves: how the work is cut up, and rounding to the type of a product.
#pragma once

#include <algorithm>

#include "host/error.h"
#include "parallel.h"
#include "quantized.h"
#include "zmlx_kernel.h"

namespace zmlx {

// product_type is the element type of quantized_matmul and gather_qmm.
inline int32_t product_type(const Matrix &m, int32_t x) { return m.scale_type == zmlx_uint8 ? x : promote(x, m.scale_type); }

// Block is a piece of a result: rows of x by rows of the matrix, small enough for a
// buffer of tile by block.
struct Block {
  int64_t row, rows, first, count;
};

// each_block calls f for all blocks of a result of rows by n, where reading a row of the
// matrix costs bytes. Rows of the matrix are shared between threads; rows of x are not,
// since then each thread would read the whole matrix.
template <typename F> void each_block(int workers, int64_t n, int64_t rows, int64_t bytes, const F &f) {
  // Below this, waking a thread takes longer than what it could do meanwhile.
  constexpr int64_t worth = 32 << 10;
  workers = workers_for(workers, n * bytes * ((rows + tile - 1) / tile), worth);
  // Blocks as large as they may be, but several for each thread, of whole steps of 4.
  const int64_t count = std::clamp<int64_t>((n / (workers * 4) + 3) / 4 * 4, 4, block);
  parallel(workers, n, count, [&](int64_t first, int64_t last) {
    for (int64_t row = 0; row < rows; row += tile) f(Block{row, std::min(tile, rows - row), first, last - first});
  });
}

} // namespace zmlx
