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
  zc_move list[MOST_MOVES]; // replay.MostMoves
};

template <typename T, typename N> __device__ void zc_copy(const zc_move &m, N i) {
  const N n3 = m.shape[3], n2 = m.shape[2], n1 = m.shape[1];
  const N d = i % n3, c = i / n3 % n2, b = i / n3 / n2 % n1, a = i / n3 / n2 / n1;
  const long long row = m.rows ? (long long)m.rows[a] : (long long)a;
  const char *from = m.from + row * m.from_step[0] + b * m.from_step[1] + c * m.from_step[2] + d * m.from_step[3];
  char *to = m.to + a * m.to_step[0] + b * m.to_step[1] + c * m.to_step[2] + d * m.to_step[3];
  if (m.at) to += *m.at * m.at_step;
  *(T *)to = *(const T *)from;
}

template <typename N> __device__ void zc_unit(const zc_move &m, N i) {
  switch (m.unit) {
  case 1: return zc_copy<unsigned char>(m, i);
  case 2: return zc_copy<unsigned short>(m, i);
  case 4: return zc_copy<unsigned int>(m, i);
  case 8: return zc_copy<uint2>(m, i);
  case 16: return zc_copy<uint4>(m, i);
  }
}

#if ZMLX_AHEAD
// Each group makes all moves by itself, and then reads what it wrote: groups do not wait for
// each other, and all write the same. Units of all moves are shared out among the threads, so
// that a group waits for memory once.
__device__ void zc_ahead(const zc_moves_list &moves) {
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  unsigned i = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  for (int k = 0; k < MOST_MOVES && moves.list[k].to; k++) {
    const zc_move &m = moves.list[k];
    const unsigned n = m.shape[0] * m.shape[1] * m.shape[2] * m.shape[3];
    for (; i < n; i += threads) zc_unit(m, i);
    i -= n;
  }
  __syncthreads();
}
#else
extern "C" __global__ void zc_moves(const __grid_constant__ zc_moves_list moves) {
  const zc_move &m = moves.list[blockIdx.y];
  const unsigned long long n = m.shape[0] * m.shape[1] * m.shape[2] * m.shape[3];
  if (n < 1ull << 31) { // divisions of 32 bits are several times as fast
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) zc_unit(m, i);
  } else {
    for (unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) zc_unit(m, i);
  }
}
#endif
