// x * tanh(log(1 + exp(x))), rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.

kernel void mish() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float t1 = float(T(metal::precise::exp(x_i)));
  const float t2 = float(T(1.0f + t1));
  const float t3 = float(T(metal::precise::log(t2)));
  const float t4 = float(T(metal::precise::tanh(t3)));
  out[i] = T(x_i * t4);
}
