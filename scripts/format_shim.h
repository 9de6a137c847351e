// std::format for compilers whose library lacks it (g++ 12, Debian 12): enough of
// it for mlx-c 0.7.0, which uses plain "{}" only, in five messages of private/io.h.
// Included before every source by setup-mlx.sh; empty where <format> exists.
#pragma once
#if !__has_include(<format>)
#include <sstream>
#include <string>
#include <string_view>

namespace std {
template <class... Args>
string format(string_view text, const Args&... args) {
  ostringstream out;
  auto put = [&](const auto& arg) {
    auto hole = text.find("{}");
    if (hole == string_view::npos) return; // more arguments than holes: ignored, as std::format does
    out << text.substr(0, hole) << arg;
    text.remove_prefix(hole + 2);
  };
  (put(args), ...);
  out << text;
  return out.str();
}
} // namespace std
#endif
