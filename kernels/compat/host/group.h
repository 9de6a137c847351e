// A threadgroup at work: simdgroups of 32 lanes, barriers, threadgroup memory.
//
// Each thread is a fiber. A thread runs until it comes to a simd op or barrier, or
// returns; then the next lane of its simdgroup runs. When the last lane has stopped,
// all 32 must be at the same place of the source: a simd op is then carried out for
// all of them and they go on, while lanes at a barrier wait for the group's other
// simdgroups. Anything else is an error, as it is undefined behaviour on a GPU: lanes
// in different places, or some that have returned.
//
// Places are told apart by their line, so two simd ops of one kind on one line count as one.
//
// One row of an RMS norm in 256 threads, with two simd_sum and a barrier, takes 10 µs
// on one thread of an AMD EPYC: 10 ns for each of the 1024 times that a thread stops.
#pragma once

#include <algorithm>
#include <cstring>

#include "alone.h"
#include "error.h"
#include "fiber.h"
#include "invocation.h"

#if ZMLX_CHECKED
#include "race.h"
#endif

namespace zmlx {

constexpr uint max_threads = 512, simd_width = 32, max_shared = 32 * 1024;

// site is a line of the kernel's source.
struct site {
  const char *file;
  int line;
  site(const char *file = __builtin_FILE(), int line = __builtin_LINE()) : file(file), line(line) {}
};

// op is something that threads do together. combine, if there is one, makes a simd
// op's result from its 32 operands, in place.
struct op {
  const char *name;
  bool waits_for_group, orders_memory;
  void (*combine)(void *slots);
};

class group {
 public:
  // run runs groups one after another, each by its number; it returns false after
  // an error, with its text in `error`. Groups of one launch have one body and
  // geometry, told by begin.
  bool begin(const zmlx_call &c, const geometry &g, body_function body, const char *name);
  bool run(uint64_t number);

  error_text error;

  // running returns the group whose thread calls it. A thread that works alone has none:
  // its launch ends (alone.h).
  static group &running() {
    if (__builtin_expect(current == nullptr, 0)) leave_alone();
    return *current;
  }

  // stopped notes that the running thread has come to an op, or (null) has returned,
  // and says which thread runs next.
  turn stopped(const op *o, site s);

  // slots are where the lanes of a simdgroup put their operands. There are two sets,
  // used in turn, since the first lanes are at the next op before the last
  // have read the results of this one.
  template <typename T> T *slots() {
    static_assert(sizeof(T) <= slot_size);
    return reinterpret_cast<T *>(slots_[turn_]);
  }
  uint lane() const { return thread_ % simd_width; }

  // shared returns the group's memory for one declaration, the same for all threads.
  struct array {
    const char *name; // also the declaration's identity
    uint offset, size, count;
  };
  array &shared(const char *name, uint size, uint count, uint align);
  void *memory(const array &a) { return memory_ + a.offset; }

  // stop ends the launch with an error of the running thread; it does not return.
  [[noreturn]] void stop(const char *form, ...) __attribute__((format(printf, 2, 3)));

#if ZMLX_CHECKED
  // The thread that runs accesses element i of a.
  void access(const array &a, int64_t i, bool writes);
#endif

 private:
  static constexpr uint slot_size = 48, most_arrays = 16, outside = max_threads;
  static inline constinit thread_local group *current = nullptr;

  struct stop_place {
    const op *o; // null: the thread has returned
    site s;
    bool operator==(const stop_place &b) const {
      return o == b.o && s.line == b.s.line && (s.file == b.s.file || !strcmp(s.file, b.s.file));
    }
  };

  static void live();
  uint simdgroup_stopped();
  uint group_stopped();
  uint failed() {
    broken_ = true;
    return outside;
  }
  uint differ(uint first, uint n);
  size_t list(char *to, size_t room, uint first, uint n, const stop_place &p);

  invocation call_;
  geometry geometry_;
  body_function body_;
  const char *name_;
  uint threads_ = 0;

