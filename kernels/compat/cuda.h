// The Metal Shading Language subset as CUDA, for NVRTC as MLX calls it: behind
// mlx/backend/cuda/device/utils.cuh and cooperative_groups.h, with
// --device-as-default-execution-space and no fast maths.
//
// What follows turns words of MSL into macros, so nothing may be included behind it.
#define ZMLX_CUDA 1

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef __nv_bfloat16 bfloat16_t;

#ifndef INFINITY
#define INFINITY (__int_as_float(0x7f800000))
#endif
#ifndef NAN
#define NAN (__int_as_float(0x7fc00000))
#endif

// CUDA's own vectors have no constructors. Loads and stores of these are as wide, since
// they are aligned.
struct __align__(8) zmlx_uint2 {
  uint x, y;
  zmlx_uint2() = default;
  explicit zmlx_uint2(uint v) : x(v), y(v) {}
  zmlx_uint2(uint x, uint y) : x(x), y(y) {}
};
struct zmlx_uint3 {
  uint x, y, z;
};
struct __align__(16) zmlx_uint4 {
  uint x, y, z, w;
  zmlx_uint4() = default;
  explicit zmlx_uint4(uint v) : x(v), y(v), z(v), w(v) {}
  zmlx_uint4(uint x, uint y, uint z, uint w) : x(x), y(y), z(z), w(w) {}
};
struct __align__(8) zmlx_float2 {
  float x, y;
  zmlx_float2() = default;
  explicit zmlx_float2(float v) : x(v), y(v) {}
  zmlx_float2(float x, float y) : x(x), y(y) {}
};
struct __align__(16) zmlx_float4 {
  float x, y, z, w;
  zmlx_float4() = default;
  explicit zmlx_float4(float v) : x(v), y(v), z(v), w(v) {}
  zmlx_float4(float x, float y, float z, float w) : x(x), y(y), z(z), w(w) {}
};

template <typename To, typename From> inline To as_type(From v) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of one size");
  To r;
  memcpy(&r, &v, sizeof r);
  return r;
}

namespace metal {

inline float abs(float x) { return ::fabsf(x); }
inline int abs(int x) { return ::abs(x); }
inline float ceil(float x) { return ::ceilf(x); }
inline float cos(float x) { return ::cosf(x); }
inline float exp(float x) { return ::expf(x); }
inline float exp2(float x) { return ::exp2f(x); }
inline float floor(float x) { return ::floorf(x); }
inline float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
inline float log(float x) { return ::logf(x); }
inline float log2(float x) { return ::log2f(x); }
inline float pow(float x, float y) { return ::powf(x, y); }
inline float rsqrt(float x) { return ::rsqrtf(x); }
inline float sin(float x) { return ::sinf(x); }
inline float sqrt(float x) { return ::sqrtf(x); }
inline float tanh(float x) { return ::tanhf(x); }

inline bool isnan(float x) { return (__float_as_uint(x) & 0x7fffffffu) > 0x7f800000u; }
inline bool isinf(float x) { return (__float_as_uint(x) & 0x7fffffffu) == 0x7f800000u; }

inline float min(float a, float b) { return ::fminf(a, b); }
inline int min(int a, int b) { return b < a ? b : a; }
inline uint min(uint a, uint b) { return b < a ? b : a; }
inline float max(float a, float b) { return ::fmaxf(a, b); }
inline int max(int a, int b) { return b > a ? b : a; }
inline uint max(uint a, uint b) { return b > a ? b : a; }
inline float clamp(float x, float lo, float hi) { return min(max(x, lo), hi); }
inline int clamp(int x, int lo, int hi) { return min(max(x, lo), hi); }
inline uint clamp(uint x, uint lo, uint hi) { return min(max(x, lo), hi); }
inline float select(float a, float b, bool c) { return c ? b : a; }
inline int select(int a, int b, bool c) { return c ? b : a; }
inline uint select(uint a, uint b, bool c) { return c ? b : a; }

namespace precise {
using metal::cos;
using metal::exp;
using metal::exp2;
using metal::log;
using metal::log2;
using metal::pow;
using metal::rsqrt;
using metal::sin;
using metal::sqrt;
using metal::tanh;
} // namespace precise

} // namespace metal

// ZMLX_ROUND(a * b) is a product that no addition is fused with: the tag in front turns
// the * into mul.rn, which ptxas leaves alone, as it does not leave alone a plain
// mul behind a move. The product must stand between the brackets.
struct zmlx_rounding {};
struct zmlx_factor {
  float v;
};
struct zmlx_product {
  float v;
};
inline zmlx_factor operator*(zmlx_rounding, float a) { return {a}; }
inline zmlx_product operator*(zmlx_factor a, float b) { return {__fmul_rn(a.v, b)}; }
inline zmlx_product operator*(zmlx_product a, float b) { return {__fmul_rn(a.v, b)}; }
inline float zmlx_value(zmlx_product p) { return p.v; }
#define ZMLX_ROUND(x) zmlx_value(zmlx_rounding{} * x)

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
inline void threadgroup_barrier(mem_flags) { __syncthreads(); }

