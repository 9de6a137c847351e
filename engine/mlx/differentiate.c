//go:build mlx

#include "differentiate.h"

#include <stdlib.h>
#include <string.h>

#include "bridge.h"

extern int zrCall(uintptr_t function, const mlx_array *in, size_t n, mlx_vector_array *out); // differentiate.go
extern void zrDrop(uintptr_t function);

static void drop(void *payload) { zrDrop((uintptr_t)payload); }

// call hands Go the arrays of up to three lists, one behind the other. Go owns them.
static int call(uintptr_t function, const mlx_vector_array *lists, size_t n_lists, mlx_vector_array *out) {
  size_t n = 0, at = 0;
  for (size_t i = 0; i < n_lists; i++) n += mlx_vector_array_size(lists[i]);
  mlx_array *all = calloc(n + 1, sizeof *all);
  if (all == NULL) return 1;
  int rc = 0;
  for (size_t i = 0; i < n_lists; i++) {
    for (size_t k = 0; !rc && k < mlx_vector_array_size(lists[i]); k++) {
      mlx_array r = {0};
      rc = mlx_vector_array_get(&r, lists[i], k);
      all[at] = zr_checked(rc, r);
      if (all[at].ctx == NULL) {
        rc = 1;
      } else {
        at++;
      }
    }
  }
  if (rc) {
    zr_release(all, at);
  } else {
    rc = zrCall(function, all, n, out);
  }
  free(all);
  return rc;
}

static int forward(mlx_vector_array *out, const mlx_vector_array in, void *payload) { return call((uintptr_t)payload, &in, 1, out); }

static int backward(mlx_vector_array *out, const mlx_vector_array primals, const mlx_vector_array cotangents, const mlx_vector_array results,
                    void *payload) {
  const mlx_vector_array lists[] = {primals, cotangents, results};
  return call((uintptr_t)payload, lists, 3, out);
}

int zr_custom(mlx_array *out, size_t n_out, const mlx_array *in, size_t n_in, uintptr_t function, uintptr_t pull) {
  mlx_closure f = mlx_closure_new_func_payload(forward, (void *)function, drop), both = {0};
  mlx_closure_custom b = mlx_closure_custom_new_func_payload(backward, (void *)pull, drop);
  mlx_vector_array args = mlx_vector_array_new_data(in, n_in), results = {0};
  int rc = zr_guard() || f.ctx == NULL || b.ctx == NULL || args.ctx == NULL || mlx_custom_vjp(&both, f, b) || mlx_closure_apply(&results, both, args);
  if (args.ctx != NULL) mlx_vector_array_free(args);
  if (both.ctx != NULL) mlx_closure_free(both);
  if (b.ctx != NULL) mlx_closure_custom_free(b);
  if (f.ctx != NULL) mlx_closure_free(f);
  return zr_list(rc, results, out, n_out);
}

int zr_vjp(mlx_array *out, size_t n_out, mlx_array *grads, uintptr_t function, const mlx_array *in, size_t n_in, const mlx_array *cotangents) {
  mlx_closure f = mlx_closure_new_func_payload(forward, (void *)function, drop);
  mlx_vector_array primals = mlx_vector_array_new_data(in, n_in), cots = mlx_vector_array_new_data(cotangents, n_out), results = {0}, pulled = {0};
  int rc = zr_guard() || f.ctx == NULL || primals.ctx == NULL || cots.ctx == NULL || mlx_vjp(&results, &pulled, f, primals, cots);
  if (cots.ctx != NULL) mlx_vector_array_free(cots);
  if (primals.ctx != NULL) mlx_vector_array_free(primals);
  if (f.ctx != NULL) mlx_closure_free(f);
  if (zr_list(rc, results, out, n_out)) {
    if (pulled.ctx != NULL) mlx_vector_array_free(pulled);
    return 1;
  }
  if (zr_list(0, pulled, grads, n_in)) {
    zr_release(out, n_out);
    memset(out, 0, n_out * sizeof *out);
    return 1;
  }
  return 0;
}
