// maximum(x, 0) ** 2, rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.

kernel void relu_squared() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float t1 = metal::isnan(x_i) || x_i > 0.0f ? x_i : 0.0f;
  out[i] = T(t1 * t1);
}
