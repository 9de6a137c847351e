// gate * sigmoid(gate) * up, rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
#include "mlx_ops.h"

kernel void swiglu() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float gate_i = float(gate[i]);
  const float up_i = float(up[i]);
  const float t1 = float(mlx_sigmoid(T(gate_i)));
  const float t2 = float(T(gate_i * t1));
  out[i] = T(t2 * up_i);
}
