//go:build cgo && linux

#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[512];

const char *zc_message(void) { return message; }

static int fail(int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return code ? code : -1;
}

// Names and meanings of CUDA's driver API, CUDA 12 and 13: cuda.h.
typedef struct {
  void *func;
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, shared;
  void **params, **extra;
  void *kern, *ctx;
} node_params; // CUDA_KERNEL_NODE_PARAMS_v2

typedef struct {
  unsigned char from_port, to_port, type, reserved[5];
} edge_data; // CUgraphEdgeData

#define DRIVER(F)                                                                   \
  F(cuInit, (unsigned))                                                             \
  F(cuGetErrorString, (int, const char **))                                         \
  F(cuDeviceGet, (int *, int))                                                      \
  F(cuDeviceGetAttribute, (int *, int, int))                                        \
  F(cuDevicePrimaryCtxRetain, (void **, int))                                       \
  F(cuCtxSetCurrent, (void *))                                                      \
  F(cuStreamCreate, (void **, unsigned))                                            \
  F(cuStreamSynchronize, (void *))                                                  \
  F(cuMemAlloc_v2, (uint64_t *, size_t))                                            \
  F(cuMemGetInfo_v2, (size_t *, size_t *))                                          \
  F(cuPointerGetAttribute, (void *, int, uint64_t))                                 \
  F(cuMemFree_v2, (uint64_t))                                                       \
  F(cuMemAllocHost_v2, (void **, size_t))                                           \
  F(cuMemcpyHtoDAsync_v2, (uint64_t, const void *, size_t, void *))                 \
  F(cuMemcpyDtoHAsync_v2, (void *, uint64_t, size_t, void *))                       \
  F(cuMemcpyDtoDAsync_v2, (uint64_t, uint64_t, size_t, void *))                     \
  F(cuEventCreate, (void **, unsigned))                                             \
  F(cuEventRecord, (void *, void *))                                                \
  F(cuEventSynchronize, (void *))                                                   \
  F(cuEventDestroy_v2, (void *))                                                    \
  F(cuModuleLoadData, (void **, const void *))                                      \
  F(cuModuleGetFunction, (void **, void *, const char *))                           \
  F(cuFuncGetAttribute, (int *, int, void *))                                       \
  F(cuLaunchKernel, (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **)) \
  F(cuGraphCreate, (void **, unsigned))                                             \
  F(cuGraphAddKernelNode_v2, (void **, void *, void *const *, size_t, const node_params *)) \
  F(cuGraphInstantiateWithFlags, (void **, void *, unsigned long long))             \
  F(cuGraphExecKernelNodeSetParams_v2, (void *, void *, const node_params *))       \
  F(cuGraphLaunch, (void *, void *))                                                \
  F(cuGraphExecDestroy, (void *))                                                   \
  F(cuGraphDestroy, (void *))

// What is done without where a driver lacks it.
#define OPTIONAL(F)                                  \
  F(cuMemPrefetchAsync, (uint64_t, size_t, int, void *)) \
  F(cuMemAllocAsync, (uint64_t *, size_t, void *))     \
  F(cuMemFreeAsync, (uint64_t, void *))                \
  F(cuDeviceGetDefaultMemPool, (void **, int))         \
  F(cuMemPoolSetAttribute, (void *, int, void *))      \
  F(cuGraphAddDependencies_v2, (void *, void *const *, void *const *, const edge_data *, size_t))

#define NVRTC(F)                                                                                              \
  F(nvrtcCreateProgram, (void **, const char *, const char *, int, const char *const *, const char *const *)) \
  F(nvrtcCompileProgram, (void *, int, const char *const *))                                                  \
  F(nvrtcGetProgramLogSize, (void *, size_t *))                                                               \
  F(nvrtcGetProgramLog, (void *, char *))                                                                     \
  F(nvrtcGetCUBINSize, (void *, size_t *))                                                                    \
  F(nvrtcGetCUBIN, (void *, char *))                                                                          \
  F(nvrtcDestroyProgram, (void **))

#define POINTER(name, args) static int(*p_##name) args;
DRIVER(POINTER)
OPTIONAL(POINTER)
NVRTC(POINTER)

static char folder[4096];
static char missing[256];
static pthread_once_t driver_once = PTHREAD_ONCE_INIT, nvrtc_once = PTHREAD_ONCE_INIT;
static int have_driver, have_nvrtc;

static void *open_any(const char *const *names) {
  for (; *names; names++) {
    void *lib = dlopen(*names, RTLD_NOW | RTLD_GLOBAL);
    if (lib) return lib;
  }
  return NULL;
}

static void load_driver(void) {
  const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL};
  void *lib = open_any(names);
  if (!lib) {
    snprintf(missing, sizeof missing, "there is no NVIDIA driver (libcuda.so.1)");
    return;
  }
