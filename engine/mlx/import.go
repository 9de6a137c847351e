//go:build mlx

package mlx

import (
	"fmt"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
)

// RunFile runs a function that MLX itself reads from a .mlxfn file: the proof that
// a file means to MLX what it means to us. e is an engine of this package; the
// inputs stay the caller's. MLX trusts the file: check an untrusted one with
// graph/mlxfn first.
func RunFile(e engine.Engine, path string, args []engine.Tensor, kwargs map[string]engine.Tensor) ([]engine.Tensor, error) {
	m, ok := e.(*mlxEngine)
	if !ok {
		return nil, diag.Errorf("mlx/import", diag.Pos{File: path}, "engine %s cannot run it", e.Name())
	}
	var out []engine.Tensor
	err := m.do(func() error {
		f, err := importFunction(path)
		if err != nil {
			return err
		}
		defer f.release()
		list, named := make([]array, len(args)), make(map[string]array, len(kwargs))
		for i, t := range args {
			if _, list[i], err = m.unwrap(t); err != nil {
				return fmt.Errorf("argument %d: %w", i, err)
			}
		}
		for name, t := range kwargs {
			if _, named[name], err = m.unwrap(t); err != nil {
				return fmt.Errorf("argument %s: %w", name, err)
			}
		}
		s := newScope(m.stream)
		defer s.free()
		for _, a := range s.apply(f, list, named) {
			a = s.keep(a)
			if s.err != nil {
				break
			}
			out = append(out, m.newTensor(a, a.dtype(), a.shape()))
		}
		return s.err
	})
	if err != nil {
		for _, t := range out {
			t.Release()
		}
		return nil, err
	}
	return out, nil
}
