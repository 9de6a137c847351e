// y = C * conv(state and B * x), where B, C, x are the thirds of bcx and conv sums a
// channel's last taps. One thread a channel; it also shifts its column of the state.
kernel void short_conv() {
  const int i = int(thread_position_in_grid.x);
  if (i >= b * c) return;
  const int batch = i / c, channel = i % c;
  const int row = batch * 3 * c + channel;
  const T bx = T(float(bcx[row]) * float(bcx[row + 2 * c]));
  const int from = batch * keep * c + channel;
  float sum = 0.0f;
  for (int j = 0; j < keep; j++) {
    const T v = state[from + j * c];
    sum += float(v) * float(weight[channel * taps + j]);
    if (j > 0) next[from + (j - 1) * c] = v;
  }
  sum += float(bx) * float(weight[channel * taps + keep]);
  next[from + (keep - 1) * c] = bx;
  y[i] = T(float(bcx[row + c]) * float(T(sum)));
}
