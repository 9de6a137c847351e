// max(gate, 0)^2 * up: BitNet. One thread an element.
#include "mlx_ops.h"

kernel void relu2_mul() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float r = mlx_relu(float(gate[i]));
  out[i] = T(float(T(r * r)) * float(up[i]));
}
