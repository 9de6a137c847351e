// Attention of one query a head: softmax(scale * q @ k.T) @ v over rows of a cache. Rows are
// looked at once: what has been seen is kept relative to the largest score so far (Milakov
// and Gimelshein, Online normalizer calculation for softmax, 2018).
#pragma once

#include <cstdint>

namespace zmlx {

// Cache is rows of keys and values that heads of q share.
struct Cache {
  int32_t type;
  const void *k, *v;
  int64_t d, dv; // elements of a row, multiples of 8 of at most 256
};

// Seen is what some rows came to: the sum of exponentials and the weighted sum of values,
// both relative to top.
struct Seen {
  float top, sum;
  float value[256];
};

// see adds rows first to last of a cache to what each of some heads has seen. q is d floats
// a head, already scaled.
void see(const Cache &c, int64_t first, int64_t last, const float *q, int64_t heads, Seen *seen);

// merge adds b to a.
void merge(Seen *a, const Seen &b, int64_t dv);

} // namespace zmlx
