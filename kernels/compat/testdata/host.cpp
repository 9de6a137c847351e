// Small kernels, each for one thing that host.h does or refuses; compat_test.go reads
// what they print. Built twice, as kernels run and as they are checked.
#include "host.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace zmlx_k_test {

#define BODY(name)                                              \
  void name(const zmlx_call &zmlx_c) {                          \
    [[maybe_unused]] const float *x = static_cast<const float *>(zmlx_c.in[0]); \
    [[maybe_unused]] float *out = static_cast<float *>(zmlx_c.out[0]);          \
    [[maybe_unused]] const uint lane = thread_index_in_simdgroup, i = thread_position_in_grid.x;

// In 32 lanes with x = 1, 2, ... 32.
#line 1 "test.metal"
BODY(sums)
    const float sum = simd_sum(x[lane]), most = simd_max(x[lane]), least = simd_min(x[lane]);
    out[lane] = sum * 10000.0f + most * 100.0f + least;
    if (i == 0 && simdgroups_per_threadgroup != 1) out[0] = -1.0f;
}
BODY(moves)
    float v = simd_shuffle(x[lane], (lane + 1) % 32);       // 2 .. 32, 1
    v = v * 100.0f + simd_shuffle_xor(x[lane], 1);          // 2 1 4 3
    v = v * 100.0f + simd_shuffle_down(x[lane], 31);        // 32, then their own
    v = v * 100.0f + simd_broadcast(x[lane], 7);            // 8
    out[lane] = v - simd_shuffle_up(x[lane], 31) * 0.0f;
}
// 0.1 + ... in the order of the butterfly: a float that other orders do not give.
BODY(butterfly)
    out[lane] = simd_sum(metal::pow(1.1f, x[lane]));
}
// 64 threads a group: every way to pass values on that is right.
BODY(clean)
    ZMLX_THREADGROUP(float, all, 64);
    const uint t = thread_index_in_threadgroup;
    all[t] = float(t);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const float near = all[t ^ 1];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const float far = all[63 - t];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    all[63 - t] = far;
    all[63 - t] += as_type<float>(as_type<uint>(float(all[63 - t]))) * 0.0f;
    out[i] = near + 100.0f * far + simd_max(all[63 - t]) * 0.0f;
}
// Threads that work alone, in a grid that is no multiple of the group.
BODY(alone)
    if (i < 100) out[i] = float(threads_per_threadgroup.x * 1000 + threads_per_grid.x);
}
// A place: group (x, y, z) and thread (x, y, z) as digits.
BODY(places)
    const uint3 g = threadgroup_position_in_grid, t = thread_position_in_threadgroup, p = thread_position_in_grid;
    out[p.x + 6 * (p.y + 4 * p.z)] = float(g.x * 100000 + g.y * 10000 + g.z * 1000 + t.x * 100 + t.y * 10 + t.z);
}

// Mistakes.
BODY(some_lanes)
    if (lane < 16) out[i] = simd_sum(1.0f);
}
BODY(two_places)
    if (lane < 16) out[i] = simd_sum(1.0f);
    else out[i] = simd_sum(2.0f);
}
BODY(two_ops)
    out[i] = lane == 5 ? simd_max(1.0f) : simd_sum(1.0f);
}
BODY(exited)
    if (simdgroup_index_in_threadgroup == 1) return;
    threadgroup_barrier(mem_flags::mem_threadgroup);
}
BODY(two_barriers)
    if (simdgroup_index_in_threadgroup == 1) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
    } else {
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}
BODY(big_array)
    ZMLX_THREADGROUP(float, part, 8000);
    ZMLX_THREADGROUP(float, more, 200);
    part[i] = more[i] = 0.0f;
}
BODY(race_read)
    ZMLX_THREADGROUP(float, part, 64);
    part[i] = 1.0f;
    out[i] = part[i ^ 1];
}
BODY(race_far)
    ZMLX_THREADGROUP(float, part, 64);
    part[i] = 1.0f;
    simdgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = part[i ^ 32];
}
BODY(race_write)
    ZMLX_THREADGROUP(float, part, 64);
    part[simdgroup_index_in_threadgroup] = 1.0f;
}
BODY(race_reuse)
    ZMLX_THREADGROUP(float, part, 64);
    part[i] = 1.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const float v = part[63 - i];
    part[i] = v;
}
BODY(race_simd)
    ZMLX_THREADGROUP(float, part, 64);
    part[i] = 1.0f;
    const float s = simd_sum(1.0f);
    out[i] = part[i ^ 1] + s;
}
BODY(wild)
    ZMLX_THREADGROUP(float, part, 8);
    out[i] = i == 3 ? float(part[i + 5]) : 0.0f;
}
BODY(unwritten)
    ZMLX_THREADGROUP(float, part, 8);
    out[i] = i == 3 ? float(part[i]) : 0.0f;
}
BODY(no_lane)
    out[i] = simd_shuffle(x[lane], lane + 1);
}
BODY(order)
    out[0] = float(i);
}

} // namespace zmlx_k_test

