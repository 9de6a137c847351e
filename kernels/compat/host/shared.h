// Threadgroup memory as a body sees it: a plain pointer, or one that is watched.
#pragma once

#include "group.h"

// The name's characters, in storage of their own for each declaration, say which
// declaration it is.
#define ZMLX_THREADGROUP(type, name, count)            \
  static const char name##_zmlx[] = #name;             \
  const auto name = zmlx::shared<type>(name##_zmlx, count)

namespace zmlx {

#if ZMLX_CHECKED

template <typename T> class watched;

// element stands for an element of threadgroup memory. It is read whole and written
// whole: an element with members is first copied into a variable.
template <typename T> class element {
 public:
  element(const group::array &a, int64_t i) : a_(a), i_(i) {}
  element(const element &) = default;

  operator T() const {
    group &g = group::running();
    g.access(a_, i_, false);
    T v;
    memcpy(&v, static_cast<char *>(g.memory(a_)) + i_ * sizeof(T), sizeof(T));
    return v;
  }
  template <typename U> explicit operator U() const { return U(static_cast<T>(*this)); }

  const element &operator=(T v) const {
    group &g = group::running();
    g.access(a_, i_, true);
    memcpy(static_cast<char *>(g.memory(a_)) + i_ * sizeof(T), &v, sizeof(T));
    return *this;
  }
  const element &operator=(const element &e) const { return *this = static_cast<T>(e); }
  const element &operator+=(T v) const { return *this = T(*this) + v; }
  const element &operator-=(T v) const { return *this = T(*this) - v; }
  const element &operator*=(T v) const { return *this = T(*this) * v; }

 private:
  const group::array &a_;
  int64_t i_;
};

// watched is a pointer into threadgroup memory.
template <typename T> class watched {
 public:
  watched(const group::array &a, int64_t i) : a_(&a), i_(i) {}
  element<T> operator[](int64_t i) const { return {*a_, i_ + i}; }
  element<T> operator*() const { return {*a_, i_}; }
  watched operator+(int64_t n) const { return {*a_, i_ + n}; }
  watched operator-(int64_t n) const { return {*a_, i_ - n}; }
  watched &operator+=(int64_t n) { return i_ += n, *this; }

 private:
  const group::array *a_;
  int64_t i_;
};

template <typename T> inline watched<T> shared(const char *name, uint count) {
  return {group::running().shared(name, sizeof(T), count, std::max<uint>(16, alignof(T))), 0};
}

#else

template <typename T> inline T *shared(const char *name, uint count) {
  group &g = group::running();
  return static_cast<T *>(g.memory(g.shared(name, sizeof(T), count, std::max<uint>(16, alignof(T)))));
}

#endif

} // namespace zmlx

#if ZMLX_CHECKED
template <typename To, typename From> inline To as_type(const zmlx::element<From> &e) { return as_type<To>(static_cast<From>(e)); }
#endif
