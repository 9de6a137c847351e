//go:build mlx

#include "bridge.h"

#include <stdio.h>
#include <string.h>

// Set on the one thread that may call MLX. Thread-local, so that asking costs nothing.
static _Thread_local bool on_thread;
static _Thread_local char message[1024];

static size_t max_bytes = SIZE_MAX;
static _Atomic int64_t live; // a release from a wrong thread is a bug, but no race

static void keep_message(const char *text, void *data) {
  (void)data;
  // The first failure is the cause; mlx-c reports some of them twice.
  if (message[0] == 0) snprintf(message, sizeof message, "%s", text);
}

void zr_start(void) {
  mlx_set_error_handler(keep_message, NULL, NULL);
  on_thread = true;
}

bool zr_on_thread(void) { return on_thread; }
const char *zr_message(void) { return message; }
void zr_clear(void) { message[0] = 0; }
void zr_limit(size_t bytes) { max_bytes = bytes; }
int64_t zr_live(void) { return live; }

int zr_guard(void) { return on_thread ? 0 : 1; }

// MLX does not check that an allocation worked, and its sizes wrap around: a result
// that cannot be had must be refused here, while it is still lazy.
static bool too_large(mlx_array a) {
  const int *shape = mlx_array_shape(a);
  size_t bytes = mlx_array_itemsize(a);
  bool empty = false, overflow = false;
  for (size_t i = 0, n = mlx_array_ndim(a); i < n; i++) {
    empty |= shape[i] == 0;
    overflow |= shape[i] < 0 || __builtin_mul_overflow(bytes, (size_t)shape[i], &bytes);
  }
  if (empty || (!overflow && bytes <= max_bytes)) return false;
  snprintf(message, sizeof message, "the result would take more than %zu bytes", max_bytes);
  return true;
}

mlx_array zr_checked(int rc, mlx_array r) {
  mlx_array none = {0};
  if (rc == 0 && r.ctx != NULL) {
    if (!too_large(r)) {
      live++;
      return r;
    }
    mlx_array_free(r);
  }
  return none;
}

// Moves the arrays of v to out, which has room for n, and frees v.
int zr_list(int rc, mlx_vector_array v, mlx_array *out, size_t n) {
  size_t got = rc ? 0 : mlx_vector_array_size(v);
  if (!rc && got != n) {
    snprintf(message, sizeof message, "%zu results, not %zu", got, n);
    rc = 1;
  }
  size_t i = 0;
  for (; !rc && i < n; i++) {
    mlx_array r = {0};
    rc = mlx_vector_array_get(&r, v, i);
    out[i] = zr_checked(rc, r);
    if (out[i].ctx == NULL) rc = 1;
  }
  if (rc) {
    zr_release(out, i);
    memset(out, 0, n * sizeof *out);
  }
  if (v.ctx != NULL) mlx_vector_array_free(v);
  return rc;
}

void zr_release(const mlx_array *a, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (a[i].ctx == NULL) continue;
    mlx_array_free(a[i]);
    live--;
  }
}

int zr_eval(const mlx_array *a, size_t n, bool wait) {
  if (zr_guard()) return 1;
  mlx_vector_array v = mlx_vector_array_new_data(a, n);
  int rc = v.ctx == NULL || (wait ? mlx_eval(v) : mlx_async_eval(v));
  if (v.ctx != NULL) mlx_vector_array_free(v);
  return rc;
}

// Computes a, or waits for it alone if it is under way: not for what was dispatched
// after it, as mlx_eval does. *rows: is it laid out row by row?
int zr_ready(mlx_array a, bool *rows) {
  if (zr_guard()) return 1;
  return mlx_array_eval(a) || _mlx_array_is_row_contiguous(rows, a);
}

extern void zrAdoptedFree(uintptr_t handle); // array.go

static void adopted_free(void *payload) { zrAdoptedFree((uintptr_t)payload); }

mlx_array zr_adopt(void *data, const int *shape, int dim, mlx_dtype t, uintptr_t handle) {
  mlx_array none = {0};
  if (zr_guard()) return none;
  return zr_checked(0, mlx_array_new_data_managed_payload(data, shape, dim, t, (void *)handle, adopted_free));
}
