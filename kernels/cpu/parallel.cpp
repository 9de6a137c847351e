#include "parallel.h"

#include <pthread.h>

#include <algorithm>

#include "cpu.h"

namespace zmlx {

static bool forked;

int workers_for(int asked, int64_t bytes, int64_t worth) {
  // A fork copies one thread. The pool's counters say that there are more, and may
  // say that they are at work, so a child leaves the pool alone.
  static const int watched = pthread_atfork(nullptr, nullptr, [] { forked = true; });
  if (watched != 0 || forked) return 1;
  return static_cast<int>(std::clamp<int64_t>(bytes / worth, 1, std::max(1, std::min(asked, cores()))));
}

} // namespace zmlx
