// logaddexp(x, 0), rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
#include "maths.h"

kernel void softplus() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  out[i] = mlx_logaddexp(T(x_i), T(0.0f));
}
