// Kernels for the CPU as nodes of MLX's lazy graph: the C interface of
// kernel_primitive.cpp, which talks to MLX in C++, as mlx-c has no way to add an op.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mlx/c/mlx.h"

#ifdef __cplusplus
extern "C" {
#endif

// zr_kernel_call is what the calls of a node say besides their arrays, by the
// interface of the library (kernels/cpu/zmlx_kernel.h). All of it is copied.
typedef struct {
  const char *name;     // for messages
  const void *run;      // int (*)(const zmlx_call *)
  const void *error;    // const char *(*)(void)
  const int64_t *ints;
  size_t n_ints;
  const double *floats;
  size_t n_floats;
  int64_t grid[3], group[3];
  int workers;
  uint64_t *launches;   // counts the calls that were made; it lives as long as the process
} zr_kernel_call;

// zr_kernel adds a call of a kernel to the graph. out gets n_out arrays; shapes holds
// their dimensions one after the other, ndims how many each has. An input without an
// array (ctx == NULL) is an optional one that is absent. Returns 0, or 1 with the
// reason in zr_message. What fails when the call is made fails the evaluation.
int zr_kernel(mlx_array *out, size_t n_out, const int *shapes, const size_t *ndims, const mlx_dtype *dtypes, const mlx_array *in, size_t n_in,
              const zr_kernel_call *call, mlx_stream s);

#ifdef __cplusplus
}
#endif
