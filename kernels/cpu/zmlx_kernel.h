// How the kernel library is called: plain C, so that the engine, the checker and
// other programs can load it with dlopen.
//
// A run function trusts its call: shapes, element types, contiguity and sizes are
// checked by the caller, against the kernel's spec.
#ifndef ZMLX_KERNEL_H
#define ZMLX_KERNEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const void *const *in; // one for each input of the spec, in order; NULL if absent; row-contiguous
  void *const *out;      // one for each result, in order
  const int64_t *ints;   // rows; the named dims in order of first appearance in `inputs`; int, bool and word attributes in order
  const double *floats;  // float attributes, in order of `attrs`
  const int32_t *types;  // MLX's dtype codes of inputs (-1 if absent), then of results
  const int64_t *grid;   // 3: threads in all
  const int64_t *group;  // 3: threads of a group
  int workers;           // threads that may be used, the caller's included
} zmlx_call;

typedef struct {
  const char *name, *hash;       // of the kernel, and of its source
  int (*run)(const zmlx_call *); // 0, or 1 with zmlx_error() set
} zmlx_kernel;

const zmlx_kernel *zmlx_kernels(int *count);
const char *zmlx_error(void); // of the last failed run in this thread

#ifdef __cplusplus
}
#endif

#endif
