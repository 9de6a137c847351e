// silu_clip in one pass, rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
//
//     func silu_clip(x, y float) float {
//         s := 1 / (1 + exp(-x))
//         t := x * s
//         for i := range 3 {
//             t = t*0.5 + y
//         }
//         if t > 7 {
//             t = 7
//         }
//         return t
//     }

kernel void silu_clip() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float y_i = float(y[i]);
  const float t1 = -x_i;
  const float t2 = float(T(metal::precise::exp(t1)));
  const float t3 = float(T(1.0f + t2));
  const float s = float(T(1.0f / t3));
  const float t = float(T(x_i * s));
  const float t4 = float(T(ZMLX_ROUND(t * 0.5f)));
  const float t_2 = float(T(t4 + y_i));
  const float t5 = float(T(ZMLX_ROUND(t_2 * 0.5f)));
  const float t_3 = float(T(t5 + y_i));
  const float t6 = float(T(ZMLX_ROUND(t_3 * 0.5f)));
  const float t_4 = float(T(t6 + y_i));
  const bool t7 = t_4 > 7.0f;
  out[i] = T(t7 ? 7.0f : t_4);
}
