// Rows of a quantized table. One thread an element: its code may lie in two words.

kernel void take_dequantize() {
  const int i = int(thread_position_in_grid.x);
  const int k = g * group_size;
  if (i >= rows * k) return;
  const int c = i % k;
  const int id = int(ids[i / k]);
  const uint row = uint(id < 0 ? id + n : id);
  const uint first = uint(c * bits), word = first / 32, shift = first % 32;
  const size_t at = size_t(row) * uint(kp) + word;
  uint code = w[at] >> shift;
  if (int(shift) + bits > 32) code |= w[at + 1] << (32 - shift);
  code &= (1u << uint(bits)) - 1u;
  const size_t j = size_t(row) * uint(g) + uint(c / group_size);
  const float scaled = ZMLX_ROUND(float(scales[j]) * float(code));
  out[i] = T(float(T(scaled)) + float(biases[j]));
}