  uint thread_ = outside;       // which one runs
  uint turns_ = 0;              // position in order_ of the thread that runs
  unsigned turn_ = 0;           // which slots
  bool broken_ = false;
  uint ready_ = 0;              // fibers that wait for a group to run
  uint16_t order_[max_threads]; // threads as they take turns; lanes of a simdgroup are neighbours
  fiber fibers_[max_threads + 1]; // the last is the caller of run
  stop_place at_[max_threads];
  stacks stacks_;
  uint arrays_ = 0, shared_ = 0;
  array array_[most_arrays];
  alignas(64) unsigned char slots_[2][simd_width * slot_size];
  alignas(64) unsigned char memory_[max_shared];
#if ZMLX_CHECKED
  race_detector races_;
#endif
};

inline bool group::begin(const zmlx_call &c, const geometry &g, body_function body, const char *name) {
  static_cast<zmlx_call &>(call_) = c;
  geometry_ = g;
  body_ = body, name_ = name;
  threads_ = g.group_threads();
  arrays_ = shared_ = 0;
  broken_ = false;
  if (threads_ > max_threads || threads_ % simd_width || g.ragged()) {
    error.format("kernel %s: a grid of %u x %u x %u threads in groups of %u x %u x %u: threads that work together need whole "
                 "groups, of a multiple of 32 and at most %u threads",
                 name, g.grid.x, g.grid.y, g.grid.z, g.group.x, g.group.y, g.group.z, max_threads);
    return false;
  }
  if (!stacks_.reserve(max_threads)) {
    error.format("kernel %s: no memory for the stacks of %u threads", name, threads_);
    return false;
  }
  for (uint i = 0; i < threads_; i++) order_[i] = static_cast<uint16_t>(i);
#if ZMLX_CHECKED
  options().permute(order_, threads_, simd_width);
#endif
  for (; ready_ < threads_; ready_++) fiber_start(fibers_[ready_], stacks_.low(ready_), stacks_.top(ready_), live);
  return true;
}

inline bool group::run(uint64_t number) {
  geometry_.begin(call_, number);
  turns_ = 0;
  thread_ = order_[0];
#if ZMLX_CHECKED
  races_.begin();
  memset(memory_, 0xff, shared_); // NaN
#endif
  current = this;
  fiber_switch(fibers_[outside], fibers_[thread_]);
  current = nullptr;
  // Threads that an error stopped half-way begin anew with the next launch.
  if (broken_) ready_ = 0;
  return !broken_;
}

// live is a fiber's life: one thread of each group.
inline void group::live() {
  for (;;) {
    group &g = running();
    invocation v = g.call_;
    const uint i = g.thread_, nx = v.threads_per_threadgroup.x, ny = v.threads_per_threadgroup.y;
    if (nx == g.threads_) { // divisions are slow
      g.geometry_.place(v, i, 0, 0);
    } else {
      g.geometry_.place(v, i % nx, i / nx % ny, i / nx / ny);
    }
    g.body_(v);
    zmlx_fiber_stop(nullptr, nullptr, 0);
  }
}

// arrive stops the thread that runs until the others have come as well. It is inlined
// up to the call in assembly, so that the op returns to where it was called in one
// jump.
__attribute__((always_inline)) inline void arrive(const op &o, site s) { zmlx_fiber_stop(&o, s.file, s.line); }

inline turn group::stopped(const op *o, site s) {
  const uint from = thread_;
  at_[from] = {o, s};
  turns_++;
  thread_ = turns_ % simd_width ? order_[turns_] : simdgroup_stopped();
  return take_turns(fibers_[from], fibers_[thread_]);
}

// simdgroup_stopped is called when the last lane of a simdgroup has stopped. Like
// group_stopped it returns which thread runs next.
inline uint group::simdgroup_stopped() {
  const uint begin = turns_ - simd_width, first = order_[begin] / simd_width * simd_width;
  const stop_place &p = at_[first];
  for (uint i = 1; i < simd_width; i++)
    if (!(at_[first + i] == p)) return differ(first, simd_width);
  if (p.o && !p.o->waits_for_group) {
    if (p.o->combine) p.o->combine(slots_[turn_]);
    turn_ ^= 1;
#if ZMLX_CHECKED
    if (p.o->orders_memory) races_.simdgroup_barrier(first / simd_width);
#endif
    turns_ = begin;
    return order_[begin];
  }
  return turns_ < threads_ ? order_[turns_] : group_stopped();
}

inline uint group::group_stopped() {
  for (uint i = simd_width; i < threads_; i += simd_width)
    if (!(at_[i] == at_[0])) return differ(0, threads_);
  if (!at_[0].o) return outside;
#if ZMLX_CHECKED
  if (at_[0].o->orders_memory) races_.threadgroup_barrier();
#endif
  turns_ = 0;
  return order_[0];
}

// differ says which of n threads stopped where.
__attribute__((cold, noinline)) inline uint group::differ(uint first, uint n) {
  const uint3 &at = call_.threadgroup_position_in_grid;
  const op *o = nullptr; // what they should have done together
  for (uint i = first; i < first + n && !o; i++) o = at_[i].o;
  char where[700];
  size_t used = 0;
  for (uint i = first; i < first + n && used + 100 < sizeof where; i++) {
    bool seen = false;
    for (uint j = first; j < i; j++) seen = seen || at_[j] == at_[i];
    if (!seen) used += list(where + used, sizeof where - used, first, n, at_[i]);
  }
  error.format("kernel %s, group (%u, %u, %u): %s needs all %u threads of the %s at one place:%s", name_, at.x, at.y, at.z, o->name, n,
               n == threads_ && o->waits_for_group ? "group" : "simdgroup", where);
  return failed();
}

// list writes which of n threads are at p: " 0-3 5 at simd_sum (x.metal:7);"
inline size_t group::list(char *to, size_t room, uint first, uint n, const stop_place &p) {
  size_t used = 0;
  const auto advance = [&](int wrote) { used = std::min(used + static_cast<size_t>(std::max(0, wrote)), room - 1); };
  for (uint i = first, end; i < first + n; i = end + 1) {
    for (end = i; end < first + n && at_[end] == p;) end++;
    if (end == i) continue;
    if (used + 80 > room) {
      advance(snprintf(to + used, room - used, " ..."));
      break;
    }
    advance(end - i == 1 ? snprintf(to + used, room - used, " %u", i) : snprintf(to + used, room - used, " %u-%u", i, end - 1));
  }
  advance(p.o ? snprintf(to + used, room - used, " at %s (%s:%d);", p.o->name, p.s.file, p.s.line) : snprintf(to + used, room - used, " returned;"));
  return used;
}

__attribute__((cold, noinline)) inline void group::stop(const char *form, ...) {
  const uint3 &at = call_.threadgroup_position_in_grid;
  char what[600];
  va_list args;
  va_start(args, form);
  vsnprintf(what, sizeof what, form, args);
  va_end(args);
  error.format("kernel %s, group (%u, %u, %u), thread %u %s", name_, at.x, at.y, at.z, thread_, what);
  const uint from = thread_;
  thread_ = failed();
  fiber_switch(fibers_[from], fibers_[outside]);
  __builtin_unreachable();
}

inline group::array &group::shared(const char *name, uint size, uint count, uint align) {
  for (uint i = 0; i < arrays_; i++)
    if (array_[i].name == name) return array_[i];
  const uint offset = (shared_ + align - 1) / align * align;
  if (arrays_ == most_arrays) stop("declares more than %u threadgroup arrays", most_arrays);
  if (count > (max_shared - std::min(offset, max_shared)) / size) stop("declares %s[%u]: more than %u bytes of threadgroup memory", name, count, max_shared);
  shared_ = offset + size * count;
#if ZMLX_CHECKED
  races_.declare(arrays_, count);
#endif
  return array_[arrays_++] = {name, offset, size, count};
}

#if ZMLX_CHECKED
inline void group::access(const array &a, int64_t i, bool writes) {
  const char *verb = writes ? "writes" : "reads";
  if (i < 0 || i >= a.count) stop("%s %s[%lld], which has %u elements", verb, a.name, static_cast<long long>(i), a.count);
  const unsigned n = static_cast<unsigned>(&a - array_);
  const auto conflict = races_.access(n, static_cast<uint>(i), thread_, writes);
  const char *did = conflict.other_wrote ? "wrote" : "read";
  switch (conflict.kind) {
  case race_detector::none: return;
  case race_detector::unwritten: stop("reads %s[%lld] before any thread of its group has written it", a.name, static_cast<long long>(i));
  case race_detector::race:
    stop("%s %s[%lld], which thread %u %s with no barrier between them", verb, a.name, static_cast<long long>(i), conflict.other, did);
  }
}
#endif

#if defined(__x86_64__) || defined(__aarch64__)
extern "C" __attribute__((used))
#endif
inline turn zmlx_fiber_next(const void *o, const char *file, int line) {
  return group::running().stopped(static_cast<const op *>(o), {file, line});
}

// The simd ops and barriers of MSL.

template <typename T> struct reduction {
  // halve is the butterfly: on each round, lane i takes the value of lane i ^ distance
  // as well. All lanes end with the same bits; lane 0's part is enough.
  template <T (*F)(T, T)> static void halve(void *slots) {
    T *s = static_cast<T *>(slots);
    for (uint distance = simd_width / 2; distance > 0; distance /= 2)
      for (uint i = 0; i < distance; i++) s[i] = F(s[i], s[i + distance]);
  }
  static T add(T a, T b) {
    if constexpr (std::is_same_v<T, int>) {
      return static_cast<int>(static_cast<uint>(a) + static_cast<uint>(b)); // wraps, as it does on a GPU
    } else {
      return a + b;
    }
  }
  static T lower(T a, T b) { return metal::min(a, b); }
  static T higher(T a, T b) { return metal::max(a, b); }
  static constexpr op sum{"simd_sum", false, false, halve<add>};
  static constexpr op min{"simd_min", false, false, halve<lower>};
  static constexpr op max{"simd_max", false, false, halve<higher>};
};

template <typename T> __attribute__((always_inline)) inline T reduce(const op &o, T v, site s) {
  group &g = group::running();
  T *slots = g.slots<T>();
  slots[g.lane()] = v;
  arrive(o, s);
  return slots[0];
}

// existing_lane stops the launch if the kernel asks for a lane that no simdgroup has.
inline uint existing_lane([[maybe_unused]] const char *name, uint lane) {
#if ZMLX_CHECKED
  if (lane >= simd_width) group::running().stop("asks %s for lane %u", name, lane);
#endif
  return lane;
}

// exchange reads the value of another lane. Shifted beyond the simdgroup's ends, a
// lane keeps its own value, as on the GPUs.
template <typename T> __attribute__((always_inline)) inline T exchange(const op &o, T v, uint from, site s) {
  group &g = group::running();
  T *slots = g.slots<T>();
  const uint lane = g.lane();
  slots[lane] = v;
  arrive(o, s);
  return slots[from < simd_width ? from : lane];
}

struct exchanges {
  static constexpr op any{"simd_shuffle", false, false, nullptr};
  static constexpr op flip{"simd_shuffle_xor", false, false, nullptr};
  static constexpr op down{"simd_shuffle_down", false, false, nullptr};
  static constexpr op up{"simd_shuffle_up", false, false, nullptr};
  static constexpr op one{"simd_broadcast", false, false, nullptr};
};

} // namespace zmlx

