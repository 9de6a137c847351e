// Sums parts of an attention, each times its share of all exponentials. One thread an
// element.
kernel void sdpa_merge() {
  const int i = int(thread_position_in_grid.x);
  if (i >= b * h * d) return;
  const int row = i / d * splits;
  float top = -3.4028235e38f;
  for (int s = 0; s < splits; s++) top = metal::max(top, lse[row + s]);
  float sum = 0.0f, acc = 0.0f;
  for (int s = 0; s < splits; s++) {
    const float e = metal::exp(lse[row + s] - top);
    sum += e;
    acc += e * part[(row + s) * d + i % d];
  }
  out[i] = out_t(acc / sum);
}
