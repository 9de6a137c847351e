// The Metal Shading Language subset of this project as C++20 on the host, for x86-64,
// arm64 and, slowly, others. It is what runs a kernel's source on a CPU.
//
// A translation unit looks like this (kernels/host.go writes it):
//
//     #define ZMLX_CHECKED 1                        // only where a kernel is checked
//     #include "host.h"
//     namespace zmlx_k_NAME {
//     ...                                           // the header part of NAME.metal
//     template <typename T> void body(const zmlx_call &zmlx_c) {
//       const T *x = static_cast<const T *>(zmlx_c.in[0]);
//       ...                                         // the body of NAME.metal
//     }
//     int run(const zmlx_call *c) { return zmlx::launch<body<float>>(*c, cooperative, "NAME"); }
//     }
//
// * The parameter of body is called zmlx_c: the built-in variables hang on it.
// * A line `threadgroup float part[32];` of a body reads ZMLX_THREADGROUP(float, part, 32);
// * `cooperative` says whether the body has a simd op, a barrier or threadgroup memory.
//   If not, a launch is a plain loop.
// * Compile with -std=c++20 -O2 -ffp-contract=off, and for speed -march=native or at
//   least -mf16c. -fno-exceptions and -fno-rtti are fine.
// * Several units may be linked into one library; they share one pool of threads.
//
// With ZMLX_CHECKED, threadgroup memory is watched for races and wild indices, and
// zmlx_set_check chooses the order of threads and groups (host/race.h).
//
// What follows the includes turns words of MSL into macros. So this header comes after
// all others.
#pragma once

#include "zmlx_kernel.h"

#include "host/error.h"
#include "host/types.h"

#include "host/maths.h"

#include "host/group.h"
#include "host/launch.h"
#include "host/shared.h"

// A product that must not become part of a fused multiply-add; -ffp-contract=off
// means that none does.
#define ZMLX_ROUND(x) (x)
inline void ready() {} // see cuda.h

#define ZMLX_HOST 1

#define device
#define constant
#define thread

#define ZMLX_BUILTIN(name) (static_cast<const zmlx::invocation &>(zmlx_c).name)
#define thread_position_in_grid ZMLX_BUILTIN(thread_position_in_grid)
#define thread_position_in_threadgroup ZMLX_BUILTIN(thread_position_in_threadgroup)
#define threadgroup_position_in_grid ZMLX_BUILTIN(threadgroup_position_in_grid)
#define threads_per_threadgroup ZMLX_BUILTIN(threads_per_threadgroup)
#define threadgroups_per_grid ZMLX_BUILTIN(threadgroups_per_grid)
#define threads_per_grid ZMLX_BUILTIN(threads_per_grid)
#define thread_index_in_threadgroup ZMLX_BUILTIN(thread_index_in_threadgroup)
#define thread_index_in_simdgroup ZMLX_BUILTIN(thread_index_in_simdgroup)
#define simdgroup_index_in_threadgroup ZMLX_BUILTIN(simdgroup_index_in_threadgroup)
#define simdgroups_per_threadgroup ZMLX_BUILTIN(simdgroups_per_threadgroup)
