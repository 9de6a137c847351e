// What kernels that choose matrices by index share.
#pragma once

#include "qmv.h"

namespace zmlx {

// expert_at is index i, of int32 or uint32: what is allowed looks the same in both.
inline int64_t expert_at(const void *idx, int64_t i) { return static_cast<const uint32_t *>(idx)[i]; }

// experts_exist checks all indices, or sets the error.
inline bool experts_exist(const char *kernel, const void *idx, int64_t choices, int64_t experts) {
  for (int64_t i = 0; i < choices; i++)
    if (expert_at(idx, i) >= experts) {
      last_error().format("%s: choice %lld is expert %lld of %lld", kernel, static_cast<long long>(i),
                          static_cast<long long>(static_cast<const int32_t *>(idx)[i]), static_cast<long long>(experts));
      return false;
    }
  return true;
}

// each_choice calls f(i, first, count) for the blocks of rows of all n rows of each of
// some choices, where reading a row costs bytes.
template <typename F> void each_choice(int workers, int64_t choices, int64_t n, int64_t bytes, const F &f) {
  constexpr int64_t worth = 32 << 10; // as in each_block
  const int64_t blocks = (n + block - 1) / block;
  workers = workers_for(workers, choices * n * bytes, worth);
  parallel(workers, choices * blocks, 1, [&](int64_t at, int64_t) {
    const int64_t first = at % blocks * block;
    f(at / blocks, first, std::min(block, n - first));
  });
}

} // namespace zmlx
