// Where the elements of an array lie in the memory of its device.
#pragma once

#include <stdint.h>

#include "mlx/c/mlx.h"

#ifdef __cplusplus
extern "C" {
#endif

// zr_address returns where the first element of a lies, which has been computed; 0 if it
// is nowhere. cuda says that MLX's backend is CUDA.
uint64_t zr_address(mlx_array a, bool cuda);

#ifdef __cplusplus
}
#endif
