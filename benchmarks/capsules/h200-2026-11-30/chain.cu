// Stages that each read 4.7 MB of codes and what the stage before wrote, as a kernel each and as one
// kernel with barriers. chain.py compiles and times it.
typedef unsigned u32;
#define RB 2304 // bytes of a row
#define Q 9     // uint4 a lane for two rows
struct P { const uint4 *w; const float *x; float *y; };
__device__ __forceinline__ uint4 ldw(const uint4 *p) { uint4 r; asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p)); return r; }
__device__ __forceinline__ float ldx(const float *p) { float r; asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(r) : "l"(p)); return r; }
__device__ __forceinline__ void load(const uint4 *w, u32 block, uint4 *q) {
  u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint4 *p = w + (size_t)(block * 16 + warp * 2) * (RB / 16);
#pragma unroll
  for (int i = 0; i < Q; i++) q[i] = ldw(p + i * 32 + lane);
}
__device__ __forceinline__ void prefetch(const uint4 *w, u32 block) {
  const char *p = (const char *)w + (size_t)block * 16 * RB;
  for (u32 i = threadIdx.x; i < 16 * RB / 128; i += 256) asm volatile("prefetch.global.L2 [%0];" ::"l"(p + i * 128));
}
__shared__ float sx[2048];
__device__ __forceinline__ void work(const float *x, float *y, u32 block, uint4 *q) {
  u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float v[8];
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = ldx(x + threadIdx.x * 8 + i);
#pragma unroll
  for (int i = 0; i < 8; i++) sx[threadIdx.x * 8 + i] = v[i];
  __syncthreads();
  float a = 0, b = 0;
#pragma unroll
  for (int i = 0; i < Q; i++) {
    u32 c[4] = {q[i].x, q[i].y, q[i].z, q[i].w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
      for (int m = 0; m < 8; m++) {
        float f = (float)((c[k] >> (4 * m)) & 15) * sx[(i * 256 + lane * 8 + m + k) & 2047];
        if (i < 5) a += f; else b += f;
      }
    }
  }
#pragma unroll
  for (int d = 16; d; d /= 2) { a += __shfl_xor_sync(~0u, a, d); b += __shfl_xor_sync(~0u, b, d); }
  if (lane == 0) { y[block * 16 + warp * 2] = a * 1e-5f; y[block * 16 + warp * 2 + 1] = b * 1e-5f; }
}
extern "C" __global__ void __launch_bounds__(256) one(P p) { uint4 q[Q]; load(p.w, blockIdx.x, q); work(p.x, p.y, blockIdx.x, q); }
extern "C" __global__ void __launch_bounds__(256) pdl(P p) {
  uint4 q[Q];
  asm volatile("griddepcontrol.launch_dependents;");
  load(p.w, blockIdx.x, q);
  asm volatile("griddepcontrol.wait;" ::: "memory");
  work(p.x, p.y, blockIdx.x, q);
}
extern "C" __global__ void nothing(P p) { if (threadIdx.x == 9999) p.y[0] = 0; }
__device__ __forceinline__ void arrive(u32 *bar) {
  __syncthreads();
  if (threadIdx.x == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(bar) : "memory");
}
__device__ __forceinline__ void await(u32 *bar, u32 want) {
  if (threadIdx.x == 0) {
    u32 v;
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(bar) : "memory"); while ((int)(v - want) < 0);
  }
  __syncthreads();
}
extern "C" __global__ void __launch_bounds__(256) barriers(u32 *bar, int n) {
  u32 want = 0;
  for (int i = 0; i < n; i++) { arrive(bar); want += gridDim.x; await(bar, want); }
}
extern "C" __global__ void __launch_bounds__(256) whole(const P *list, int n, u32 *bar, int mode) {
  u32 want = 0;
  uint4 q[Q];
  P p = list[0];
  if (mode == 2 || mode == 4) load(p.w, blockIdx.x, q);
  for (int i = 0; i < n; i++) {
    P next = list[i + 1 < n ? i + 1 : i];
    if (mode == 1 || mode == 3) load(p.w, blockIdx.x, q);
    work(p.x, p.y, blockIdx.x, q);
    arrive(bar);
    if (mode == 2 || mode == 4) load(next.w, blockIdx.x, q);
    if (mode >= 3) prefetch(list[i + 3 < n ? i + 3 : n - 1].w, blockIdx.x);
    want += gridDim.x;
    await(bar, want);
    p = next;
  }
}
