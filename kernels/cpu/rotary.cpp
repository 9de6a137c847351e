#include "rotary.h"

#include <cmath>

#include "room.h"

namespace zmlx {

Turns Rotary::at(int64_t position) const {
  const int64_t half = dims / 2;
  static thread_local struct {
    Rotary of{};
    int64_t position = -1;
  } last;
  float *cosines = room<3>(2 * half), *sines = cosines + half;
  if (last.of == *this && last.position == position) return {cosines, sines};
  const float step = std::log(base) / static_cast<float>(half);
  for (int64_t i = 0; i < half; i++) {
    const float angle = static_cast<float>(position) * scale * std::exp(-static_cast<float>(i) * step);
    cosines[i] = round(type, std::cos(angle));
    sines[i] = round(type, std::sin(angle));
  }
  last = {*this, position};
  return {cosines, sines};
}

void Rotary::turn(const Turns &t, float *x) const {
  const int64_t half = dims / 2, next = traditional ? 2 : 1, other = traditional ? 1 : half;
  const int32_t to = type;
  for (int64_t i = 0; i < half; i++) {
    float &first = x[next * i], &second = x[next * i + other];
    const float a = first, b = second, c = t.cosines[i], s = t.sines[i];
    first = round(to, round(to, a * c) - round(to, b * s));
    second = round(to, round(to, a * s) + round(to, b * c));
  }
}

} // namespace zmlx
