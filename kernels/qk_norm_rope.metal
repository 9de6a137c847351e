// RMS norm over each head of q and k and rotary position embedding, from
// [batch, position, head, d] to [batch, head, position, d]. One simdgroup a head.
#include "rope.h"

// Rounded to the type before it is multiplied with the weight, as MLX does.
template <typename T> inline float normed(float x, float norm, float w) { return float(T(float(T(x * norm)) * float(T(w)))); }

template <typename T, typename X, typename W, typename Y>
inline void norm_rope(X x, W w, Y y, int d, int half_dims, bool traditional, int position, float eps, float base, float scale, uint lane) {
  float squares = 0.0f;
  for (int i = int(lane); i < d; i += 32) squares += float(x[i]) * float(x[i]);
  const float norm = metal::precise::rsqrt(simd_sum(squares) / float(d) + eps);
  for (int c = int(lane); c < half_dims; c += 32) {
    const int first = traditional ? 2 * c : c;
    const int second = traditional ? first + 1 : first + half_dims;
    const float2 turn = rope_turn(rope_angle(position, scale, rope_frequency(c, half_dims, base)));
    const float u = normed<T>(float(x[first]), norm, float(w[first]));
    const float v = normed<T>(float(x[second]), norm, float(w[second]));
    y[first] = rope_first<T>(u, v, turn);
    y[second] = rope_second<T>(u, v, turn);
  }
  for (int i = 2 * half_dims + int(lane); i < d; i += 32) y[i] = T(normed<T>(float(x[i]), norm, float(w[i])));
}

kernel void qk_norm_rope() {
  const int row = int(threadgroup_position_in_grid.x); // batch, position, head of q or k
  const int head = row % (hq + hk);
  const int position = row / (hq + hk) % l;
  const int batch = row / (hq + hk) / l;
  const uint lane = thread_index_in_simdgroup;
  if (head < hq) {
    norm_rope<qr_t>(q + ((batch * l + position) * hq + head) * d, wq, qr + ((batch * hq + head) * l + position) * d, d, dims / 2, traditional,
                    position + offset[0], eps, base, scale, lane);
  } else {
    const int h = head - hq;
    norm_rope<kr_t>(k + ((batch * l + position) * hk + h) * d, wk, kr + ((batch * hk + h) * l + position) * d, d, dims / 2, traditional,
                    position + offset[0], eps, base, scale, lane);
  }
}