namespace {

std::vector<float> in(32), out;

template <auto Body> void run(const char *name, bool cooperative, int64_t gx, int64_t tx, std::vector<int> show = {0}, int64_t gy = 1, int64_t gz = 1,
                              int64_t ty = 1, int64_t tz = 1) {
  out.assign(static_cast<size_t>(gx * gy * gz + 256), 0.0f);
  const void *ins[] = {in.data()};
  void *outs[] = {out.data()};
  const int64_t grid[] = {gx, gy, gz}, group[] = {tx, ty, tz};
  const zmlx_call c{ins, outs, nullptr, nullptr, nullptr, grid, group, 2};
  printf("%s:", name);
  if (zmlx::launch<Body>(c, cooperative, name)) {
    printf(" %s\n", zmlx::last_error().text);
    return;
  }
  for (int i : show) printf(" %.9g", out[static_cast<size_t>(i)]);
  printf("\n");
}

// convert prints the value of all halves and bfloat16s, then both roundings of the floats
// on the standard input.
void convert() {
  for (uint32_t b = 0; b < 65536; b++) {
    const float v[] = {float(as_type<half>(ushort(b))), float(as_type<bfloat16_t>(ushort(b)))};
    fwrite(v, sizeof v, 1, stdout);
  }
  for (float v; fread(&v, sizeof v, 1, stdin) == 1;) {
    const ushort b[] = {as_type<ushort>(half(v)), as_type<ushort>(bfloat16_t(v))};
    fwrite(b, sizeof b, 1, stdout);
  }
}

} // namespace

#define RUN(name, ...) run<zmlx_k_test::name>(#name, __VA_ARGS__)

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "convert")) return convert(), 0;
  for (int i = 0; i < 32; i++) in[static_cast<size_t>(i)] = float(i + 1);
#if ZMLX_CHECKED
  if (argc > 1) zmlx_set_check(atoi(argv[1]), 7, argc > 2);
#endif
  RUN(sums, true, 32, 32, {0, 31});
  RUN(moves, true, 32, 32, {0, 1, 31});
  RUN(butterfly, true, 32, 32, {0, 17});
  RUN(clean, true, 128, 64, {0, 1, 63, 127});
  RUN(alone, false, 100, 64, {0, 99});
  RUN(two_places, false, 64, 64);
  RUN(big_array, false, 64, 64);
  RUN(places, false, 6, 2, {0, 5, 23, 6 * 4 * 2 - 1}, 4, 2, 2, 2);
  RUN(places, true, 6, 2, {0}, 4, 2, 2, 2);
  RUN(places, true, 32, 8, {0}, 4, 2, 4, 1);
  RUN(some_lanes, true, 64, 64);
  RUN(two_places, true, 64, 64);
  RUN(two_ops, true, 64, 64);
  RUN(exited, true, 64, 64);
  RUN(two_barriers, true, 64, 64);
  RUN(big_array, true, 64, 64);
  RUN(sums, true, 100, 64);
  RUN(sums, true, 2048, 1024);
  RUN(sums, true, 0, 32, {});
#if ZMLX_CHECKED
  RUN(race_read, true, 64, 64);
  RUN(race_far, true, 64, 64);
  RUN(race_write, true, 64, 64);
  RUN(race_reuse, true, 64, 64);
  RUN(race_simd, true, 64, 64);
  RUN(wild, true, 32, 32);
  RUN(unwritten, true, 32, 32);
  RUN(no_lane, true, 32, 32);
  RUN(order, false, 100, 64);
#else
  // Many groups at once, and again and again: no thread may be lost.
  for (int k = 0; k < 300; k++) {
    out.assign(128 * 100, 0.0f);
    run<zmlx_k_test::clean>("shared", true, 128 * 50, 64, {0, 6399});
  }
#endif
}