// Where all is there that this launch waits for: a kernel whose spec has the key early calls it, in
// every thread, before it reads anything else than those inputs, or writes. Elsewhere a launch
// does not begin before that. Source: griddepcontrol of the PTX ISA.
#if ZMLX_EARLY && __CUDA_ARCH__ >= 900
inline void ready() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#else
inline void ready() {}
#endif
inline void simdgroup_barrier(mem_flags) { __syncwarp(); }

// Reductions go the way of host.h: on each round, lane i takes the value of lane
// i ^ distance as well, so all lanes end with the same bits.
#define ZMLX_REDUCTIONS(T)                                                                              \
  inline T simd_sum(T v) {                                                                              \
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);                            \
    return v;                                                                                           \
  }                                                                                                     \
  inline T simd_min(T v) {                                                                              \
    for (int d = 16; d > 0; d /= 2) v = metal::min(v, __shfl_xor_sync(0xffffffffu, v, d));              \
    return v;                                                                                           \
  }                                                                                                     \
  inline T simd_max(T v) {                                                                              \
    for (int d = 16; d > 0; d /= 2) v = metal::max(v, __shfl_xor_sync(0xffffffffu, v, d));              \
    return v;                                                                                           \
  }
ZMLX_REDUCTIONS(float)
#if __CUDA_ARCH__ >= 800 // one instruction; the order does not matter to integers
#define ZMLX_INTEGERS(T)                                                           \
  inline T simd_sum(T v) { return T(__reduce_add_sync(0xffffffffu, v)); }          \
  inline T simd_min(T v) { return T(__reduce_min_sync(0xffffffffu, v)); }          \
  inline T simd_max(T v) { return T(__reduce_max_sync(0xffffffffu, v)); }
ZMLX_INTEGERS(int)
ZMLX_INTEGERS(uint)
#undef ZMLX_INTEGERS
#else
ZMLX_REDUCTIONS(int)
ZMLX_REDUCTIONS(uint)
#endif
#undef ZMLX_REDUCTIONS

#define ZMLX_FOR(T)                                                                                     \
  inline T simd_shuffle(T v, uint lane) { return __shfl_sync(0xffffffffu, v, int(lane)); }              \
  inline T simd_broadcast(T v, uint lane) { return __shfl_sync(0xffffffffu, v, int(lane)); }            \
  inline T simd_shuffle_xor(T v, uint mask) { return __shfl_xor_sync(0xffffffffu, v, int(mask)); }      \
  inline T simd_shuffle_down(T v, uint delta) { return __shfl_down_sync(0xffffffffu, v, delta); }       \
  inline T simd_shuffle_up(T v, uint delta) { return __shfl_up_sync(0xffffffffu, v, delta); }
ZMLX_FOR(float)
ZMLX_FOR(int)
ZMLX_FOR(uint)
#undef ZMLX_FOR

// Two elements in a word, the first in the low half, and products of matrices made of them:
// c, 16 x 8, += a, 16 x 16, times b, 16 x 8, in float32. What a lane holds of them is as in
// mma.m16n8k16 of PTX. Only kernels/compat/lib/tile.h uses them, where ZMLX_MMA says that
// they are there: on tensor cores, and on the host, so that what runs on those is checked.
#if __CUDA_ARCH__ >= 800
#define ZMLX_MMA 1
#define ZMLX_FOR(T, pair, name)                                                                                              \
  inline uint pair_fma(T, uint a, uint b, uint c) {                                                                          \
    uint r;                                                                                                                  \
    asm("fma.rn." pair " %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));                                               \
    return r;                                                                                                                \
  }                                                                                                                          \
  inline void simd_mma(T, float *c, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {                                  \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                            \
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));                                                    \
  }
// Bits of v under a mask, and more: one instruction, which the compiler makes two of.
inline uint and_or(uint v, uint mask, uint more) {
  uint r;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(r) : "r"(v), "r"(mask), "r"(more));
  return r;
}
ZMLX_FOR(half, "f16x2", "f16")
ZMLX_FOR(bfloat16_t, "bf16x2", "bf16")
#undef ZMLX_FOR
#endif

#define device
#define constant
#define thread
#define threadgroup __shared__

#define uint2 zmlx_uint2
#define uint3 zmlx_uint3
#define uint4 zmlx_uint4
#define float2 zmlx_float2
#define float4 zmlx_float4

// MLX gives CUDA no built-ins as parameters.
#define thread_position_in_grid \
  (zmlx_uint3{blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y, blockIdx.z * blockDim.z + threadIdx.z})
#define thread_position_in_threadgroup (zmlx_uint3{threadIdx.x, threadIdx.y, threadIdx.z})
#define threadgroup_position_in_grid (zmlx_uint3{blockIdx.x, blockIdx.y, blockIdx.z})
#define threads_per_threadgroup (zmlx_uint3{blockDim.x, blockDim.y, blockDim.z})
#define threadgroups_per_grid (zmlx_uint3{gridDim.x, gridDim.y, gridDim.z})
#define threads_per_grid (zmlx_uint3{gridDim.x * blockDim.x, gridDim.y * blockDim.y, gridDim.z * blockDim.z})
#define thread_index_in_threadgroup (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z))
#define thread_index_in_simdgroup (thread_index_in_threadgroup % 32u)
#define simdgroup_index_in_threadgroup (thread_index_in_threadgroup / 32u)
#define simdgroups_per_threadgroup ((blockDim.x * blockDim.y * blockDim.z + 31u) / 32u)
