// silu(gate) * up, one thread an element, rounded after each step as MLX's three ops are.
#include "mlx_ops.h"

kernel void swiglu() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  out[i] = T(float(mlx_silu(T(gate[i]))) * float(up[i]));
}
