// SwiGLU in float32, rounded once.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
//
//     gate * sigmoid(gate) * up
#include "mlx_ops.h"

kernel void swiglu_once() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float gate_i = float(gate[i]);
  const float up_i = float(up[i]);
  const float t1 = mlx_sigmoid(gate_i);
  const float t2 = gate_i * t1;
  out[i] = T(t2 * up_i);
}
