// Sums parts of an attention with sinks, each times its share of all exponentials. A sink is a
// part without values. One thread an element.
kernel void sdpa_merge_sinks() {
  const int i = int(thread_position_in_grid.x);
  if (i >= b * h * d) return;
  const int row = i / d * splits;
  const float sink = float(sinks[i / d % h]);
  float top = sink;
  for (int s = 0; s < splits; s++) top = metal::max(top, lse[row + s]);
  float sum = metal::exp(sink - top), acc = 0.0f;
  for (int s = 0; s < splits; s++) {
    const float e = metal::exp(lse[row + s] - top);
    sum += e;
    acc += e * part[(row + s) * d + i % d];
  }
  out[i] = out_t(acc / sum);
}
