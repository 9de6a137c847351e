// 0.5 * gate * (1 + erf(gate / sqrt(2))) * up, rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
#include "maths.h"

kernel void geglu() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float gate_i = float(gate[i]);
  const float up_i = float(up[i]);
  const float t1 = float(T(0.5f * gate_i));
  const float t2 = float(T(gate_i / float(T(1.4142135f))));
  const float t3 = float(T(mlx_erf(t2)));
  const float t4 = float(T(1.0f + t3));
  const float t5 = float(T(t1 * t4));
  out[i] = T(t5 * up_i);
}