#define ZMLX_OP __attribute__((always_inline)) inline

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };

ZMLX_OP void threadgroup_barrier(mem_flags f, zmlx::site s = {}) {
  static constexpr zmlx::op plain{"threadgroup_barrier", true, false, nullptr}, orders{"threadgroup_barrier", true, true, nullptr};
  zmlx::arrive(f == mem_flags::mem_threadgroup ? orders : plain, s);
}

ZMLX_OP void simdgroup_barrier(mem_flags f, zmlx::site s = {}) {
  static constexpr zmlx::op plain{"simdgroup_barrier", false, false, nullptr}, orders{"simdgroup_barrier", false, true, nullptr};
  zmlx::arrive(f == mem_flags::mem_threadgroup ? orders : plain, s);
}

namespace zmlx {

// mma is what a lane brings to a product of matrices: mma.m16n8k16 of PTX. Lane 4 * i + t
// holds rows i and i + 8 of a at columns 2t, 2t + 1 and 8 more; rows of b likewise, in column i;
// and of c rows i and i + 8 at columns 2t and 2t + 1.
struct mma {
  uint a[4], b[2];
  float c[4];

  template <typename T> static float element(uint pair, uint i) { return static_cast<float>(as_type<T>(static_cast<ushort>(pair >> 16 * i))); }
  template <typename T> static void multiply(void *slots) {
    mma *lanes = static_cast<mma *>(slots);
    float a[16][16], b[16][8];
    for (uint lane = 0; lane < simd_width; lane++)
      for (uint w = 0; w < 4; w++)
        for (uint i = 0; i < 2; i++) {
          const uint k = 2 * (lane % 4) + 8 * (w / 2) + i;
          a[lane / 4 + 8 * (w % 2)][k] = element<T>(lanes[lane].a[w], i);
          if (w % 2 == 0) b[k][lane / 4] = element<T>(lanes[lane].b[w / 2], i);
        }
    for (uint lane = 0; lane < simd_width; lane++)
      for (uint w = 0; w < 4; w++)
        for (uint k = 0; k < 16; k++) lanes[lane].c[w] += a[lane / 4 + 8 * (w / 2)][k] * b[k][2 * (lane % 4) + w % 2];
  }
  template <typename T> static constexpr op product{"simd_mma", false, false, multiply<T>};
};

} // namespace zmlx

