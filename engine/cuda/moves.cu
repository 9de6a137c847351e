// What a script does besides kernels of the catalog: elements are laid out in another way
// (rows appended to a cache, a view made whole), or rows are taken from a table. As launches
// of their own, or in front of a kernel.
struct zc_move {
  char *to;
  const char *from;
  const int *at, *rows;
  long long at_step, unit;
  long long shape[4], to_step[4], from_step[4];
};

struct zc_moves_list {
  zc_move list[MOST_MOVES];
};

#if ZMLX_AHEAD
// Unit i of a move in front of a kernel, where the shape is known: a launch waits for its text to
// be read, too, and there must be little of it.
template <typename T, unsigned B, unsigned C, unsigned D> __device__ void zc_ahead(const zc_move &m, unsigned i) {
  const unsigned a = i / (B * C * D), b = i / (C * D) % B, c = i / D % C, d = i % D;
  const char *from = m.from;
  char *to = m.to;
  if (m.at) to += *m.at * m.at_step;
  from += D > 1 ? d * (unsigned)m.from_step[3] : 0u;
  to += D > 1 ? d * (unsigned)m.to_step[3] : 0u;
  if (C > 1) from += c * m.from_step[2], to += c * m.to_step[2];
  if (B > 1) from += b * m.from_step[1], to += b * m.to_step[1];
  if (a > 0) from += a * m.from_step[0], to += a * m.to_step[0];
  *(T *)to = *(const T *)from;
}
#else
// Unit a, b, c, d of a move.
template <typename T> __device__ void zc_copy(const zc_move &m, long long a, long long b, long long c, long long d) {
  const long long row = m.rows ? (long long)m.rows[a] : a;
  const char *from = m.from + row * m.from_step[0] + b * m.from_step[1] + c * m.from_step[2] + d * m.from_step[3];
  char *to = m.to + a * m.to_step[0] + b * m.to_step[1] + c * m.to_step[2] + d * m.to_step[3];
  if (m.at) to += *m.at * m.at_step;
  *(T *)to = *(const T *)from;
}

template <typename N> __device__ void zc_unit(const zc_move &m, N i) {
  const N n3 = m.shape[3], n2 = m.shape[2], n1 = m.shape[1];
  const N d = i % n3, c = i / n3 % n2, b = i / n3 / n2 % n1, a = i / n3 / n2 / n1;
  switch (m.unit) {
  case 1: return zc_copy<unsigned char>(m, a, b, c, d);
  case 2: return zc_copy<unsigned short>(m, a, b, c, d);
  case 4: return zc_copy<unsigned int>(m, a, b, c, d);
  case 8: return zc_copy<uint2>(m, a, b, c, d);
  case 16: return zc_copy<uint4>(m, a, b, c, d);
  }
}

extern "C" __global__ void zc_moves(const __grid_constant__ zc_moves_list moves) {
  MAY_FOLLOW
  const zc_move &m = moves.list[blockIdx.y];
  const unsigned long long n = m.shape[0] * m.shape[1] * m.shape[2] * m.shape[3];
  if (n < 1ull << 31) { // divisions of 32 bits are several times as fast
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) zc_unit(m, i);
  } else {
    for (unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) zc_unit(m, i);
  }
}
#endif
