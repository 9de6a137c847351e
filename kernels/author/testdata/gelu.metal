// 0.5 * x * (1 + erf(x / sqrt(2))), rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
#include "maths.h"

kernel void gelu() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float t1 = float(T(0.5f * x_i));
  const float t2 = float(T(x_i / float(T(1.4142135f))));
  const float t3 = float(T(mlx_erf(t2)));
  const float t4 = float(T(1.0f + t3));
  out[i] = T(t1 * t4);
}
