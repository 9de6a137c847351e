package replay

import (
	"slices"
	"sync"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// memory is a piece of the device's memory. A tensor or a script owns it.
type memory struct {
	addr Address
	size int64
}

// tensor is a value in one or several of three places: known to the host, in the device's
// memory, and in the engine underneath.
type tensor struct {
	e     *Engine
	dtype graph.DType
	shape []int

	mu      sync.Mutex
	host    []byte
	mem     *memory
	inner   engine.Tensor
	pending Pending // of mem, on its way to the host
	gone    bool
}

func (t *tensor) DType() graph.DType { return t.dtype }
func (t *tensor) Shape() []int       { return t.shape }

func (t *tensor) bytes() int64 {
	n := int64(t.dtype.Size())
	for _, d := range t.shape {
		n *= int64(d)
	}
	return n
}

// Release implements engine.Tensor. Nothing is waited for.
func (t *tensor) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return
	}
	t.gone = true
	if t.inner != nil {
		t.inner.Release()
	}
	if t.mem != nil {
		t.e.drop(t.mem)
	}
	if t.pending != nil {
		t.e.later(t.pending.Release)
	}
	t.host, t.inner, t.mem, t.pending = nil, nil, nil, nil
}

func (t *tensor) alive() error {
	if t.gone {
		return diag.Errorf("engine/tensor", diag.Pos{}, "tensor %s%v is used after its release", t.dtype, t.shape)
	}
	return nil
}

// Read implements engine.Tensor.
func (t *tensor) Read() ([]byte, error) {
	t.mu.Lock()
	if err := t.alive(); err != nil {
		t.mu.Unlock()
		return nil, err
	}
	host, inner, pending := t.host, t.inner, t.pending
	t.mu.Unlock()
	switch {
	case host != nil:
		return slices.Clone(host), nil
	case pending == nil && inner != nil:
		return inner.Read()
	}
	if err := t.fetch(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	pending = t.pending
	t.mu.Unlock()
	if pending == nil {
		return nil, t.alive()
	}
	return pending.Read()
}

// fetch starts to bring a value of the device to the host.
func (t *tensor) fetch() error {
	t.e.device.Lock() // before t.mu, here and in Engine.exclusive
	defer t.e.device.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mem == nil || t.pending != nil || t.host != nil {
		return t.alive()
	}
	var err error
	t.pending, err = t.e.dev.Fetch(t.mem.addr, t.bytes())
	return err
}

// under returns the tensor of the engine underneath; it stays t's.
func (t *tensor) under() (engine.Tensor, error) {
	t.e.device.Lock()
	defer t.e.device.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.alive(); err != nil {
		return nil, err
	}
	if t.inner != nil {
		return t.inner, nil
	}
	if t.host != nil {
		inner, err := t.e.inner.NewTensor(t.dtype, t.shape, t.host)
		t.inner = inner
		return inner, err
	}
	inner, err := t.e.inner.FromDevice(t.dtype, t.shape, func(to Address) error {
		if err := t.e.dev.Copy(to, t.mem.addr, t.bytes()); err != nil {
			return err
		}
		return t.e.dev.Wait()
	})
	t.inner = inner
	return inner, err
}

// wrap makes a tensor of one of the engine underneath.
func (e *Engine) wrap(t engine.Tensor) *tensor {
	return &tensor{e: e, dtype: t.DType(), shape: t.Shape(), inner: t}
}

// mine returns the tensor behind a caller's handle.
func (e *Engine) mine(t engine.Tensor) (x *tensor, taken bool, err error) {
	inner, taken := engine.Taken(t)
	x, ok := inner.(*tensor)
	if !ok || x.e != e {
		return nil, taken, diag.Errorf("engine/tensor", diag.Pos{}, "tensor %T is not of this engine", inner)
	}
	return x, taken, nil
}
