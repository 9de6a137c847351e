// Functions of Go inside of MLX's transformations of functions (differentiate.go). A
// function is a handle that Go gave (runtime/cgo), and ends it when MLX drops it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mlx/c/mlx.h"

// zr_custom applies a function to arrays; where the graph is differentiated, pull gives the
// gradients of its operands. Both handles are MLX's from the call on.
int zr_custom(mlx_array *out, size_t n_out, const mlx_array *in, size_t n_in, uintptr_t function, uintptr_t pull);

// zr_vjp applies a function to arrays and pulls cotangents of its results back. out gets
// n_out results, grads one array for each operand.
int zr_vjp(mlx_array *out, size_t n_out, mlx_array *grads, uintptr_t function, const mlx_array *in, size_t n_in, const mlx_array *cotangents);
