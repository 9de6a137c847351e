// y + table[idx]. One thread an element.

kernel void add_taken() {
  const int i = int(thread_position_in_grid.x);
  if (i >= b * l * topk * n) return;
  out[i] = T(float(y[i]) + float(table[size_t(uint(idx[i / n])) * uint(n) + uint(i % n)]));
}