// Tensor cores' products, for what is told to them: see cuda.h.
#define ZMLX_MMA 1
template <typename T> ZMLX_OP void simd_mma(T, float *c, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1, zmlx::site s = {}) {
  zmlx::group &g = zmlx::group::running();
  zmlx::mma *slots = g.slots<zmlx::mma>();
  const uint lane = g.lane();
  slots[lane] = {{a0, a1, a2, a3}, {b0, b1}, {c[0], c[1], c[2], c[3]}};
  zmlx::arrive(zmlx::mma::product<T>, s);
  for (int i = 0; i < 4; i++) c[i] = slots[lane].c[i];
}
inline uint and_or(uint v, uint mask, uint more) { return (v & mask) | more; }
template <typename T> ZMLX_OP uint pair_fma(T, uint a, uint b, uint c) {
  uint r = 0;
  for (uint i = 0; i < 2; i++)
    r |= static_cast<uint>(as_type<ushort>(T(zmlx::mma::element<T>(a, i) * zmlx::mma::element<T>(b, i) + zmlx::mma::element<T>(c, i)))) << 16 * i;
  return r;
}

#define ZMLX_FOR(T)                                                                                                          \
  ZMLX_OP T simd_sum(T v, zmlx::site s = {}) { return zmlx::reduce(zmlx::reduction<T>::sum, v, s); }                         \
  ZMLX_OP T simd_min(T v, zmlx::site s = {}) { return zmlx::reduce(zmlx::reduction<T>::min, v, s); }                         \
  ZMLX_OP T simd_max(T v, zmlx::site s = {}) { return zmlx::reduce(zmlx::reduction<T>::max, v, s); }                         \
  ZMLX_OP T simd_shuffle(T v, uint lane, zmlx::site s = {}) {                                                                \
    return zmlx::exchange(zmlx::exchanges::any, v, zmlx::existing_lane("simd_shuffle", lane), s);                            \
  }                                                                                                                          \
  ZMLX_OP T simd_broadcast(T v, uint lane, zmlx::site s = {}) {                                                              \
    return zmlx::exchange(zmlx::exchanges::one, v, zmlx::existing_lane("simd_broadcast", lane), s);                          \
  }                                                                                                                          \
  ZMLX_OP T simd_shuffle_xor(T v, uint mask, zmlx::site s = {}) {                                                            \
    return zmlx::exchange(zmlx::exchanges::flip, v, zmlx::existing_lane("simd_shuffle_xor", zmlx::group::running().lane() ^ mask), s); \
  }                                                                                                                          \
  ZMLX_OP T simd_shuffle_down(T v, uint delta, zmlx::site s = {}) {                                                          \
    return zmlx::exchange(zmlx::exchanges::down, v, zmlx::group::running().lane() + delta, s);                               \
  }                                                                                                                          \
  ZMLX_OP T simd_shuffle_up(T v, uint delta, zmlx::site s = {}) {                                                            \
    return zmlx::exchange(zmlx::exchanges::up, v, zmlx::group::running().lane() - delta, s);                                 \
  }
ZMLX_FOR(float)
ZMLX_FOR(int)
ZMLX_FOR(uint)
#undef ZMLX_FOR
#undef ZMLX_OP
