// What kind of processor this is, and how to write code for several in one file.
//
// The library is compiled for the oldest processor of its architecture. A function
// that needs more says so with ZMLX_AVX2 or ZMLX_AVX512, and is called only if
// isa() has found that the processor can. (Files compiled with -mavx2 would be a
// trap: the linker keeps one copy of each inline function, maybe the one that an
// older processor cannot run.)
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#define ZMLX_X86 1
#define ZMLX_AVX2 __attribute__((target("avx2,fma,f16c")))
#define ZMLX_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#endif

// Helpers of the above have the same attribute, or they cannot be inlined into them.
#define ZMLX_INLINE inline __attribute__((always_inline))

// Loops over registers, which must be unrolled for the array to be in registers.
#if defined(__clang__)
#define ZMLX_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ZMLX_UNROLL _Pragma("GCC unroll 16")
#endif

namespace zmlx {

enum class Isa { plain, avx2, avx512 };

// isa is the best that the processor can do, or less if the variable ZMLX_CPU of the
// environment says plain or avx2: each path can be tested on the newest processor.
Isa isa();

// cores is how many cores this process may run on.
int cores();

} // namespace zmlx
