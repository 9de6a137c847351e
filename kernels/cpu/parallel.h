// Sharing the work of one call between threads.
#pragma once

#include <atomic>
#include <cstdint>

#include "host/pool.h"

namespace zmlx {

// workers_for is how many threads are worth having for a job: not more than asked for,
// than there are cores, or than there are shares of worth bytes, and one in a process
// that has forked, where the pool's threads are not.
int workers_for(int asked, int64_t bytes, int64_t worth);

// parallel calls f(first, last) for ranges that together are [0, count), each of step
// or fewer, on several threads at once. Threads take ranges as they get done, so that
// one that is late, or not there at all, keeps nobody waiting.
template <typename F> void parallel(int workers, int64_t count, int64_t step, const F &f) {
  struct Job {
    const F &f;
    const int64_t count, step;
    std::atomic<int64_t> next{0};
  } job{f, count, step};
  const auto work = [](void *p) {
    Job &j = *static_cast<Job *>(p);
    for (;;) {
      const int64_t first = j.next.fetch_add(j.step, std::memory_order_relaxed);
      if (first >= j.count) return;
      j.f(first, first + j.step < j.count ? first + j.step : j.count);
    }
  };
  if (workers < 2 || count <= step) return work(&job);
  pool::share(workers, work, &job);
}

} // namespace zmlx
