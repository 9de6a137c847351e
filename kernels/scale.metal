// x times a number, which is one of x's type first. One thread an element.

kernel void scale() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  out[i] = T(float(x[i]) * float(T(factor)));
}
