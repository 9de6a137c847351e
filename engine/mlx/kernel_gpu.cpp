//go:build mlx

#include "kernel_gpu.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "mlx_handles.h"

#include "mlx/primitives.h"

namespace {

using Shared = std::shared_ptr<mx::Primitive>;

} // namespace

zr_primitive zr_primitive_of(mlx_array a) {
  if (zr_guard() || !a.ctx || !get(a).has_primitive()) return {nullptr};
  return {new Shared(get(a).primitive_ptr())};
}

void zr_primitive_free(zr_primitive p) { delete static_cast<Shared *>(p.ctx); }

int zr_primitive_call(mlx_array *out, size_t n_out, zr_primitive p, const int *shapes, const size_t *ranks, const mlx_dtype *types, const mlx_array *in,
                      size_t n_in) {
  if (zr_guard()) return 1;
  size_t made = 0;
  try {
    std::vector<mx::array> inputs;
    for (size_t i = 0; i < n_in; i++) inputs.push_back(get(in[i]));
    std::vector<mx::Shape> all;
    std::vector<mx::Dtype> kinds;
    for (size_t i = 0; i < n_out; shapes += ranks[i], i++) {
      all.emplace_back(shapes, shapes + ranks[i]);
      kinds.push_back(dtype_of(types[i]));
    }
    for (mx::array &a : mx::array::make_arrays(std::move(all), kinds, *static_cast<Shared *>(p.ctx), inputs)) {
      out[made] = zr_checked(0, handle(std::move(a)));
      if (!out[made].ctx) throw std::length_error(""); // zr_checked has said why
      made++;
    }
    return 0;
  } catch (const std::exception &e) {
    if (*e.what()) _mlx_error(__FILE__, __LINE__, "%s", e.what());
  }
  zr_release(out, made);
  std::memset(out, 0, n_out * sizeof *out);
  return 1;
}
