//go:build mlx

#include "address.h"

#include "mlx_handles.h"

namespace {

// A buffer of MLX's CUDA backend: CudaBuffer of mlx/backend/cuda/allocator.h, 0.32.0 to
// 0.32.4. array::data() would move it to memory that the host sees.
struct Buffer {
  void *data;
  size_t size;
  int device;
};

} // namespace

uint64_t zr_address(mlx_array a, bool cuda) {
  if (zr_guard() || !a.ctx) return 0;
  const mx::array &x = get(a);
  if (!cuda) return reinterpret_cast<uint64_t>(x.data<char>());
  const auto *b = static_cast<const Buffer *>(x.buffer().ptr());
  return b && b->data ? reinterpret_cast<uint64_t>(b->data) + static_cast<uint64_t>(x.offset()) : 0;
}
