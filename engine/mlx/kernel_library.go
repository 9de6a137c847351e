//go:build mlx

package mlx

/*
#cgo LDFLAGS: -lmlx
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include "bridge.h"
#include "kernel_primitive.h"
#include "../../kernels/cpu/zmlx_kernel.h"

static const zmlx_kernel *zr_kernels(void *list, int *n) { return ((const zmlx_kernel *(*)(int *))list)(n); }
static uint64_t zr_launches(const uint64_t *n) { return __atomic_load_n(n, __ATOMIC_RELAXED); }
*/
import "C"

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// hostKernel is a function of the library of kernels for the CPU.
type hostKernel struct {
	name string
	run  unsafe.Pointer
	err  unsafe.Pointer // zmlx_error
	hash string         // of the spec and source that it was compiled from
	// launches counts calls that were made, by all engines of the process. It is C's
	// memory, and never freed: a call may be under way when its engine is closed.
	launches *C.uint64_t
}

// hostLibrary loads the library, once in a process: its threads run as long as the
// process does, so it is never unloaded.
var hostLibrary = sync.OnceValues(func() (map[string]hostKernel, error) {
	path, err := libraryPath()
	if err != nil {
		return nil, err
	}
	// What is hashed is the file that is loaded, whatever stands there later: a build
	// renames a new one into its place.
	file, err := os.Open(path)
	if err == nil {
		hostFile = file
	}
	return openLibrary(path)
})

var hostFile *os.File

// HostLibrary returns the sha256, in hex, of the library of CPU kernels that this process
// runs kernels of, "" if it has none. It is computed once, when somebody first asks.
func HostLibrary() string { return hostSum() }

var hostSum = sync.OnceValue(func() string {
	if all, err := hostLibrary(); err != nil || len(all) == 0 || hostFile == nil {
		return ""
	}
	h := sha256.New()
	if _, err := io.Copy(h, hostFile); err != nil {
		return ""
	}
	hostFile.Close()
	return hex.EncodeToString(h.Sum(nil))
})

// KernelLibraryEnv names the file of the library, for when it is not beside the program.
const KernelLibraryEnv = "ZMLX_KERNELS"

// libraryPath finds the library: where KernelLibraryEnv says, or beside the program.
func libraryPath() (string, error) {
	if path := os.Getenv(KernelLibraryEnv); path != "" {
		return path, nil
	}
	name := "libzmlx-kernels.so"
	if runtime.GOOS == "darwin" {
		name = "libzmlx-kernels.dylib"
	}
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return "", diag.Errorf("engine/kernels", diag.Pos{}, "the library of CPU kernels: %v", err).
			WithHint("name it: %s=/path/to/%s", KernelLibraryEnv, name)
	}
	return filepath.Join(filepath.Dir(program), name), nil
}

func openLibrary(path string) (map[string]hostKernel, error) {
	refuse := func(format string, args ...any) error {
		return diag.Errorf("engine/kernels", diag.Pos{File: path}, "the library of CPU kernels "+format, args...).
			WithHint("build it with `make build` (scripts/build-kernels.sh), or name one that is built: %s=FILE", KernelLibraryEnv)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, refuse("is not there")
	}
	file := C.CString(path)
	defer C.free(unsafe.Pointer(file))
	lib := C.dlopen(file, C.RTLD_NOW|C.RTLD_LOCAL)
	if lib == nil {
		return nil, refuse("cannot be loaded: %s", C.GoString(C.dlerror()))
	}
	symbol := func(name string) unsafe.Pointer {
		s := C.CString(name)
		defer C.free(unsafe.Pointer(s))
		return C.dlsym(lib, s)
	}
	list, why := symbol("zmlx_kernels"), symbol("zmlx_error")
	if list == nil || why == nil {
		return nil, refuse("has no zmlx_kernels: it is another library")
	}
	var n C.int
	first := C.zr_kernels(list, &n)
	all := make(map[string]hostKernel, n)
	for _, k := range unsafe.Slice(first, n) {
		name := C.GoString(k.name)
		count := (*C.uint64_t)(C.calloc(1, C.sizeof_uint64_t))
		all[name] = hostKernel{name, unsafe.Pointer(k.run), why, C.GoString(k.hash), count}
	}
	return all, nil
}

// hostLaunches returns how often each kernel of the library has run in this process.
func hostLaunches() map[string]int {
	all, err := hostLibrary()
	if err != nil {
		return nil
	}
	counts := map[string]int{}
	for name, k := range all {
		if n := int(C.zr_launches(k.launches)); n > 0 {
			counts[name] = n
		}
	}
	return counts
}

// hostKernelOf returns the function for a spec, compiled from the very files that the
// spec was read from.
func hostKernelOf(s *kernels.Spec) (hostKernel, error) {
	all, err := hostLibrary()
	if err != nil {
		return hostKernel{}, err
	}
	k, ok := all[s.Name]
	if !ok {
		return k, fmt.Errorf("the library of CPU kernels has no kernel %s", s.Name)
	}
	if k.hash != s.ContentHash {
		return k, diag.Errorf("engine/kernels", diag.Pos{File: s.Source}, "kernel %s of the library of CPU kernels was compiled from another version of its spec or source", s.Name).
			WithHint("build the library again: make build")
	}
	return k, nil
}

// hostCall is one call of a host kernel, but for its operands.
type hostCall struct {
	ints    []int64
	floats  []float64
	grid    [3]int64
	group   [3]int64
	workers int // threads that it may use
	types   []graph.DType
	shapes  [][]int // of the results
}

// callHost adds a call of a kernel to the lazy graph. Operands that are absent are zero
// arrays; those that do not lie row by row are copied when the call is made.
func (s *scope) callHost(k hostKernel, in []array, c *hostCall) []array {
	op, n := "kernel."+k.name, len(c.types)
	var all []int
	ndims, types := make([]C.size_t, n), make([]C.mlx_dtype, n)
	for i, shape := range c.shapes {
		all = append(all, shape...)
		ndims[i], types[i] = C.size_t(len(shape)), C.mlx_dtype(c.types[i])
	}
	shapes, _ := s.ints(all)
	operands, count := handles(in)
	if s.err != nil || n == 0 {
		return make([]array, n)
	}
	name := C.CString(k.name)
	defer C.free(unsafe.Pointer(name))
	var pin runtime.Pinner
	defer pin.Unpin()
	call := C.zr_kernel_call{name: name, run: k.run, error: k.err, workers: C.int(c.workers), launches: k.launches}
	if len(c.ints) > 0 {
		pin.Pin(&c.ints[0])
		call.ints, call.n_ints = (*C.int64_t)(unsafe.Pointer(&c.ints[0])), C.size_t(len(c.ints))
	}
	if len(c.floats) > 0 {
		pin.Pin(&c.floats[0])
		call.floats, call.n_floats = (*C.double)(unsafe.Pointer(&c.floats[0])), C.size_t(len(c.floats))
	}
	for i := range 3 {
		call.grid[i], call.group[i] = C.int64_t(c.grid[i]), C.int64_t(c.group[i])
	}
	out := make([]C.mlx_array, n)
	rc := C.zr_kernel(&out[0], C.size_t(n), shapes, &ndims[0], &types[0], operands, count, &call, s.stream)
	return s.ownAll(op, rc, out)
}
