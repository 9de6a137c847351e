//go:build mlx

package mlx

// #include "bridge.h"
// #include "address.h"
import "C"

import (
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/graph"
)

var _ replay.Inner = (*mlxEngine)(nil)

// Address implements replay.Inner.
func (e *mlxEngine) Address(t engine.Tensor) (at replay.Address, err error) {
	err = e.do(func() error {
		x, a, err := e.unwrap(t)
		if err != nil {
			return err
		}
		rows, err := byRows(a)
		if err != nil {
			return err
		}
		if !rows {
			s := newScope(e.stream)
			defer s.free()
			whole := s.keep(s.contiguous(a))
			if s.err != nil {
				return s.err
			}
			if err := eval(whole); err != nil {
				whole.release()
				return err
			}
			e.mu.Lock()
			x.a.release()
			x.a, a = whole, whole
			e.mu.Unlock()
		}
		at, err = e.addressOf(a)
		return err
	})
	return at, err
}

// byRows computes a, and reports whether it lies row by row.
func byRows(a array) (bool, error) {
	var rows C.bool
	if C.zr_ready(a.c, &rows) != 0 {
		return false, lastError("eval")
	}
	return bool(rows), nil
}

func (e *mlxEngine) addressOf(a array) (replay.Address, error) {
	at := C.zr_address(a.c, C.bool(e.device == "cuda"))
	if at == 0 {
		return 0, diag.Errorf("mlx/address", diag.Pos{}, "MLX has no memory for %s%v", a.dtype(), a.shape())
	}
	return replay.Address(at), nil
}

// FromDevice implements replay.Inner.
func (e *mlxEngine) FromDevice(t graph.DType, shape []int, fill func(to replay.Address) error) (engine.Tensor, error) {
	var x *tensor
	err := e.do(func() error {
		s := newScope(e.stream)
		defer s.free()
		a := s.keep(s.zeros(shape, t))
		s.free()
		if s.err != nil {
			return s.err
		}
		rows, err := byRows(a)
		if err == nil && !rows {
			err = diag.Errorf("mlx/address", diag.Pos{}, "MLX laid out %s%v with strides %v", t, shape, a.strides())
		}
		var to replay.Address
		if err == nil {
			to, err = e.addressOf(a)
		}
		if err == nil {
			err = fill(to)
		}
		if err != nil {
			a.release()
			return err
		}
		x = e.newTensor(a, t, slices.Clone(shape))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Param implements replay.Inner.
func (e *mlxEngine) Param(inner engine.Session, name string) (at replay.Address, err error) {
	s, ok := inner.(*session)
	if !ok || s.params[name] == nil {
		return 0, diag.Errorf("mlx/address", diag.Pos{}, "the session has no parameter %q", name)
	}
	err = e.do(func() error {
		a := s.params[name].a
		rows, err := byRows(a)
		if err != nil {
			return err
		}
		if !rows {
			return diag.Errorf("replay/param", diag.Pos{}, "parameter %q does not lie row by row", name)
		}
		at, err = e.addressOf(a)
		return err
	})
	return at, err
}
