//go:build mlx

package mlx

/*
#include <stdlib.h>
#include "bridge.h"
#include "kernel_gpu.h"

// A kernel of either backend: their interfaces differ in names only.
typedef struct {
  bool cuda;
  mlx_fast_metal_kernel metal_kernel;
  mlx_fast_cuda_kernel cuda_kernel;
} zr_gpu_kernel;

static int zr_gpu_kernel_new(zr_gpu_kernel *k, bool cuda, const char *name, const char **inputs, size_t n_in, const char **outputs, size_t n_out,
                             const char *source, const char *header) {
  if (zr_guard()) return 1;
  mlx_vector_string in = mlx_vector_string_new_data(inputs, n_in), out = mlx_vector_string_new_data(outputs, n_out);
  k->cuda = cuda;
  if (cuda) {
    k->cuda_kernel = mlx_fast_cuda_kernel_new(name, in, out, source, header, true, 0);
  } else {
    k->metal_kernel = mlx_fast_metal_kernel_new(name, in, out, source, header, true, false);
  }
  mlx_vector_string_free(in);
  mlx_vector_string_free(out);
  return (cuda ? k->cuda_kernel.ctx : k->metal_kernel.ctx) == NULL;
}

static void zr_gpu_kernel_free(zr_gpu_kernel *k) {
  if (k->cuda_kernel.ctx) mlx_fast_cuda_kernel_free(k->cuda_kernel);
  if (k->metal_kernel.ctx) mlx_fast_metal_kernel_free(k->metal_kernel);
  k->cuda_kernel.ctx = k->metal_kernel.ctx = NULL;
}

// shapes holds the dimensions of all results, one result after the other.
static int zr_gpu_kernel_apply(mlx_array *out, size_t n_out, const zr_gpu_kernel *k, const mlx_array *in, size_t n_in, const int *shapes,
                               const size_t *ranks, const mlx_dtype *types, const int *grid, const int *group, mlx_stream s) {
  if (zr_guard()) return 1;
  mlx_vector_array inputs = mlx_vector_array_new_data(in, n_in), results = {0};
  int rc = 0;
  if (k->cuda) {
    mlx_fast_cuda_kernel_config c = mlx_fast_cuda_kernel_config_new();
    for (size_t i = 0; i < n_out && !rc; shapes += ranks[i], i++) rc = mlx_fast_cuda_kernel_config_add_output_arg(c, shapes, ranks[i], types[i]);
    rc = rc || mlx_fast_cuda_kernel_config_set_grid(c, grid[0], grid[1], grid[2]) ||
         mlx_fast_cuda_kernel_config_set_thread_group(c, group[0], group[1], group[2]) ||
         mlx_fast_cuda_kernel_apply(&results, k->cuda_kernel, inputs, c, s);
    mlx_fast_cuda_kernel_config_free(c);
  } else {
    mlx_fast_metal_kernel_config c = mlx_fast_metal_kernel_config_new();
    for (size_t i = 0; i < n_out && !rc; shapes += ranks[i], i++) rc = mlx_fast_metal_kernel_config_add_output_arg(c, shapes, ranks[i], types[i]);
    rc = rc || mlx_fast_metal_kernel_config_set_grid(c, grid[0], grid[1], grid[2]) ||
         mlx_fast_metal_kernel_config_set_thread_group(c, group[0], group[1], group[2]) ||
         mlx_fast_metal_kernel_apply(&results, k->metal_kernel, inputs, c, s);
    mlx_fast_metal_kernel_config_free(c);
  }
  if (inputs.ctx != NULL) mlx_vector_array_free(inputs);
  return zr_list(rc, results, out, n_out);
}
*/
import "C"

