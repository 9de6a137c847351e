// x * sigmoid(x), rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
#include "mlx_ops.h"

kernel void silu() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float t1 = float(mlx_sigmoid(T(x_i)));
  out[i] = T(x_i * t1);
}
