//go:build mlx

package mlx

/*
#include <stdlib.h>
#include "bridge.h"

static inline int zr_apply(mlx_vector_array *v, mlx_imported_function f, const mlx_array *a, size_t n,
                           const char **keys, const mlx_array *values, size_t m) {
  if (zr_guard()) return 1;
  mlx_vector_array args = mlx_vector_array_new_data(a, n);
  mlx_map_string_to_array kwargs = mlx_map_string_to_array_new();
  int rc = args.ctx == NULL || kwargs.ctx == NULL;
  for (size_t i = 0; !rc && i < m; i++) rc = mlx_map_string_to_array_insert(kwargs, keys[i], values[i]);
  rc = rc || mlx_imported_function_apply_kwargs(v, f, args, kwargs);
  if (args.ctx != NULL) mlx_vector_array_free(args);
  if (kwargs.ctx != NULL) mlx_map_string_to_array_free(kwargs);
  return rc;
}
*/
import "C"

import (
	"os"
	"strings"
	"unsafe"

	"zmlx-rewrite/diag"
)

// imported is a function that MLX read from a .mlxfn file. MLX's reader trusts the
// file: check an untrusted one with graph/mlxfn first. It belongs to the MLX thread,
// which must be the one that opened it.
type imported struct{ c C.mlx_imported_function }

func importFunction(path string) (imported, error) {
	if !C.zr_on_thread() {
		return imported{}, lastError("import_function")
	}
	// What cannot be opened is said here: mlx-c hands the text of an exception, and so
	// the path in it, to printf as its format.
	f, err := os.Open(path)
	if err != nil {
		return imported{}, diag.Errorf("mlx/import", diag.Pos{File: path}, "%v", err)
	}
	f.Close()
	if strings.Contains(path, "%") {
		return imported{}, diag.Errorf("mlx/import", diag.Pos{File: path}, "mlx-c cannot open a path with a %% in it").
			WithHint("rename the file or its folder")
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	fn := C.mlx_imported_function_new(name)
	if fn.ctx == nil {
		return imported{}, lastError("import_function")
	}
	return imported{fn}, nil
}

func (f imported) release() {
	if f.c.ctx != nil {
		C.mlx_imported_function_free(f.c)
	}
}

// apply adds the function's graph to s. Weights and other named arguments go into
// kwargs. MLX chooses the trace whose shapes fit.
func (s *scope) apply(f imported, args []array, kwargs map[string]array) []array {
	p, n := handles(args)
	keys := make([]*C.char, 0, len(kwargs)+1) // not empty, so that they have addresses
	values := make([]array, 0, len(kwargs)+1)
	defer func() {
		for _, k := range keys {
			C.free(unsafe.Pointer(k))
		}
	}()
	for k, v := range kwargs {
		if strings.ContainsAny(k, "%\x00") {
			s.refuse("imported_function", "argument name %q", k)
			return nil
		}
		keys = append(keys, C.CString(k))
		values = append(values, v)
	}
	v := C.mlx_vector_array_new()
	// The keys are C memory, so a Go list of them may be passed.
	rc := C.zr_apply(&v, f.c, p, n, (**C.char)(unsafe.Pointer(unsafe.SliceData(keys))), &append(values, array{})[0].c, C.size_t(len(kwargs)))
	if rc != 0 {
		C.zr_list(rc, v, nil, 0)
		s.failed("imported_function")
		return nil
	}
	out := make([]C.mlx_array, C.mlx_vector_array_size(v)+1)
	return s.ownAll("imported_function", C.zr_list(0, v, &out[0], C.size_t(len(out)-1)), out[:len(out)-1])
}
