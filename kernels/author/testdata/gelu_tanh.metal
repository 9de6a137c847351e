// 0.5 * x * (1 + tanh(sqrt(2 / 3.141592653589793) * (x + 0.044715 * x ** 3))), rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.

kernel void gelu_tanh() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float t1 = float(T(0.5f * x_i));
  const float t2 = float(T(x_i * x_i));
  const float t3 = float(T(t2 * x_i));
  const float t4 = float(T(ZMLX_ROUND(float(T(0.044715f)) * t3)));
  const float t5 = float(T(x_i + t4));
  const float t6 = float(T(ZMLX_ROUND(float(T(0.7978846f)) * t5)));
  const float t7 = float(T(metal::precise::tanh(t6)));
  const float t8 = float(T(1.0f + t7));
  out[i] = T(t1 * t8);
}
