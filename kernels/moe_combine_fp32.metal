// The weighted sum of experts in float32, one thread an element.
kernel void moe_combine_fp32() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * d) return;
  const size_t row = size_t(i / d) * uint(topk);
  const int column = i % d;
  float sum = 0.0f;
  for (int j = 0; j < topk; j++) {
    const float v = float(y[(row + uint(j)) * uint(d) + uint(column)]);
    sum += ZMLX_ROUND(v * scores[row + uint(j)]);
  }
  out[i] = out_t(sum);
}