import (
	"slices"
	"unsafe"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// gpuKernel is a kernel's text for one set of numbers. MLX compiles it at its first
// launch and keeps it while the process lives, and so do we.
type gpuKernel struct {
	text    *kernels.GPU
	numbers []int
	c       C.zr_gpu_kernel
	calls   []gpuCall
}

// gpuCall is what calls of one geometry have in common: after the first, the primitive
// that MLX made for it is used again.
type gpuCall struct {
	geometry  kernels.Geometry
	shapes    []int
	ranks     []C.size_t
	types     []C.mlx_dtype
	primitive C.zr_primitive
}

func newGPUKernel(target kernels.Target, text *kernels.GPU, numbers []int) (*gpuKernel, error) {
	k := &gpuKernel{text: text, numbers: numbers}
	var held []unsafe.Pointer
	defer func() {
		for _, p := range held {
			C.free(p)
		}
	}()
	str := func(s string) *C.char {
		c := C.CString(s)
		held = append(held, unsafe.Pointer(c))
		return c
	}
	strs := func(list []string) **C.char {
		size := C.size_t(len(list)) * C.size_t(unsafe.Sizeof((*C.char)(nil)))
		p := (**C.char)(C.malloc(size + 1))
		held = append(held, unsafe.Pointer(p))
		for i := range list {
			unsafe.Slice(p, len(list))[i] = str(list[i])
		}
		return p
	}
	rc := C.zr_gpu_kernel_new(&k.c, C.bool(target == kernels.CUDA), str(text.Name), strs(text.Inputs), C.size_t(len(text.Inputs)),
		strs(text.Results), C.size_t(len(text.Results)), str(text.Body), str(text.Header))
	if rc != 0 {
		return nil, lastError("kernel." + text.Name)
	}
	return k, nil
}

// free gives up what MLX made of the text. Launches under way hold what they need.
func (k *gpuKernel) free() {
	for _, c := range k.calls {
		C.zr_primitive_free(c.primitive)
	}
	C.zr_gpu_kernel_free(&k.c)
	k.calls = nil
}

// apply adds one launch to the lazy graph.
func (k *gpuKernel) apply(f *frame, in []array, l *launch, g kernels.Geometry) []array {
	shapes := f.some()
	for _, d := range l.shapes {
		shapes = append(shapes, d.in(f)...)
	}
	at := slices.IndexFunc(k.calls, func(c gpuCall) bool { return c.geometry == g && slices.Equal(c.shapes, shapes) })
	if at < 0 {
		at = len(k.calls)
		c := gpuCall{geometry: g, shapes: slices.Clone(shapes)}
		for i, d := range l.shapes {
			c.ranks, c.types = append(c.ranks, C.size_t(len(d.list))), append(c.types, C.mlx_dtype(l.types[i]))
		}
		k.calls = append(k.calls, c)
	}
	c := &k.calls[at]
	n := len(l.types)
	if len(shapes) == 0 {
		shapes = []int{0} // a pointer is needed, if only to nothing
	}
	p, _ := f.scope.ints(shapes)
	operands, count := handles(in)
	if f.err != nil {
		return nil
	}
	out := make([]C.mlx_array, n)
	if c.primitive.ctx != nil {
		rc := C.zr_primitive_call(&out[0], C.size_t(n), c.primitive, p, &c.ranks[0], &c.types[0], operands, count)
		return f.ownAll("kernel."+l.spec.Name, rc, out)
	}
	var grid, group [3]C.int
	for i := range 3 {
		grid[i], group[i] = f.int(int(g.Grid[i])), f.int(int(g.Group[i]))
	}
	rc := C.zr_gpu_kernel_apply(&out[0], C.size_t(n), &k.c, operands, count, p, &c.ranks[0], &c.types[0], &grid[0], &group[0], f.stream)
	made := f.ownAll("kernel."+l.spec.Name, rc, out)
	if f.err == nil {
		c.primitive = C.zr_primitive_of(made[0].c)
	}
	return made
}

// int32s makes an array of some of the numbers.
func (f *frame) int32s(which, numbers []int) array {
	data := make([]byte, 0, 4*len(which))
	for _, i := range which {
		data = graph.AppendElem(data, graph.Int32, float64(numbers[i]))
	}
	return f.fromBytes(data, []int{len(which)}, graph.Int32)
}
