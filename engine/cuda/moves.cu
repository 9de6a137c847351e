// What a script does besides kernels of the catalog: elements are laid out in another way
// (rows appended to a cache, a view made whole), or rows are taken from a table.
struct Move {
  char *to;
  const char *from;
  const int *at, *rows;
  long long at_step, unit;
  long long shape[4], to_step[4], from_step[4];
};

struct Moves {
  Move list[MOST_MOVES]; // replay.MostMoves
};

template <typename T> __device__ void move(const Move &m) {
  const long long n = m.shape[0] * m.shape[1] * m.shape[2] * m.shape[3];
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
    const long long d = i % m.shape[3], c = i / m.shape[3] % m.shape[2], b = i / (m.shape[3] * m.shape[2]) % m.shape[1], a = i / (m.shape[3] * m.shape[2] * m.shape[1]);
    const long long row = m.rows ? (long long)m.rows[a] : a;
    const char *from = m.from + row * m.from_step[0] + b * m.from_step[1] + c * m.from_step[2] + d * m.from_step[3];
    char *to = m.to + a * m.to_step[0] + b * m.to_step[1] + c * m.to_step[2] + d * m.to_step[3];
    if (m.at) to += *m.at * m.at_step;
    *(T *)to = *(const T *)from;
  }
}

extern "C" __global__ void zc_moves(const __grid_constant__ Moves moves) {
  const Move &m = moves.list[blockIdx.y];
  switch (m.unit) {
  case 1: return move<unsigned char>(m);
  case 2: return move<unsigned short>(m);
  case 4: return move<unsigned int>(m);
  case 8: return move<uint2>(m);
  case 16: return move<uint4>(m);
  }
}
