// Threads that work alone have no group: an op that needs one ends their launch, with an
// error in place of a fault.
#pragma once

#include <csetjmp>
#include <cstdio>
#include <cstdlib>

namespace zmlx {

// way_out is where the launch that runs in this operating-system thread goes on.
inline constinit thread_local jmp_buf *way_out = nullptr;

[[noreturn]] __attribute__((cold, noinline)) inline void leave_alone() {
  if (!way_out) {
    fprintf(stderr, "a simd op, barrier or threadgroup memory outside of a launch\n");
    abort();
  }
  longjmp(*way_out, 1);
}

// alone calls work(p), whose threads work alone; it returns false if one of them came to an
// op of a group.
__attribute__((noinline)) inline bool alone(void (*work)(void *), void *p) {
  jmp_buf here;
  way_out = &here;
  const bool good = setjmp(here) == 0;
  if (good) work(p);
  way_out = nullptr;
  return good;
}

// not_alone is the text of that error, for a kernel's name.
#define ZMLX_NOT_ALONE "kernel %s: a simd op, barrier or threadgroup memory, in a launch whose threads work alone"

} // namespace zmlx
