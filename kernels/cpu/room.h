// Memory of a thread for what a call computes in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace zmlx {

// room is n floats of the calling thread, which keeps them for its next call. Each number
// has memory of its own.
template <int Number> float *room(int64_t n) {
  static thread_local std::vector<float> mine;
  if (mine.size() < static_cast<size_t>(n)) mine.resize(static_cast<size_t>(n));
  return mine.data();
}

} // namespace zmlx
