// max(x, 0)^2: Nemotron, nanochat. One thread an element.
#include "mlx_ops.h"

kernel void relu2() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float r = mlx_relu(float(x[i]));
  out[i] = T(r * r);
}
