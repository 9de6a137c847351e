// exp as MLX's CPU backend computes it: a polynomial in the fraction of x / log(2), off by
// some units in the last place where the C library's is not. What is to have MLX's bits
// needs this one.
//
// Source: mlx/backend/cpu/simd/math.h (0.32.2).
#pragma once

#include <cstdint>

namespace zmlx {

// exp_all gives exp of n values in place: infinity above 88, 0 below -88, as MLX has it.
void exp_all(float *v, int64_t n);

// sigmoid_all gives the sigmoid of n values of a type in place. MLX's keeps exp in the type
// and the rest in float (mlx/backend/cpu/unary_ops.h).
void sigmoid_all(int32_t type, float *v, int64_t n);

} // namespace zmlx
