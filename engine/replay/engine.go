package replay

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
)

// Inner is the engine underneath: it holds the parameters, and runs what is not replayed.
// Its memory can be read by the device.
type Inner interface {
	engine.Engine
	engine.KernelRunner
	engine.MemoryMeter
	// Address computes a tensor, waits, and returns where its elements lie, row by row,
	// while the tensor lives.
	Address(t engine.Tensor) (Address, error)
	// FromDevice makes a tensor; fill is told where its elements go.
	FromDevice(t graph.DType, shape []int, fill func(to Address) error) (engine.Tensor, error)
	// Param is where a parameter of a session lies, row by row, while the session lives.
	Param(s engine.Session, name string) (Address, error)
}

// Engine replays what it can.
type Engine struct {
	inner   Inner
	dev     Device
	catalog *kernels.Catalog
	log     *slog.Logger // is told what is not replayed, and why

	device sync.Mutex // around calls of dev
	used   int64      // bytes of the device's memory; guarded by device
	peak   int64      // the most of them since ResetPeak

	functions map[string]Function // by Source.key; guarded by device

	mu       sync.Mutex
	launches map[string]int
	told     map[string]bool
	dead     []*memory // given up, for the next call of dev
	after    []func()
}

// Wrap returns an engine that replays steps on dev.
func Wrap(inner Inner, dev Device, catalog *kernels.Catalog, log *slog.Logger) *Engine {
	return &Engine{inner: inner, dev: dev, catalog: catalog, log: log, told: map[string]bool{}, launches: map[string]int{}, functions: map[string]Function{}}
}

func (e *Engine) Name() string                     { return e.inner.Name() }
func (e *Engine) Device() string                   { return e.inner.Device() }
func (e *Engine) Version() string                  { return e.inner.Version() }
func (e *Engine) RunsKernel(s *kernels.Spec) error { return e.inner.RunsKernel(s) }

// ResetPeak implements engine.MemoryMeter.
func (e *Engine) ResetPeak() error {
	e.device.Lock()
	defer e.device.Unlock()
	e.sweep()
	e.peak = e.used
	return e.inner.ResetPeak()
}

// PeakMemory implements engine.MemoryMeter. The engine underneath and the replays may have
// had their most at different times: it is not more than this.
func (e *Engine) PeakMemory() (uint64, error) {
	e.device.Lock()
	defer e.device.Unlock()
	n, err := e.inner.PeakMemory()
	return n + uint64(e.peak), err
}

