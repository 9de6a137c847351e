// How a row of logits is divided: see kernels/logits_parts.yaml.
#pragma once

#include <cstdint>

namespace zmlx {

constexpr int64_t logits_part = 4096, logits_parts = 64;

} // namespace zmlx
