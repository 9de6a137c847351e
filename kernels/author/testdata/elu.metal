// where(x > 0, x, alpha * expm1(x)), rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
#include "maths.h"

kernel void elu() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const bool t1 = x_i > 0.0f;
  const float t2 = float(T(mlx_expm1(x_i)));
  const float t3 = float(T(ZMLX_ROUND(float(T(alpha)) * t2)));
  out[i] = T(t1 ? x_i : t3);
}
