// gelu(gate) * up: Gemma 2, 3 and 4. One thread an element, rounded after each step as
// MLX's ops are; gate^3 is two products where MLX has pow.
kernel void geglu_tanh() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x = float(gate[i]);
  const float cube = float(T(ZMLX_ROUND(x * x) * x));
  const float c = float(T(cube * float(T(0.044715f))));
  const float u = float(T(x + c));
  const float v = float(T(u * float(T(0.7978845608f))));
  const float f = float(T(float(T(metal::precise::tanh(v))) + 1.0f));
  const float g = float(T(float(T(x * 0.5f)) * f));
  out[i] = T(g * float(up[i]));
}
