// Launches: groups in a loop, shared between operating-system threads.
#pragma once

#include <memory>
#include <new>

#include "group.h"
#include "pool.h"

#if ZMLX_CHECKED
#include "race.h"
#endif

namespace zmlx {

// The work that is worth waking other threads for, which costs some microseconds.
constexpr uint64_t worth_alone = 16384, worth_together = 1024; // threads of a launch

// batch runs groups first, first+1, ... before end, of threads that work alone.
// With the body as a template argument, the compiler makes one loop of it all.
template <auto Body> __attribute__((flatten)) inline void batch(const zmlx_call &c, const geometry &g, uint64_t first, uint64_t end) {
  invocation v;
  static_cast<zmlx_call &>(v) = c;
  for (; first < end; first++) {
    g.begin(v, first);
    const uint3 n = v.threads_per_threadgroup;
    for (uint z = 0; z < n.z; z++)
      for (uint y = 0; y < n.y; y++)
        for (uint x = 0; x < n.x; x++) {
          g.place(v, x, y, z);
          Body(v);
        }
  }
}

// geometry_of reads a call's grid, or returns false with the error set.
inline bool geometry_of(const zmlx_call &c, const char *name, geometry &g) {
  uint grid[3], group[3], groups[3];
  for (int i = 0; i < 3; i++) {
    if (c.grid[i] < 0 || c.grid[i] > INT32_MAX || c.group[i] < 1 || c.group[i] > max_threads) {
      last_error().format("kernel %s: a grid of %lld x %lld x %lld threads in groups of %lld x %lld x %lld", name, (long long)c.grid[0],
                          (long long)c.grid[1], (long long)c.grid[2], (long long)c.group[0], (long long)c.group[1], (long long)c.group[2]);
      return false;
    }
    grid[i] = static_cast<uint>(c.grid[i]);
    group[i] = static_cast<uint>(std::max<int64_t>(1, std::min(c.grid[i], c.group[i])));
    groups[i] = (grid[i] + group[i] - 1) / group[i];
  }
#if ZMLX_CHECKED
  if (options().round_up)
    for (int i = 0; i < 3; i++) grid[i] = groups[i] * group[i];
#endif
  g = {{grid[0], grid[1], grid[2]}, {group[0], group[1], group[2]}, {groups[0], groups[1], groups[2]}};
  return true;
}

// job is a launch that several threads take groups of.
struct job {
  const zmlx_call &call;
  const geometry &geom;
  body_function body;
  const char *name;
  uint64_t count, chunk; // groups, and how many are taken at a time
  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex lock{};
  error_text error{};

  bool take(uint64_t &first, uint64_t &end) {
    first = next.fetch_add(chunk, std::memory_order_relaxed);
    end = std::min(count, first + chunk);
    return first < count && !failed.load(std::memory_order_relaxed);
  }
  void fail(const error_text &e) {
    const std::lock_guard<std::mutex> l(lock);
    if (!failed.exchange(true)) error = e;
  }
};

// cooperate runs groups of j in this thread until there are none left.
inline void cooperate(void *p) {
  // Kept for the next launch: a group is 60 KiB and its stacks.
  static thread_local std::unique_ptr<group> mine;
  job &j = *static_cast<job *>(p);
  if (!mine) mine.reset(new (std::nothrow) group);
  if (!mine) {
    error_text e;
    e.format("kernel %s: no memory", j.name);
    return j.fail(e);
  }
  uint64_t first, end;
  bool begun = false;
  while (j.take(first, end)) {
    if (!begun && !mine->begin(j.call, j.geom, j.body, j.name)) return j.fail(mine->error);
    begun = true;
    for (; first < end; first++)
      if (!mine->run(first)) return j.fail(mine->error);
  }
}

template <auto Body> inline void batches(void *p) {
  job &j = *static_cast<job *>(p);
  uint64_t first, end;
  while (j.take(first, end)) batch<Body>(j.call, j.geom, first, end);
}

template <auto Body> inline void work_alone(void *p) {
  if (alone(batches<Body>, p)) return;
  job &j = *static_cast<job *>(p);
  error_text e;
  e.format(ZMLX_NOT_ALONE, j.name);
  j.fail(e);
}

// launch runs a body for all threads of a call. cooperative says that threads of a
// group work together: simd ops, barriers, threadgroup memory. It returns 0, or 1
// with zmlx_error() set.
#if !ZMLX_CHECKED

template <auto Body> inline int launch(const zmlx_call &c, bool cooperative, const char *name) {
  geometry g;
  if (!geometry_of(c, name, g)) return 1;
  const uint64_t groups = g.group_count(), threads = groups * g.group_threads();
  if (groups == 0) return 0;
  int workers = static_cast<int>(std::min<uint64_t>(groups, static_cast<uint64_t>(std::max(1, c.workers))));
  if (threads < (cooperative ? worth_together : worth_alone)) workers = 1;
  // Some chunks a worker, so that one who is late does not keep all waiting.
  job j{c, g, Body, name, groups, std::max<uint64_t>(1, groups / (static_cast<uint64_t>(workers) * 8))};
  pool::share(workers, cooperative ? cooperate : work_alone<Body>, &j);
  if (!j.failed) return 0;
  last_error() = j.error;
  return 1;
}

#else // one after the other, in the chosen order

struct ordered {
  const zmlx_call &call;
  const geometry &geom;
  const std::vector<uint64_t> &groups;
};

template <auto Body> inline void one_by_one(void *p) {
  const ordered &o = *static_cast<ordered *>(p);
  invocation v;
  static_cast<zmlx_call &>(v) = o.call;
  for (uint64_t i : o.groups) {
    o.geom.begin(v, i);
    const uint3 n = v.threads_per_threadgroup;
    uint16_t threads[max_threads];
    options().permute(threads, n.x * n.y * n.z, max_threads);
    for (uint t = 0; t < n.x * n.y * n.z; t++) {
      o.geom.place(v, threads[t] % n.x, threads[t] / n.x % n.y, threads[t] / n.x / n.y);
      Body(v);
    }
  }
}

template <auto Body> inline int launch(const zmlx_call &c, bool cooperative, const char *name) {
  geometry g;
  if (!geometry_of(c, name, g)) return 1;
  std::vector<uint64_t> order(g.group_count());
  if (order.empty()) return 0;
  options().permute(order.data(), order.size(), order.size());
  if (cooperative) {
    static thread_local group mine;
    bool good = mine.begin(c, g, Body, name);
    for (size_t i = 0; good && i < order.size(); i++) good = mine.run(order[i]);
    if (!good) last_error() = mine.error;
    return good ? 0 : 1;
  }
  if (g.group_threads() > max_threads) return fail("a group of more than 512 threads");
  ordered o{c, g, order};
  if (alone(one_by_one<Body>, &o)) return 0;
  last_error().format(ZMLX_NOT_ALONE, name);
  return 1;
}

#endif

} // namespace zmlx
