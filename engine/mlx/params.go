//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/models/weights"
)

// pool holds the parameters of one set of weights, each once however many sessions
// read it. Tensors that a derived one holds are views of it: loading a rewritten
// program beside the original needs no second copy of anything.
type pool struct {
	params map[string]*param
}

// param is a parameter on the device.
type param struct {
	a     array
	users int    // sessions and views
	owner *param // of which a is a view
}

// loadParams brings what the graphs of the program read to the device. Parameters
// that nothing reads, such as the parts of a derived one, are not touched. The
// caller holds e.loading.
func (s *session) loadParams(ctx context.Context, w *weights.Store) error {
	e := s.e
	names := map[string]bool{}
	for _, c := range s.program.Cases {
		for name, id := range c.Graph.Params() {
			q := s.program.Param(name)
			if q == nil || !q.Type.Equal(c.Graph.Type(id)) {
				return diag.Errorf("engine/param", diag.Pos{}, "case %q reads parameter %q as %s, which the program does not list", c.Name, name, c.Graph.Type(id))
			}
			if !names[name] {
				if _, err := engine.Param(q, w); err != nil {
					return err
				}
			}
			names[name] = true
		}
	}
	l := &loader{w: w, pool: e.pools[w]}
	if l.pool == nil {
		l.pool = &pool{params: map[string]*param{}}
	}
	s.pool, s.params = l.pool, make(map[string]*param, len(names))
	for name := range names {
		s.params[name] = l.get(name)
	}
	err := e.do(func() error { return l.allocate(e.host) })
	if err == nil {
		err = l.fill(ctx)
	}
	if err == nil {
		err = e.do(func() error { return l.look(e.host) })
	}
	if err != nil {
		do(func() error { l.undo(); e.giveBack(s.pool, s.params); return nil })
		return err
	}
	e.pools[w] = l.pool
	return nil
}

// giveBack ends a session's use of its parameters. On the MLX thread.
func (e *mlxEngine) giveBack(p *pool, params map[string]*param) {
	for _, q := range params {
		q.leave()
	}
	for name, q := range p.params {
		if q.users == 0 {
			delete(p.params, name)
		}
	}
	for w, other := range e.pools {
		if other == p && len(p.params) == 0 {
			delete(e.pools, w)
		}
	}
}

func (p *param) leave() {
	if p.users--; p.users > 0 {
		return
	}
	p.a.release()
	p.a = array{}
	if p.owner != nil {
		p.owner.leave()
	}
}

func (p *pool) release() {
	for _, q := range p.params {
		q.a.release()
		q.a = array{}
	}
}

// loader is one Load's work on a pool.
type loader struct {
	w     *weights.Store
	pool  *pool
	fresh []fresh // to be made and filled
	views []view  // to be made, or to replace an array of their own
}

type fresh struct {
	*param
	t    *weights.Tensor
	data []byte // MLX's memory
}

type view struct {
	*param
	weights.View
	made bool
}

// get returns a parameter with one user more.
func (l *loader) get(name string) *param {
	p := l.pool.params[name]
	if p == nil {
		p = &param{}
		l.pool.params[name] = p
		if _, ok := l.w.ViewOf(name); !ok {
			l.fresh = append(l.fresh, fresh{param: p, t: l.w.Get(name)})
		}
	}
	p.users++
	// A tensor that another session loaded may have got an owner since.
	if v, ok := l.w.ViewOf(name); ok && p.owner == nil {
		p.owner = l.get(v.Owner)
		l.views = append(l.views, view{param: p, View: v})
	}
	return p
}

// allocate makes the arrays that fill writes to. MLX has no call for memory without
// content, so they are zeros first; that touches each page once, as any way would.
func (l *loader) allocate(on stream) error {
	s := newScope(on)
	defer s.free()
	list := make([]array, len(l.fresh))
	for i, x := range l.fresh {
		list[i] = s.zeros(x.t.Shape, x.t.DType)
		x.a = s.keep(list[i])
	}
	s.free() // so that zeros, not copies of them, are what is kept
	if s.err != nil {
		return s.err
	}
	for i := range l.fresh {
		list[i] = l.fresh[i].a
	}
	if err := eval(list...); err != nil {
		return err
	}
	for i := range l.fresh {
		x := &l.fresh[i]
		n := x.t.NumBytes()
		if n == 0 {
			continue
		}
		if !slices.Equal(x.a.strides(), rowMajor(x.t.Shape)) {
			return diag.Errorf("mlx/param", diag.Pos{}, "MLX laid out %s%v with strides %v", x.t.DType, x.t.Shape, x.a.strides())
		}
		p := C.mlx_array_data_uint8(x.a.c)
		if p == nil {
			return lastError("data")
		}
		x.data = unsafe.Slice((*byte)(unsafe.Pointer(p)), n)
	}
	return nil
}

func rowMajor(shape []int) []int {
	if len(shape) == 0 {
		return nil
	}
	out, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		n *= shape[i]
	}
	return out
}

// fill writes the parameters' bytes straight into MLX's memory. Nobody else knows
// of the arrays yet.
func (l *loader) fill(ctx context.Context) error {
	var wg sync.WaitGroup
	work := make(chan *fresh)
	errs := make([]error, runtime.GOMAXPROCS(0))
	for i := range errs {
		wg.Go(func() {
			for x := range work {
				if errs[i] == nil {
					errs[i] = x.t.ReadInto(x.data)
				}
			}
		})
	}
	for i := range l.fresh {
		if ctx.Err() != nil {
			break
		}
		work <- &l.fresh[i]
	}
	close(work)
	wg.Wait()
	for _, err := range append(errs, ctx.Err()) {
		if err != nil {
			return err
		}
	}
	return nil
}

// look makes the views.
func (l *loader) look(on stream) error {
	s := newScope(on)
	defer s.free()
	made := make([]array, len(l.views))
	for i, v := range l.views {
		made[i] = s.asStrided(v.owner.a, v.Shape, v.Strides, v.Offset)
	}
	if s.err != nil {
		return s.err
	}
	if err := eval(made...); err != nil {
		return err
	}
	replaced := false
	for i := range l.views {
		v := &l.views[i]
		replaced = replaced || v.a.ok()
		v.a.release()
		v.a, v.made = s.keep(made[i]), true
	}
	if replaced && s.err == nil { // MLX would keep that memory for other arrays
		return clearCache()
	}
	return s.err
}

// undo takes back the owners of views that a failed load did not make. What the
// load has made goes away with its users.
func (l *loader) undo() {
	for _, v := range l.views {
		if !v.made {
			v.owner.leave()
			v.owner = nil
		}
	}
}
