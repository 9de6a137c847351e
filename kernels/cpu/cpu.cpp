#include "cpu.h"

#include <cstdlib>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace zmlx {

static Isa detect() {
#if ZMLX_X86
  const char *want = std::getenv("ZMLX_CPU");
  if (want && !std::strcmp(want, "plain")) return Isa::plain;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c")) return Isa::plain;
  if (want && !std::strcmp(want, "avx2")) return Isa::avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  return Isa::avx2;
#else
  return Isa::plain;
#endif
}

Isa isa() {
  static const Isa found = detect();
  return found;
}

int cores() {
  static const int found = [] {
#if defined(__linux__)
    // Containers and taskset allow fewer cores than there are.
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n ? static_cast<int>(n) : 1;
  }();
  return found;
}

} // namespace zmlx
