// Rows of a batch, each at its own experts, some of which are the same. A group stands at one place of
// the indices, and takes with it up to three places behind that have the same expert, so that its
// matrix is read once for four; the groups that stand there have nothing to do. No order of the
// rows is needed for that. It needs tile.h before it.
#pragma once

struct batch_places {
  int count; // 0 where another group does it
  int place[4];
};

// The places of a group that stands at `me`, of m. Of more than 1,024, a bit of a word for each lane,
// and where rows cannot share a matrix, each is by itself.
template <typename T, typename I> inline batch_places batch_find(I idx, int m, int me, uint lane) {
  batch_places r = {1, {me, me, me, me}};
#if ZMLX_MMA
  if constexpr (tile_mma<T>::on) {
    if (m > 1024) return r;
    const uint chosen = uint(idx[me]);
    uint same = 0u; // bit c: place 32 * c + lane
    int before = 0;
    for (int c = 0; 32 * c < m; c++) {
      const int at = 32 * c + int(lane);
      const bool hit = at < m && uint(idx[metal::min(at, m - 1)]) == chosen;
      same |= hit ? 1u << c : 0u;
      before += hit && at < me ? 1 : 0;
    }
    if (simd_sum(before) % 4 != 0) {
      r.count = 0;
      return r;
    }
    int last = me;
    QUANT_UNROLL
    for (int i = 1; i < 4; i++) {
      int next = m;
      for (int c = (m - 1) / 32; c >= 0; c--) {
        const int at = 32 * c + int(lane);
        if ((same >> c & 1u) != 0u && at > last) next = at;
      }
      next = simd_min(next);
      if (next < m) {
        r.place[i] = next;
        r.count = i + 1;
        last = next;
      } else {
        last = m;
      }
    }
  }
#endif
  return r;
}

// Four rows of x that do not lie one behind the other.
template <typename P> struct batch_rows {
  P x;
  int k, row0, row1, row2, row3;

  P of(int row) const { return x + size_t(uint(row)) * uint(k); }
  P first(int m) const { return of(m == 0 ? row0 : m == 1 ? row1 : m == 2 ? row2 : row3); }

  void begin() const {}
  P at(int i) const { return of(row0) + i; }
  P rounded(int i) const { return first(i / k) + i % k; }
};

// The rows of a group's places, of which `each` share a row of x.
template <typename P> inline batch_rows<P> batch_x(P x, int k, int each, batch_places at) {
  batch_rows<P> r = {x, k, at.place[0] / each, at.place[1] / each, at.place[2] / each, at.place[3] / each};
  return r;
}
