// Rotary position embedding as MLX computes it on a CPU: every step is rounded to the type.
//
// Source: mlx/fast.cpp (0.32.2).
#pragma once

#include <cstdint>

#include "elements.h"

namespace zmlx {

// Turns are the cosines and sines of the pairs of one position, rounded to a type. They
// are of the calling thread, which keeps those of its last position: layers share them.
struct Turns {
  const float *cosines, *sines;
};

// Rotary is what a call says of its rotation.
struct Rotary {
  int32_t type;
  int64_t dims; // that are turned: half of them pairs
  bool traditional; // pairs are neighbours, not halves apart
  float base, scale;

  bool operator==(const Rotary &) const = default;

  Turns at(int64_t position) const;
  // turn turns the first dims of n elements of x, which are of the type, in place.
  void turn(const Turns &t, float *x) const;
};

} // namespace zmlx
