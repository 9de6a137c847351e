// Rows of a table. One thread an element. A number below 0 counts from the end.

kernel void take_rows() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * d) return;
  const int id = int(ids[i / d]);
  const size_t row = size_t(uint(id < 0 ? id + n : id));
  out[i] = x[row * uint(d) + uint(i % d)];
}
