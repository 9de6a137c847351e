/* A list of launches on the CPU, started in one call: a step's kernels are so short that
 * coming and going for each of them would count. */
#ifndef ZR_HOST_STEP_H
#define ZR_HOST_STEP_H

#include "../../kernels/cpu/zmlx_kernel.h"

/* zr_move copies shape[0] × … × shape[3] units of elements from one layout to another; steps
 * are bytes. at, if there is one, holds a number by which to is moved on, in steps of
 * at_step bytes; rows, if there are any, shape[0] places, which take the place of the first
 * dimension in from. */
typedef struct {
  char *to;
  const char *from;
  int64_t unit, shape[4], to_step[4], from_step[4];
  const int32_t *at;
  int64_t at_step;
  const int32_t *rows;
} zr_move;

/* zr_host_launch is one launch: count moves if there are any, then a kernel if there is one. Of the call's ints,
 * dynamic many come with each step: number i lies in now[i] and goes to place[i]. */
typedef struct {
  int (*run)(const zmlx_call *);
  const zmlx_call *call;
  int64_t *ints;
  const int32_t *now;
  const int *place;
  int dynamic;
  const zr_move *moves;
  int count;
} zr_host_launch;

/* zr_host_step starts n launches one after the other. It returns n, or which of them failed,
 * with the library's error set, which is of this thread. */
int zr_host_step(const zr_host_launch *list, int n);

#endif
