// x * minimum(maximum(x + 3, 0), 6) / 6, rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.

kernel void hardswish() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float t1 = float(T(x_i + 3.0f));
  const float t2 = metal::isnan(t1) || t1 > 0.0f ? t1 : 0.0f;
  const float t3 = metal::isnan(t2) || t2 < 6.0f ? t2 : 6.0f;
  const float t4 = float(T(x_i * t3));
  out[i] = T(t4 / 6.0f);
}
