// For kernels of up to 512 threads a group, included last: on NVIDIA a launch fails where all threads
// of a group together would have more registers than a processor has, 65,536, and a compiler that
// does not know how many threads there are gives them up to 255 each. MLX writes the head of
// the function, so that the only place to say it is what that begins with.
#pragma once

#if ZMLX_CUDA
#undef __global__
#define __global__ __attribute__((global)) __launch_bounds__(512)
#endif
