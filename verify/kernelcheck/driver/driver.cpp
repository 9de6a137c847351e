// Runs compiled kernels of compat/host.h in a process of its own, since what is being
// checked may read where it must not. Package kernelcheck writes one request after
// the other to standard input and reads the answers from standard output.
//
// Each operand lies right before or right behind a page that cannot be touched;
// inputs cannot be written to. A fault ends the process with a line on standard
// error that names the operand.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "zmlx_kernel.h"

extern "C" int zmlx_check_run(const zmlx_call *);
extern "C" const char *zmlx_error(void);
extern "C" void zmlx_set_check(int order, uint64_t seed, int round_up);

namespace {

const size_t page = size_t(sysconf(_SC_PAGESIZE));

// Area is one operand between two forbidden pages.
struct Area {
  uint8_t *map = nullptr;
  size_t pages = 0, bytes = 0;
  uint8_t *data = nullptr;
  char what[32];

  void make(const char *kind, size_t index, size_t size, bool at_end) {
    bytes = size;
    size_t need = (size + page - 1) / page + 2;
    if (need > pages) {
      if (map) munmap(map, pages * page);
      pages = need;
      map = static_cast<uint8_t *>(mmap(nullptr, pages * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      if (map == MAP_FAILED) { std::fprintf(stderr, "driver: no memory\n"); std::_Exit(3); }
    }
    mprotect(map, pages * page, PROT_NONE);
    size_t body = need - 2;
    mprotect(map + page, body * page, PROT_READ | PROT_WRITE);
    data = map + page + (at_end ? body * page - size : 0);
    std::snprintf(what, sizeof what, "%s %zu", kind, index);
  }
  void freeze() { mprotect(map + page, (bytes + page - 1) / page * page, PROT_READ); } // its own pages only: an area is used again
  bool holds(const void *p) const { return p >= map && p < map + pages * page; }
};

std::vector<Area> inputs, outputs;

void on_fault(int, siginfo_t *info, void *) {
  char line[256];
  const char *what = "memory of nobody";
  long long at = 0;
  size_t size = 0;
  for (auto *list : {&inputs, &outputs})
    for (auto &a : *list)
      if (a.holds(info->si_addr)) {
        what = a.what;
        at = static_cast<uint8_t *>(info->si_addr) - a.data;
        size = a.bytes;
      }
  int n = std::snprintf(line, sizeof line, "fault: touched byte %lld of %s, which has %zu bytes%s\n", at, what, size,
                        at >= 0 && size_t(at) < size ? " and must not be written to" : "");
  (void)!write(2, line, size_t(n));
  std::_Exit(4);
}

void get(void *to, size_t n) {
  if (n && std::fread(to, 1, n, stdin) != n) std::_Exit(0); // the end
}
template <typename T> T get() {
  T v;
  get(&v, sizeof v);
  return v;
}
template <typename T> std::vector<T> list() {
  std::vector<T> v(get<uint32_t>());
  get(v.data(), v.size() * sizeof(T));
  return v;
}
void put(const void *from, size_t n) { std::fwrite(from, 1, n, stdout); }

} // namespace

int main() {
  struct sigaction sa {};
  sa.sa_sigaction = on_fault;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
  static uint8_t stack[1 << 16];
  stack_t ss{};
  ss.ss_sp = stack;
  ss.ss_size = sizeof stack;
  sigaltstack(&ss, nullptr);
  sigaction(SIGSEGV, &sa, nullptr);
  sigaction(SIGBUS, &sa, nullptr);

  for (;;) {
    // A request: options, numbers, then inputs (size, alias, bytes) and result sizes.
    int32_t order = get<int32_t>(), round_up = get<int32_t>(), at_end = get<int32_t>(), workers = get<int32_t>();
    uint64_t seed = get<uint64_t>();
    auto ints = list<int64_t>();
    auto floats = list<double>();
    auto types = list<int32_t>();
    auto geometry = list<int64_t>();
    size_t n_in = get<uint32_t>(), n_out = get<uint32_t>();
    if (inputs.size() < n_in) inputs.resize(n_in);
    if (outputs.size() < n_out) outputs.resize(n_out);
    std::vector<const void *> in(n_in);
    std::vector<void *> out(n_out);
    for (size_t i = 0; i < n_in; i++) {
      int64_t size = get<int64_t>();
      int32_t alias = get<int32_t>();
      if (size < 0) { in[i] = nullptr; continue; } // absent
      if (alias >= 0) { in[i] = in[size_t(alias)]; continue; }
      inputs[i].make("input", i, size_t(size), at_end);
      get(inputs[i].data, size_t(size));
      inputs[i].freeze();
      in[i] = inputs[i].data;
    }
    uint8_t fill = get<uint8_t>();
    for (size_t i = 0; i < n_out; i++) {
      size_t size = size_t(get<int64_t>());
      outputs[i].make("result", i, size, at_end);
      std::memset(outputs[i].data, fill, size);
      out[i] = outputs[i].data;
    }
    zmlx_set_check(order, seed, round_up);
    zmlx_call c{};
    c.in = in.data();
    c.out = out.data();
    c.ints = ints.data();
    c.floats = floats.data();
    c.types = types.data();
    c.grid = geometry.data();
    c.group = geometry.data() + 3;
    c.workers = workers;
    int32_t rc = zmlx_check_run(&c);
    put(&rc, sizeof rc);
    std::string text = rc ? zmlx_error() : "";
    uint32_t len = uint32_t(text.size());
    put(&len, sizeof len);
    put(text.data(), len);
    if (!rc)
      for (size_t i = 0; i < n_out; i++) put(outputs[i].data, outputs[i].bytes);
    std::fflush(stdout);
  }
}
