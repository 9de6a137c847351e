// What one thread of a launch knows of itself: MSL's built-in variables.
//
// A body gets its call as a zmlx_call; the built-ins travel behind it, and the macros
// in host.h look there. So a body needs one parameter, and a loop over threads
// keeps everything in registers once the body is inlined.
#pragma once

#include "types.h"
#include "zmlx_kernel.h"

namespace zmlx {

struct invocation : zmlx_call {
  uint3 thread_position_in_grid, thread_position_in_threadgroup, threadgroup_position_in_grid;
  uint3 threads_per_threadgroup, threadgroups_per_grid, threads_per_grid;
  uint thread_index_in_threadgroup, thread_index_in_simdgroup;
  uint simdgroup_index_in_threadgroup, simdgroups_per_threadgroup;
};

using body_function = void (*)(const zmlx_call &);

// geometry is how a launch divides its threads into groups, as Metal and MLX do:
// a group is never larger than the grid, and the last one in a direction may be
// smaller than the others.
struct geometry {
  uint3 grid, group, groups;

  uint64_t group_count() const { return uint64_t(groups.x) * groups.y * groups.z; }
  uint group_threads() const { return group.x * group.y * group.z; }
  bool ragged() const { return grid.x % group.x || grid.y % group.y || grid.z % group.z; }

  // begin fills in the built-ins that all threads of group number i share.
  void begin(invocation &v, uint64_t i) const {
    const uint3 at{uint(i % groups.x), uint(i / groups.x % groups.y), uint(i / groups.x / groups.y)};
    v.threadgroup_position_in_grid = at;
    v.threads_per_threadgroup = {rest(grid.x, group.x, at.x), rest(grid.y, group.y, at.y), rest(grid.z, group.z, at.z)};
    v.threadgroups_per_grid = groups;
    v.threads_per_grid = grid;
    const uint3 &n = v.threads_per_threadgroup;
    v.simdgroups_per_threadgroup = (n.x * n.y * n.z + 31) / 32;
  }

  // place fills in what is one thread's own, for thread (x, y, z) of the group.
  void place(invocation &v, uint x, uint y, uint z) const {
    const uint3 &at = v.threadgroup_position_in_grid, &n = v.threads_per_threadgroup;
    v.thread_position_in_threadgroup = {x, y, z};
    v.thread_position_in_grid = {at.x * group.x + x, at.y * group.y + y, at.z * group.z + z};
    v.thread_index_in_threadgroup = x + n.x * (y + n.y * z);
    v.thread_index_in_simdgroup = v.thread_index_in_threadgroup % 32;
    v.simdgroup_index_in_threadgroup = v.thread_index_in_threadgroup / 32;
  }

 private:
  static uint rest(uint grid, uint group, uint at) {
    const uint left = grid - at * group;
    return left < group ? left : group;
  }
};

} // namespace zmlx
