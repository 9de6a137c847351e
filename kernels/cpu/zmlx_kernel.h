/* The interface of a library of kernels for the CPU: what libzmlx-kernels exports, and
 * all that its callers (engine/mlx, verify/kernelcheck) know of it. Plain C, no MLX.
 *
 * A kernel is one spec, kernels/NAME.yaml. The library may have it as a native body
 * (kernels/cpu/NAME.cpp) or as its Metal body, emulated; both have the same interface. */
#ifndef ZMLX_KERNEL_H
#define ZMLX_KERNEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define ZMLX_EXPORT __declspec(dllexport)
#else
#define ZMLX_EXPORT __attribute__((visibility("default")))
#endif

/* Element types, with the numbers that MLX gives them (mlx/dtype.h) and graph.DType has. */
enum {
  zmlx_absent = -1,
  zmlx_bool = 0,
  zmlx_uint8 = 1,
  zmlx_uint16 = 2,
  zmlx_uint32 = 3,
  zmlx_uint64 = 4,
  zmlx_int8 = 5,
  zmlx_int16 = 6,
  zmlx_int32 = 7,
  zmlx_int64 = 8,
  zmlx_float16 = 9,
  zmlx_float32 = 10,
  zmlx_float64 = 11,
  zmlx_bfloat16 = 12,
  zmlx_complex64 = 13
};

/* One call of a kernel. The caller has checked types, shapes and domain against the
 * spec; a kernel reads exactly the elements that the shapes say, and writes every
 * element of every result. Results do not overlap inputs or each other. */
typedef struct {
  const void *const *in; /* one for each input of the spec, in order; NULL if absent; row-contiguous */
  void *const *out;      /* one for each result, in order; row-contiguous */
  const int64_t *ints;   /* rows (the product of the dimensions "...", 1 if there are none), then the
                            named dimensions in order of first appearance in `inputs`, then int, bool
                            and word attributes in the order of `attrs`; a word is its index in `in` */
  const double *floats;  /* float attributes in the order of `attrs` */
  const int32_t *types;  /* element types of the inputs (zmlx_absent if absent), then of the results */
  const int64_t *grid;   /* 3: threads in all, as the spec's launch says; native bodies may ignore it */
  const int64_t *group;  /* 3: threads of a group */
  int workers;           /* threads that may be used, the caller's included; 1 or less: only the caller's */
} zmlx_call;

/* hash is the content hash of the sources that the function was compiled from, hex. run
 * returns 0, or 1 with zmlx_error() set. It may be called from any number of threads. */
typedef struct {
  const char *name, *hash;
  int (*run)(const zmlx_call *);
} zmlx_kernel;

/* All kernels of the library, sorted by name; valid until it is unloaded. */
ZMLX_EXPORT const zmlx_kernel *zmlx_kernels(int *count);

/* What went wrong in the last call of run that failed on this thread; "" if none did. */
ZMLX_EXPORT const char *zmlx_error(void);

#ifdef __cplusplus
}
#endif
#endif
