// branches in one pass, rounded after each op as MLX's own ops are.
// Made by zmlx-rewrite kernels new; one thread an element. Edit it freely: it is checked against the spec.
//
//     func branches(x, y float, slope scalar, b vector) float {
//         z := x + b
//         low := false
//         if z < -1 || y > 2 {
//             low = true
//             z = z * slope
//         } else if z > 1 {
//             return max(z, y)
//         }
//         scale := 1.0
//         if low {
//             scale = 2
//             for k := range 2 {
//                 scale *= 0.5 + k
//             }
//         }
//         return z*scale - abs(y)
//     }

kernel void branches() {
  const int i = int(thread_position_in_grid.x);
  if (i >= rows * n) return;
  const float x_i = float(x[i]);
  const float y_i = float(y[i]);
  const float b_i = float(b[i % n]);
  const float z = float(T(x_i + b_i));
  const bool t1 = z < -1.0f;
  const bool t2 = y_i > 2.0f;
  const bool t3 = t1 || t2;
  const float z_2 = float(T(z * float(T(slope))));
  const float t4 = float(T(ZMLX_ROUND(z_2 * 1.5f)));
  const float t5 = metal::abs(y_i);
  const float t6 = float(T(t4 - t5));
  const bool t7 = z > 1.0f;
  const float t8 = metal::isnan(z) || z > y_i ? z : y_i;
  const float t9 = float(T(ZMLX_ROUND(z * 1.0f)));
  const float t10 = float(T(t9 - t5));
  const float t11 = t7 ? t8 : t10;
  out[i] = T(t3 ? t6 : t11);
}
