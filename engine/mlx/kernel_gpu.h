// Custom kernels of MLX, launched without being described anew: what
// mlx_fast_*_kernel_apply makes of a description is a primitive that holds the whole
// text of the kernel. Making that text, for every launch, takes longer than most
// kernels run; the primitive itself can be used again.
#pragma once

#include <stddef.h>

#include "mlx/c/mlx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  void *ctx; // NULL for none
} zr_primitive;

// zr_primitive_of returns the primitive that a is a result of. It lives until it is freed,
// whatever becomes of a.
zr_primitive zr_primitive_of(mlx_array a);
void zr_primitive_free(zr_primitive p);

// zr_primitive_call adds a call of p to the graph. Shapes and types of the results are
// those of the call that p is of: rank after rank in shapes.
int zr_primitive_call(mlx_array *out, size_t n_out, zr_primitive p, const int *shapes, const size_t *ranks, const mlx_dtype *types, const mlx_array *in,
                      size_t n_in);

#ifdef __cplusplus
}
#endif
