// The parts of the CUDA driver and of NVRTC that replays use, loaded at run time: the
// program is built, and runs, where neither is. Functions return 0, or a code with
// zc_message saying what it means.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
  void *context, *stream;
  int ordinal;
  int major, minor;
  int processors, registers; // multiprocessors, and what one of them has
  int pooled;                // memory is given and taken in the order of the stream
} zc_device;

const char *zc_message(void); // of this thread's last failure

int zc_open(zc_device *d);
int zc_alloc(const zc_device *d, uint64_t *to, size_t bytes);
int zc_free(const zc_device *d, uint64_t a);
int zc_host_alloc(const zc_device *d, void **to, size_t bytes); // page-locked
int zc_to_device(const zc_device *d, uint64_t to, const void *from, size_t bytes);
int zc_to_host(const zc_device *d, void *to, uint64_t from, size_t bytes);
int zc_copy(const zc_device *d, uint64_t to, uint64_t from, size_t bytes);
int zc_near(const zc_device *d, uint64_t a, size_t bytes); // of managed memory, if there is room
int zc_wait(const zc_device *d);

int zc_event(const zc_device *d, void **e);
int zc_record(const zc_device *d, void *e);
int zc_event_wait(const zc_device *d, void *e);
int zc_event_free(const zc_device *d, void *e);

// zc_compile makes a cubin of a source. On failure of the compiler the log is in *log.
// Both are to be freed.
int zc_compile(const char *source, const char *name, const char *const *options, int n, void **cubin, size_t *size, char **log);
const char *zc_nvrtc_folder(void); // of the library; empty if unknown

int zc_load(const zc_device *d, void **module, const void *cubin);
int zc_function(const zc_device *d, void **function, void *module, const char *name);
int zc_needs(const zc_device *d, int *registers, int *bytes, void *function); // a thread's, and its memory for what they do not hold

typedef struct {
  void *function;
  unsigned grid[3], block[3];
  void **params;
  const int *after; // launches that it waits for
  int waits;        // how many
  int early;        // may begin before the only launch that it waits for has ended
} zc_launch;

// zc_graph makes a graph of launches. nodes has room for n.
int zc_graph(const zc_device *d, void **exec, void **graph, void **nodes, const zc_launch *list, size_t n);
// zc_start starts launches one behind the other, without a graph.
int zc_start(const zc_device *d, const zc_launch *list, size_t n);
int zc_graph_reshape(const zc_device *d, void *exec, void *node, const zc_launch *l);
int zc_graph_start(const zc_device *d, void *exec);
int zc_graph_free(const zc_device *d, void *exec, void *graph);