// Launches implements engine.KernelRunner.
func (e *Engine) Launches() map[string]int {
	all := e.inner.Launches()
	if all == nil {
		all = map[string]int{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, n := range e.launches {
		all[name] += n
	}
	return all
}

// tell says once why cases of a name are not replayed: caches are quantized by a program for
// each.
func (e *Engine) tell(name string, why error) {
	e.mu.Lock()
	told := e.told[name+": "+why.Error()]
	e.told[name+": "+why.Error()] = true
	e.mu.Unlock()
	if !told {
		e.log.Debug("not replayed", "case", name, "why", why)
	}
}

// Load implements engine.Engine.
func (e *Engine) Load(ctx context.Context, p *graph.Program, w *weights.Store) (engine.Session, error) {
	var s engine.Session
	if reads(p) {
		var err error
		if s, err = e.inner.Load(ctx, p, w); err != nil {
			return nil, err
		}
		if dev, ok := e.dev.(Nearer); ok {
			if err := e.near(dev, p, s); err != nil {
				_ = s.Close()
				return nil, err
			}
		}
	}
	return &session{e: e, inner: s, program: p, scripts: map[string]*bound{}, refused: map[string]error{}, params: map[string]Address{}}, nil
}

// near has a session's parameters brought to the device.
func (e *Engine) near(dev Nearer, p *graph.Program, s engine.Session) error {
	told := map[string]bool{}
	e.device.Lock()
	defer e.device.Unlock()
	for i := range p.Cases {
		g := p.Cases[i].Graph
		for name, id := range g.Params() {
			if told[name] {
				continue
			}
			told[name] = true
			t := g.Type(id)
			shape, err := engine.Shape(t.Shape, nil)
			if err != nil {
				return err
			}
			n, _ := weights.NumBytes(t.DType, shape)
			at, err := e.inner.Param(s, name)
			if err != nil { // one that is not laid out row by row is read by no script
				continue
			}
			if err := dev.Near(at, int64(n)); err != nil {
				return err
			}
		}
	}
	return dev.Wait()
}

// NewTensor implements engine.Engine. Positions and tokens are known to the host, and reach
// the engine underneath only if it runs a step.
func (e *Engine) NewTensor(t graph.DType, shape []int, data []byte) (engine.Tensor, error) {
	if n, ok := weights.NumBytes(t, shape); t.Valid() && ok && n == len(data) && n < smallest && n > 0 {
		return &tensor{e: e, dtype: t, shape: slices.Clone(shape), host: slices.Clone(data)}, nil
	}
	x, err := e.inner.NewTensor(t, shape, data)
	if err != nil {
		return nil, err
	}
	return e.wrap(x), nil
}

// Zeros implements engine.Engine.
func (e *Engine) Zeros(t graph.DType, shape []int) (engine.Tensor, error) {
	x, err := e.inner.Zeros(t, shape)
	if err != nil {
		return nil, err
	}
	return e.wrap(x), nil
}

// Eval implements engine.Engine.
func (e *Engine) Eval(ctx context.Context, list ...engine.Tensor) error {
	inner, mine, err := e.split(list)
	if err != nil {
		return err
	}
	if len(inner) > 0 {
		if err := e.inner.Eval(ctx, inner...); err != nil {
			return err
		}
	}
	if len(mine) == 0 {
		return ctx.Err()
	}
	e.device.Lock()
	defer e.device.Unlock()
	return e.dev.Wait()
}

// AsyncEval implements engine.Engine. A small value of the device is sent to the host, so
// that whoever reads it does not wait for the step behind it.
func (e *Engine) AsyncEval(list ...engine.Tensor) error {
	inner, mine, err := e.split(list)
	if err != nil {
		return err
	}
	for _, t := range mine {
		if t.bytes() < smallest {
			if err := t.fetch(); err != nil {
				return err
			}
		}
	}
	if len(inner) > 0 {
		return e.inner.AsyncEval(inner...)
	}
	return nil
}

// split tells tensors of the engine underneath from those on the device.
func (e *Engine) split(list []engine.Tensor) (inner []engine.Tensor, mine []*tensor, err error) {
	for _, t := range list {
		x, _, err := e.mine(t)
		if err != nil {
			return nil, nil, err
		}
		x.mu.Lock()
		switch err = x.alive(); {
		case err != nil:
		case x.mem != nil:
			mine = append(mine, x)
		case x.inner != nil:
			inner = append(inner, x.inner)
		}
		x.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
	}
	return inner, mine, nil
}

// Close implements engine.Engine.
func (e *Engine) Close() error { return e.inner.Close() }

// alloc returns memory. The caller holds e.device.
func (e *Engine) alloc(size int64) (*memory, error) {
	e.sweep()
	a, err := e.dev.Alloc(max(size, 1))
	if err != nil {
		return nil, err
	}
	m := &memory{addr: a, size: max(size, 1)}
	e.used += m.size
	e.peak = max(e.peak, e.used)
	return m, nil
}

// drop gives memory up.
func (e *Engine) drop(m *memory) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead = append(e.dead, m)
}

// later calls f before the next call of the device.
func (e *Engine) later(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.after = append(e.after, f)
}

// sweep gives up what was dropped. The caller holds e.device.
func (e *Engine) sweep() {
	e.mu.Lock()
	dead, after := e.dead, e.after
	e.dead, e.after = nil, nil
	e.mu.Unlock()
	for _, m := range dead {
		e.dev.Free(m.addr, m.size)
		e.used -= m.size
	}
	for _, f := range after {
		f()
	}
}

func (e *Engine) count(n map[string]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, k := range n {
		e.launches[name] += k
	}
}
