// gelu(gate) * up: Gemma 1. One thread an element, rounded after each step as MLX's ops
// are.
#include "maths.h"

kernel void geglu_erf() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x = float(gate[i]);
  const float r = float(T(x / float(T(1.4142135624f))));
  const float f = float(T(float(T(mlx_erf(r))) + 1.0f));
  const float g = float(T(float(T(x * f)) / 2.0f));
  out[i] = T(g * float(up[i]));
}
