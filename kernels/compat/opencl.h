// The Metal Shading Language subset as clang's C++ for OpenCL, to check its types: a Mac
// is not needed, and a mistake with address spaces is an error as on Metal.
//
//     clang -x cl -cl-std=clc++2021 -cl-no-stdinc -fsyntax-only (kernelcheck.TypeCheck has all flags)
//
// Nothing here has a body that runs. What is not declared here is outside of the subset,
// even if Metal has it; what all targets have is here. A unit to check is this text,
// the header part of NAME.metal, and
//
//     kernel void NAME(const device T *x, const constant S *small, device T *out, ZMLX_BUILTINS) {
//       ...                                         // the body
//     }
//
// An input may come as `device` or as `constant` (on Metal, arrays of less than 8 elements
// do): a body that takes both checks twice.
#define ZMLX_OPENCL 1

#define device __global
#define constant __constant
#define threadgroup __local
#define thread __private

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef __SIZE_TYPE__ size_t;

#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))

// What can be copied from everywhere: without this line, not from `constant`.
#define ZMLX_COPIES(T)     \
  T() = default;           \
  T(const T &) = default;  \
  T(const __constant T &); \
  T &operator=(const T &) = default

// half is OpenCL's own. That these two have no arithmetic and convert explicitly is for
// host.h to check: as structs they would not fit into clang's ?: (LLVM 18).
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef __bf16 bfloat16_t;

// Vectors have members and no operators.
struct __attribute__((aligned(8))) uint2 {
  ZMLX_COPIES(uint2);
  explicit uint2(uint);
  uint2(uint, uint);
  uint x, y;
};
struct uint3 {
  uint x, y, z;
};
struct __attribute__((aligned(16))) uint4 {
  ZMLX_COPIES(uint4);
  explicit uint4(uint);
  uint4(uint, uint, uint, uint);
  uint x, y, z, w;
};
struct __attribute__((aligned(8))) float2 {
  ZMLX_COPIES(float2);
  explicit float2(float);
  float2(float, float);
  float x, y;
};
struct __attribute__((aligned(16))) float4 {
  ZMLX_COPIES(float4);
  explicit float4(float);
  float4(float, float, float, float);
  float x, y, z, w;
};

template <typename To, typename From> To as_type(From) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of one size");
  To v;
  return v;
}

// As on Metal and CUDA, the product must stand between the brackets.
struct zmlx_rounding {};
struct zmlx_factor {
  float v;
};
struct zmlx_product {
  float v;
};
zmlx_factor operator*(zmlx_rounding, float);
zmlx_product operator*(zmlx_factor, float);
zmlx_product operator*(zmlx_product, float);
float zmlx_value(zmlx_product);
#define ZMLX_ROUND(x) zmlx_value(zmlx_rounding{} * x)

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
void threadgroup_barrier(mem_flags);
inline void ready() {} // see cuda.h
void simdgroup_barrier(mem_flags);

#define ZMLX_FOR(T)                  \
  T simd_sum(T);                     \
  T simd_min(T);                     \
  T simd_max(T);                     \
  T simd_shuffle(T, ushort lane);    \
  T simd_broadcast(T, ushort lane);  \
  T simd_shuffle_xor(T, ushort mask); \
  T simd_shuffle_down(T, ushort delta); \
  T simd_shuffle_up(T, ushort delta); \
  namespace metal {                  \
  T min(T, T);                       \
  T max(T, T);                       \
  T clamp(T x, T lo, T hi);          \
  T select(T a, T b, bool c);        \
  }
ZMLX_FOR(float)
ZMLX_FOR(int)
ZMLX_FOR(uint)

namespace metal {

float abs(float);
int abs(int);
float ceil(float);
float floor(float);
float fma(float, float, float);
bool isnan(float);
bool isinf(float);

#define ZMLX_INEXACT     \
  float cos(float);      \
  float exp(float);      \
  float exp2(float);     \
  float log(float);      \
  float log2(float);     \
  float pow(float, float); \
  float rsqrt(float);    \
  float sin(float);      \
  float sqrt(float);     \
  float tanh(float);
ZMLX_INEXACT
namespace precise {
ZMLX_INEXACT
}

} // namespace metal

// Parameters of the kernel function, and so unknown in helper functions, as on Metal.
#define ZMLX_BUILTINS                                                                              \
  uint3 thread_position_in_grid, uint3 thread_position_in_threadgroup,                             \
      uint3 threadgroup_position_in_grid, uint3 threads_per_threadgroup,                           \
      uint3 threadgroups_per_grid, uint3 threads_per_grid, uint thread_index_in_threadgroup,       \
      uint thread_index_in_simdgroup, uint simdgroup_index_in_threadgroup,                         \
      uint simdgroups_per_threadgroup
