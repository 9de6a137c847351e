// The weighted sum of experts, one thread an element. Products are rounded as MLX rounds them,
// the sum is float32.
kernel void moe_combine() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * d) return;
  const size_t row = size_t(i / d) * uint(topk);
  const int column = i % d;
  float sum = 0.0f;
  for (int j = 0; j < topk; j++) {
    const float v = float(y[(row + uint(j)) * uint(d) + uint(column)]);
    sum += float(T(ZMLX_ROUND(v * float(scores[row + uint(j)]))));
  }
  out[i] = out_t(sum);
}
