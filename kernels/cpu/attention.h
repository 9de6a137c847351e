// Attention of one query a head, or a prompt's: softmax(scale * q @ k.T) @ v over rows of a cache. Rows are
// looked at once: what has been seen is kept relative to the largest score so far (Milakov
// and Gimelshein, Online normalizer calculation for softmax, 2018).
#pragma once

#include <cstdint>

namespace zmlx {

// Packed is where scales and biases of k or v are, if those are words of codes.
struct Packed {
  const void *scales = nullptr, *biases = nullptr; // of the type
};

// Attention is what a call says. Heads of q that are neighbours share one of k and v, and
// read it together.
struct Attention {
  int workers;
  int32_t type; // of all elements
  int64_t groups, each;     // heads of k and v in all batches, and heads of q that share one
  int64_t cap, first, last; // rows of a head of k and v: all, and those to look at
  int64_t d, dv, p;         // elements of a row of k, of v (multiples of 8), and of k_pe
  float scale;
  const void *q, *k, *v;
  // With latent attention, scores have a second product. p is 0 without it.
  const void *q_pe = nullptr, *k_pe = nullptr;
  // One more score of each of some heads of q, over and over; it has no value. Or null.
  const void *sinks = nullptr;
  int64_t sink_heads = 0;
  // Caches of codes, each scale * code + bias of its group. bits is 4 or 8, or 0 without.
  Packed of_k = {}, of_v = {};
  int64_t bits = 0, group_size = 0;
};

// attend writes [head][dv].
void attend(const Attention &a, void *out);

// attend_causal does it for the last l rows of the cache at once, of which each sees the rows
// up to its own: q is [head][l][d], the result [head][l][dv]. There are no sinks.
void attend_causal(const Attention &a, int64_t l, void *out);

// attend_parts does it for the rows i, i + splits, i + 2 * splits, ... on their own, each i
// below splits, and writes [head][splits][dv], and the logarithms of the sums of exponentials.
void attend_parts(const Attention &a, int64_t splits, float *part, float *lse);

} // namespace zmlx
