// x + y, y rounded to the type of x first. One thread an element.

kernel void add_rounded() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  out[i] = T(float(x[i]) + float(T(y[i])));
}
