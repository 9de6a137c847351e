// Checked mode: the order of threads and groups, and races in threadgroup memory.
//
// A kernel whose result depends on the order in which threads run is wrong. For device
// memory a checker sees that by running it in several orders. For threadgroup memory,
// every access is compared with those before it: two accesses of one element by
// different threads, one of them a write, need a barrier between them. The detector
// misses none in the run that it sees, and reports none that is not there.
//
// As on a GPU, simd ops order no memory; barriers with mem_threadgroup do.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "types.h"

namespace zmlx {

enum class turns { forward = 0, reverse = 1, shuffled = 2 };

struct check_options {
  turns order = turns::forward;
  uint64_t seed = 0;
  bool round_up = false; // whole groups, as CUDA starts them; else Metal's exact grid

  // permute puts the numbers 0 to n-1 in a into the chosen order, whole blocks and
  // then the numbers within each block.
  template <typename T> void permute(T *a, uint64_t n, uint64_t block) const {
    uint64_t state = seed;
    std::vector<uint64_t> blocks((n + block - 1) / block), inside(block);
    number(blocks, state);
    uint64_t to = 0;
    for (uint64_t b : blocks) {
      number(inside, state);
      for (uint64_t i : inside)
        if (b * block + i < n) a[to++] = static_cast<T>(b * block + i);
    }
  }

 private:
  void number(std::vector<uint64_t> &v, uint64_t &state) const {
    for (uint64_t i = 0; i < v.size(); i++) v[i] = order == turns::reverse ? v.size() - 1 - i : i;
    if (order != turns::shuffled) return;
    for (uint64_t i = v.size(); i > 1; i--) { // splitmix64
      uint64_t z = state += 0x9e3779b97f4a7c15;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
      z = (z ^ z >> 27) * 0x94d049bb133111eb;
      std::swap(v[i - 1], v[(z ^ z >> 31) % i]);
    }
  }
};

inline check_options &options() {
  static check_options o;
  return o;
}

class race_detector {
 public:
  // begin forgets what an earlier group did: all elements are unwritten.
  void begin() { group_ = ++epoch_; }
  void threadgroup_barrier() { epoch_++; }
  void simdgroup_barrier(uint simdgroup) { stage_[simdgroup]++; }
  void declare(uint array, uint count) { cells_[array].assign(count, cell{}); }

  enum kinds { none, unwritten, race };
  struct verdict {
    kinds kind;
    uint other;       // the other thread
    bool other_wrote; // or has it read?
  };

  verdict access(uint array, uint i, uint thread_, bool writes) {
    cell &c = cells_[array][i];
    const uint s = thread_ / 32, bit = thread_ % 32;
    if (c.written < group_ && !writes) return {unwritten, 0, false};
    // Only what happened since the last barrier of the group can conflict.
    if (c.written == epoch_ && c.writer != thread_ && (c.writer / 32 != s || c.write_stage == stage_[s])) return {race, c.writer, true};
    if (c.read != epoch_) {
      c.read = epoch_;
      for (auto &r : c.readers) r = {};
    }
    if (!writes) {
      reader &r = c.readers[s];
      if (r.stage != stage_[s]) r.stage = stage_[s], r.recent = 0;
      r.recent |= 1u << bit;
      r.all |= 1u << bit;
      return {none, 0, false};
    }
    for (uint k = 0; k < simdgroups; k++) {
      const reader &r = c.readers[k];
      uint others = k != s ? r.all : r.stage == stage_[s] ? r.recent & ~(1u << bit) : 0;
      if (others) return {race, k * 32 + static_cast<uint>(__builtin_ctz(others)), false};
      c.readers[k] = {}; // whoever is ordered after this write is after those reads as well
    }
    c.written = epoch_, c.writer = static_cast<uint16_t>(thread_), c.write_stage = stage_[s];
    return {none, 0, false};
  }

 private:
  static constexpr uint simdgroups = 16, arrays = 16;

  struct reader {
    uint64_t stage = 0;
    uint32_t recent = 0, all = 0; // lanes that read in this stage, and since the group's barrier
  };
  struct cell {
    uint64_t written = 0, read = 0; // epochs; the first of all is 1
    uint64_t write_stage = 0;
    uint16_t writer = 0;
    reader readers[simdgroups];
  };

  uint64_t epoch_ = 0, group_ = 0;    // barriers of the group so far; the number at which it began
  uint64_t stage_[simdgroups] = {};   // barriers of each simdgroup
  std::vector<cell> cells_[arrays];
};

} // namespace zmlx

// zmlx_set_check chooses how all later launches of the library run. order: 0 forward,
// 1 reverse, 2 shuffled by seed. round_up: whole groups, as CUDA starts them.
extern "C" __attribute__((used, visibility("default"))) inline void zmlx_set_check(int order, uint64_t seed, int round_up) {
  zmlx::options() = {static_cast<zmlx::turns>(order), seed, round_up != 0};
}
