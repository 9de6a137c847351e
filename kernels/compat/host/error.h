// The text behind zmlx_error(): one an operating-system thread, set by a run that
// returned 1.
#pragma once

#include <cstdarg>
#include <cstdio>

namespace zmlx {

struct error_text {
  char text[1000];

  void format(const char *form, ...) __attribute__((format(printf, 2, 3))) {
    va_list args;
    va_start(args, form);
    vsnprintf(text, sizeof text, form, args);
    va_end(args);
  }
};

inline error_text &last_error() {
  static thread_local error_text e{};
  return e;
}

// fail is what a run function returns with, if it cannot run.
inline int fail(const char *why) {
  last_error().format("%s", why);
  return 1;
}

} // namespace zmlx
