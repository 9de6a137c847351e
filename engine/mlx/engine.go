//go:build mlx

package mlx

/*
#include "bridge.h"

// Is a of this type and shape? One call in place of one for each dimension.
static inline bool zr_is(mlx_array a, mlx_dtype t, const int *shape, size_t n) {
  if (mlx_array_dtype(a) != t || mlx_array_ndim(a) != n) return false;
  const int *have = mlx_array_shape(a);
  for (size_t i = 0; i < n; i++)
    if (have[i] != shape[i]) return false;
  return true;
}
*/
import "C"

import (
	"context"
	"slices"
	"strings"
	"sync"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
)

// New returns an engine on a device of MLX: "cpu", "gpu", or "" for MLX's choice.
//
// Kernels are those that the engine may launch; calls of others, and of those that it
// cannot launch on its device (RunsKernel), are refused: expand them to their
// reference graphs first. Indices that a graph computes itself are trusted; those
// that come from outside as tensors of NewTensor are checked.
func New(device string, catalog *kernels.Catalog) (engine.Engine, error) {
	e := &mlxEngine{catalog: catalog, pools: map[*weights.Store]*pool{}, live: map[*tensor]struct{}{}, launches: map[string]int{}}
	err := do(func() error {
		// The CPU's stream is for loading, where arrays are filled by the host.
		// Opening a stream makes its device MLX's default, so the other one is last.
		var err error
		if e.host, err = openStream("cpu"); err != nil {
			return err
		}
		if e.stream, err = openStream(device); err != nil {
			return err
		}
		if e.version, err = version(); err != nil {
			return err
		}
		name, err := deviceName(e.stream)
		e.device = kindOf(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// kindOf names the backend behind MLX's "cpu:0" or "gpu:0".
func kindOf(name string) string {
	if strings.HasPrefix(name, "cpu") {
		return "cpu"
	}
	var metal C.bool
	if C.mlx_metal_is_available(&metal) == 0 && bool(metal) {
		return "metal"
	}
	return "cuda"
}

type mlxEngine struct {
	stream, host    stream
	device, version string
	catalog         *kernels.Catalog // nil for none

	loading sync.Mutex // one Load at a time, so that each parameter is made once
	pools   map[*weights.Store]*pool

	mu       sync.Mutex
	live     map[*tensor]struct{}
	dead     []array // released, for the MLX thread to free
	launches map[string]int
	closed   bool
}

func (e *mlxEngine) Name() string    { return "mlx" }
func (e *mlxEngine) Device() string  { return e.device }
func (e *mlxEngine) Version() string { return e.version }

// do runs f on the MLX thread, after freeing what has been released since.
func (e *mlxEngine) do(f func() error) error {
	return do(func() error {
		e.mu.Lock()
		dead, closed := e.dead, e.closed
		e.dead = nil
		e.mu.Unlock()
		release(dead)
		if closed {
			return diag.Errorf("engine/closed", diag.Pos{}, "the engine is closed")
		}
		return f()
	})
}

// Close releases all arrays of the engine. MLX itself stays until the process ends.
func (e *mlxEngine) Close() error {
	e.loading.Lock()
	defer e.loading.Unlock()
	return do(func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closed {
			return nil
		}
		e.closed = true
		for t := range e.live {
			t.a.release()
			t.a = array{}
		}
		release(e.dead)
		e.live, e.dead = nil, nil
		for _, p := range e.pools {
			p.release()
		}
		e.pools = nil
		return clearCache()
	})
}

func (e *mlxEngine) NewTensor(t graph.DType, shape []int, data []byte) (engine.Tensor, error) {
	if n, err := engine.NumBytes(t, shape); err != nil {
		return nil, err
	} else if n != len(data) {
		return nil, diag.Errorf("engine/tensor", diag.Pos{}, "%s%v does not take %d bytes", t, shape, len(data))
	}
	return e.tensorOf(t, shape, hostOf(t, data), func(s *scope) array { return s.fromBytes(data, shape, t) })
}

// Zeros implements engine.Engine: MLX makes them with what reads them.
func (e *mlxEngine) Zeros(t graph.DType, shape []int) (engine.Tensor, error) {
	if _, err := engine.NumBytes(t, shape); err != nil {
		return nil, err
	}
	return e.tensorOf(t, shape, host{}, func(s *scope) array { return s.zeros(shape, t) })
}

// tensorOf makes a tensor of an array; h is what the host knows of its elements.
func (e *mlxEngine) tensorOf(t graph.DType, shape []int, h host, made func(*scope) array) (engine.Tensor, error) {
	var x *tensor
	err := e.do(func() error {
		s := newScope(e.stream)
		defer s.free()
		a := s.keep(made(s))
		if s.err != nil {
			return s.err
		}
		x = e.newTensor(a, t, slices.Clone(shape))
		x.host = h
		return nil
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (e *mlxEngine) Eval(ctx context.Context, list ...engine.Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.evaluate(list, eval)
}

func (e *mlxEngine) AsyncEval(list ...engine.Tensor) error { return e.evaluate(list, asyncEval) }

func (e *mlxEngine) evaluate(list []engine.Tensor, how func(...array) error) error {
	return e.do(func() error {
		arrays := make([]array, len(list))
		for i, t := range list {
			_, a, err := e.unwrap(t)
			if err != nil {
				return err
			}
			arrays[i] = a
		}
		return how(arrays...)
	})
}

// tensor is a handle that belongs to a caller. Its array is read and given up under
// the engine's lock: Release may come from any goroutine, and must not wait for
// the MLX thread, which may be computing.
type tensor struct {
	e     *mlxEngine
	a     array // none after release
	dtype graph.DType
	shape []int
	host  host
}

// newTensor takes over a kept handle. On the MLX thread only.
func (e *mlxEngine) newTensor(a array, t graph.DType, shape []int) *tensor {
	x := &tensor{e: e, a: a, dtype: t, shape: shape}
	e.mu.Lock()
	e.live[x] = struct{}{}
	e.mu.Unlock()
	return x
}

func (t *tensor) DType() graph.DType { return t.dtype }
func (t *tensor) Shape() []int       { return t.shape }

func (t *tensor) Release() {
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.a.ok() && !e.closed {
		e.dead = append(e.dead, t.a)
		delete(e.live, t)
	}
	t.a = array{}
}

func (t *tensor) Read() (data []byte, err error) {
	err = t.e.do(func() error {
		_, a, err := t.e.unwrap(t)
		if err != nil {
			return err
		}
		s := newScope(t.e.stream)
		defer s.free()
		data = s.bytes(a)
		return s.err
	})
	return data, err
}

// unwrap returns the tensor behind a caller's handle, and its array. On the MLX
// thread that stays until the function that do runs has returned, whoever releases
// the tensor meanwhile.
func (e *mlxEngine) unwrap(t engine.Tensor) (*tensor, array, error) {
	inner, _ := engine.Taken(t)
	x, ok := inner.(*tensor)
	if !ok || x.e != e {
		return nil, array{}, diag.Errorf("engine/tensor", diag.Pos{}, "tensor %T is not of this MLX engine", inner)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !x.a.ok() {
		return nil, array{}, diag.Errorf("engine/tensor", diag.Pos{}, "tensor %s%v is used after its release", x.dtype, x.shape)
	}
	return x, x.a, nil
}

// isA reports whether a has the type and shape that inference gave it.
func (s *scope) isA(a array, t graph.DType, shape []int) bool {
	p, n := s.ints(shape)
	ok := bool(C.zr_is(a.c, C.mlx_dtype(t), p, n))
	s.args = s.args[:0]
	return ok
}