#define LOAD(name, args)                                                            \
  if (!(*(void **)&p_##name = dlsym(lib, #name))) {                                 \
    snprintf(missing, sizeof missing, "the NVIDIA driver is too old: it has no " #name); \
    return;                                                                         \
  }
  DRIVER(LOAD)
#undef LOAD
#define LOAD(name, args) *(void **)&p_##name = dlsym(lib, #name);
  OPTIONAL(LOAD)
#undef LOAD
  have_driver = 1;
}

static void load_nvrtc(void) {
  const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", NULL};
  void *lib = open_any(names);
  if (!lib) return;
#define LOAD(name, args) \
  if (!(*(void **)&p_##name = dlsym(lib, #name))) return;
  NVRTC(LOAD)
#undef LOAD
  Dl_info info;
  if (dladdr(*(void **)&p_nvrtcCompileProgram, &info) && info.dli_fname) {
    char path[4096];
    if (realpath(info.dli_fname, path)) {
      char *slash = strrchr(path, '/');
      if (slash) *slash = 0;
      snprintf(folder, sizeof folder, "%s", path);
    }
  }
  have_nvrtc = 1;
}

static int check(int code, const char *what) {
  if (!code) return 0;
  const char *text = NULL;
  p_cuGetErrorString(code, &text);
  return fail(code, "%s: %s", what, text ? text : "unknown error");
}

#define TRY(name, ...)                                           \
  do {                                                           \
    int zc_code = check(p_##name(__VA_ARGS__), #name);           \
    if (zc_code) return zc_code;                                 \
  } while (0)

// Calls come from any thread, whose current context may be another one.
#define ENTER(d) TRY(cuCtxSetCurrent, (d)->context)

// pool has memory come from the device's pool, which MLX uses, too, where there is one: that waits for
// nothing. What is free of it stays there, up to a sixteenth of the device's memory: to map it anew takes a tenth
// of a millisecond for each piece.
static int pool(zc_device *d) {
  if (!p_cuMemAllocAsync || !p_cuMemFreeAsync || !p_cuDeviceGetDefaultMemPool || !p_cuMemPoolSetAttribute) return 0;
  TRY(cuDeviceGetAttribute, &d->pooled, 115 /* CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED */, d->ordinal);
  if (!d->pooled) return 0;
  void *it;
  size_t room, all;
  TRY(cuDeviceGetDefaultMemPool, &it, d->ordinal);
  TRY(cuMemGetInfo_v2, &room, &all);
  uint64_t stays = all / 16;
  TRY(cuMemPoolSetAttribute, it, 4 /* CU_MEMPOOL_ATTR_RELEASE_THRESHOLD */, &stays);
  return 0;
}

int zc_open(zc_device *d) {
  pthread_once(&driver_once, load_driver);
  if (!have_driver) return fail(-1, "%s", missing);
  TRY(cuInit, 0);
  TRY(cuDeviceGet, &d->ordinal, 0);
  TRY(cuDeviceGetAttribute, &d->major, 75, d->ordinal);
  TRY(cuDeviceGetAttribute, &d->minor, 76, d->ordinal);
  TRY(cuDeviceGetAttribute, &d->processors, 16, d->ordinal);
  TRY(cuDeviceGetAttribute, &d->registers, 82, d->ordinal);
  TRY(cuDevicePrimaryCtxRetain, &d->context, d->ordinal); // the one that MLX uses
  ENTER(d);
  TRY(cuStreamCreate, &d->stream, 1 /* CU_STREAM_NON_BLOCKING */);
  return pool(d);
}

int zc_alloc(const zc_device *d, uint64_t *to, size_t bytes) {
  ENTER(d);
  if (d->pooled)
    TRY(cuMemAllocAsync, to, bytes, d->stream);
  else
    TRY(cuMemAlloc_v2, to, bytes);
  return 0;
}

int zc_free(const zc_device *d, uint64_t a) {
  ENTER(d);
  if (d->pooled)
    TRY(cuMemFreeAsync, a, d->stream);
  else
    TRY(cuMemFree_v2, a);
  return 0;
}

int zc_host_alloc(const zc_device *d, void **to, size_t bytes) {
  ENTER(d);
  TRY(cuMemAllocHost_v2, to, bytes);
  return 0;
}

int zc_to_device(const zc_device *d, uint64_t to, const void *from, size_t bytes) {
  ENTER(d);
  TRY(cuMemcpyHtoDAsync_v2, to, from, bytes, d->stream);
  return 0;
}

int zc_to_host(const zc_device *d, void *to, uint64_t from, size_t bytes) {
  ENTER(d);
  TRY(cuMemcpyDtoHAsync_v2, to, from, bytes, d->stream);
  return 0;
}

int zc_copy(const zc_device *d, uint64_t to, uint64_t from, size_t bytes) {
  ENTER(d);
  TRY(cuMemcpyDtoDAsync_v2, to, from, bytes, d->stream);
  return 0;
}

int zc_near(const zc_device *d, uint64_t a, size_t bytes) {
  ENTER(d);
  size_t room, all;
  unsigned managed = 0;
  TRY(cuMemGetInfo_v2, &room, &all);
  if (!p_cuMemPrefetchAsync || bytes > room / 10 * 9) return 0;
  // Memory that is not managed lies where it lies.
  if (p_cuPointerGetAttribute(&managed, 8 /* CU_POINTER_ATTRIBUTE_IS_MANAGED */, a) || !managed) return 0;
  p_cuMemPrefetchAsync(a, bytes, d->ordinal, d->stream); // where it cannot, pages come one by one
  return 0;
}

int zc_wait(const zc_device *d) {
  ENTER(d);
  TRY(cuStreamSynchronize, d->stream);
  return 0;
}

int zc_event(const zc_device *d, void **e) {
  ENTER(d);
  TRY(cuEventCreate, e, 2 /* CU_EVENT_DISABLE_TIMING */);
  return 0;
}

int zc_record(const zc_device *d, void *e) {
  ENTER(d);
  TRY(cuEventRecord, e, d->stream);
  return 0;
}

int zc_event_wait(const zc_device *d, void *e) {
  ENTER(d);
  TRY(cuEventSynchronize, e);
  return 0;
}

int zc_event_free(const zc_device *d, void *e) {
  ENTER(d);
  TRY(cuEventDestroy_v2, e);
  return 0;
}

const char *zc_nvrtc_folder(void) {
  pthread_once(&nvrtc_once, load_nvrtc);
  return folder;
}

int zc_compile(const char *source, const char *name, const char *const *options, int n, void **cubin, size_t *size, char **log) {
  pthread_once(&nvrtc_once, load_nvrtc);
  if (!have_nvrtc) return fail(-1, "there is no NVRTC (libnvrtc.so)");
  void *program;
  int code = p_nvrtcCreateProgram(&program, source, name, 0, NULL, NULL);
  if (code) return fail(code, "nvrtcCreateProgram: code %d", code);
  code = p_nvrtcCompileProgram(program, n, options);
  size_t length = 0;
  if (code && !p_nvrtcGetProgramLogSize(program, &length) && (*log = calloc(length + 1, 1))) p_nvrtcGetProgramLog(program, *log);
  if (!code && !(code = p_nvrtcGetCUBINSize(program, size))) {
    *cubin = malloc(*size);
    code = *cubin ? p_nvrtcGetCUBIN(program, *cubin) : -1;
  }
  p_nvrtcDestroyProgram(&program);
  return code ? fail(code, "NVRTC: code %d", code) : 0;
}

int zc_load(const zc_device *d, void **module, const void *cubin) {
  ENTER(d);
  TRY(cuModuleLoadData, module, cubin);
  return 0;
}

int zc_function(const zc_device *d, void **function, void *module, const char *name) {
  ENTER(d);
  TRY(cuModuleGetFunction, function, module, name);
  return 0;
}

int zc_needs(const zc_device *d, int *registers, int *bytes, void *function) {
  ENTER(d);
  TRY(cuFuncGetAttribute, registers, 4 /* CU_FUNC_ATTRIBUTE_NUM_REGS */, function);
  TRY(cuFuncGetAttribute, bytes, 3 /* CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES */, function);
  return 0;
}

static node_params params_of(const zc_launch *l) {
  node_params p = {l->function, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2], 0, l->params, NULL, NULL, NULL};
  return p;
}

static int build(void *graph, void **exec, void **nodes, const zc_launch *list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    node_params p = params_of(&list[i]);
    void *behind[list[i].waits ? list[i].waits : 1];
    for (int k = 0; k < list[i].waits; k++) behind[k] = nodes[list[i].after[k]];
    const int early = list[i].early && p_cuGraphAddDependencies_v2;
    TRY(cuGraphAddKernelNode_v2, &nodes[i], graph, behind, early ? 0 : (size_t)list[i].waits, &p);
    if (early) {
      const edge_data edge = {1 /* CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC */, 0, 1 /* CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC */, {0}};
      TRY(cuGraphAddDependencies_v2, graph, behind, &nodes[i], &edge, 1);
    }
  }
  TRY(cuGraphInstantiateWithFlags, exec, graph, 0);
  return 0;
}

int zc_graph(const zc_device *d, void **exec, void **graph, void **nodes, const zc_launch *list, size_t n) {
  ENTER(d);
  TRY(cuGraphCreate, graph, 0);
  int code = build(*graph, exec, nodes, list, n);
  if (code) p_cuGraphDestroy(*graph);
  return code;
}

int zc_start(const zc_device *d, const zc_launch *list, size_t n) {
  ENTER(d);
  for (const zc_launch *l = list; l < list + n; l++)
    TRY(cuLaunchKernel, l->function, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2], 0, d->stream, l->params, NULL);
  return 0;
}

int zc_graph_reshape(const zc_device *d, void *exec, void *node, const zc_launch *l) {
  ENTER(d);
  node_params p = params_of(l);
  TRY(cuGraphExecKernelNodeSetParams_v2, exec, node, &p);
  return 0;
}

int zc_graph_start(const zc_device *d, void *exec) {
  ENTER(d);
  TRY(cuGraphLaunch, exec, d->stream);
  return 0;
}

int zc_graph_free(const zc_device *d, void *exec, void *graph) {
  ENTER(d);
  TRY(cuGraphExecDestroy, exec);
  TRY(cuGraphDestroy, graph);
  return 0;
}
