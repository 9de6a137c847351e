// MLX's C++ objects behind mlx-c's handles, for the two files that talk to MLX in C++:
// mlx-c has no way to add an op. Sources: mlx/c/private/{array,error}.h of mlx-c 0.7.0.
#pragma once

#include <stdexcept>
#include <utility>

#include "mlx/array.h"
#include "mlx/c/mlx.h"

extern "C" { // bridge.h, which is C only
int zr_guard(void);
mlx_array zr_checked(int rc, mlx_array r);
void zr_release(const mlx_array *a, size_t n);
void _mlx_error(const char *file, const int line, const char *fmt, ...); // mlx/c/error.h
}

namespace mx = mlx::core;

namespace {

// dtype_of is the element type of a code, which MLX and mlx-c share.
inline mx::Dtype dtype_of(mlx_dtype t) {
  switch (t) {
  case MLX_BOOL: return mx::bool_;
  case MLX_UINT8: return mx::uint8;
  case MLX_UINT16: return mx::uint16;
  case MLX_UINT32: return mx::uint32;
  case MLX_UINT64: return mx::uint64;
  case MLX_INT8: return mx::int8;
  case MLX_INT16: return mx::int16;
  case MLX_INT32: return mx::int32;
  case MLX_INT64: return mx::int64;
  case MLX_FLOAT16: return mx::float16;
  case MLX_FLOAT32: return mx::float32;
  case MLX_FLOAT64: return mx::float64;
  case MLX_BFLOAT16: return mx::bfloat16;
  case MLX_COMPLEX64: return mx::complex64;
  }
  throw std::invalid_argument("unknown element type");
}

// A handle holds a pointer to the object, made with new.
inline const mx::array &get(mlx_array a) { return *static_cast<const mx::array *>(a.ctx); }
inline mlx_array handle(mx::array a) { return {new mx::array(std::move(a))}; }

} // namespace
