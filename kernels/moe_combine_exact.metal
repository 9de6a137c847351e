// The weighted sum of experts, one thread an element, each product and each sum rounded to T
// and experts in order, as MLX adds up the rows of a short column on every backend.
kernel void moe_combine_exact() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * d) return;
  const size_t row = size_t(i / d) * uint(topk);
  const int column = i % d;
  float sum = 0.0f;
  for (int j = 0; j < topk; j++) {
    const float v = float(y[(row + uint(j)) * uint(d) + uint(column)]);
    sum = float(T(sum + float(T(ZMLX_ROUND(v * float(scores[row + uint(j)]))))));
  }
  out[i] = out_t(sum);
}
