//go:build mlx

package mlx

/*
#include <stdlib.h>
#include "bridge.h"
#include "kernel_primitive.h"
#include "host_step.h"

static const char *zr_kernel_error(void *error) { return ((const char *(*)(void))error)(); }
*/
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/kernels"
)

// hostDevice replays on the CPU, with the library of CPU kernels. A thread of its own does
// what it is told, in order, so that the host goes on meanwhile, as with a GPU.
type hostDevice struct {
	workers int
	queue   chan func()

	mu     sync.Mutex
	failed error // of a start, for whoever asks next; what came behind it has no meaning
}

// HostDevice returns the CPU as a device for replays.
func HostDevice() replay.Device {
	d := &hostDevice{workers: runtime.GOMAXPROCS(0), queue: make(chan func(), 64)}
	go func() {
		runtime.LockOSThread() // messages of the library are of the thread
		for f := range d.queue {
			f()
		}
	}()
	return d
}

func (d *hostDevice) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		d.failed = err
	}
}

func (d *hostDevice) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *hostDevice) Alloc(bytes int64) (replay.Address, error) {
	var p unsafe.Pointer
	if C.posix_memalign(&p, 256, C.size_t(max(bytes, 1))) != 0 {
		return 0, diag.Errorf("mlx/memory", diag.Pos{}, "no memory for %d bytes", bytes)
	}
	return replay.Address(uintptr(p)), nil
}

func (d *hostDevice) Free(a replay.Address, _ int64) { d.queue <- func() { C.free(pointer(a)) } }

// pointer is memory of C's.
func pointer(a replay.Address) unsafe.Pointer {
	p := uintptr(a)
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

func memoryAt(a replay.Address, n int64) []byte { return unsafe.Slice((*byte)(pointer(a)), n) }

func (d *hostDevice) Write(to replay.Address, data []byte) error {
	data = slices.Clone(data)
	d.queue <- func() { copy(memoryAt(to, int64(len(data))), data) }
	return d.failure()
}

func (d *hostDevice) Copy(to, from replay.Address, bytes int64) error {
	d.queue <- func() { copy(memoryAt(to, bytes), memoryAt(from, bytes)) }
	return d.failure()
}

type fetched struct {
	d    *hostDevice
	data []byte
	done chan struct{}
}

func (f *fetched) Read() ([]byte, error) {
	<-f.done
	return slices.Clone(f.data), f.d.failure()
}

func (*fetched) Release() {}

func (d *hostDevice) Fetch(from replay.Address, bytes int64) (replay.Pending, error) {
	f := &fetched{d: d, done: make(chan struct{})}
	d.queue <- func() {
		f.data = slices.Clone(memoryAt(from, bytes))
		close(f.done)
	}
	return f, d.failure()
}

func (d *hostDevice) Wait() error {
	done := make(chan struct{})
	d.queue <- func() { close(done) }
	<-done
	return d.failure()
}

func (d *hostDevice) Compile(_ context.Context, list []*replay.Source) ([]replay.Function, error) {
	out := make([]replay.Function, len(list))
	for i, s := range list {
		k, err := hostKernelOf(s.Spec)
		if err != nil {
			return nil, err
		}
		out[i] = k
	}
	return out, nil
}

// hostScript is a list of launches, in C's memory.
type hostScript struct {
	d       *hostDevice
	kernels []hostKernel
	list    []C.zr_host_launch
	held    []unsafe.Pointer
}

// held returns n zeroed elements of C's memory, which live as long as the script.
func held[T any](p *hostScript, n int) []T {
	var x T
	m := C.calloc(C.size_t(max(n, 1)), C.size_t(unsafe.Sizeof(x)))
	p.held = append(p.held, m)
	return unsafe.Slice((*T)(m), n)
}

func (d *hostDevice) Prepare(list []replay.Launch) (replay.Prepared, error) {
	p := &hostScript{d: d, kernels: make([]hostKernel, len(list))}
	p.list = held[C.zr_host_launch](p, len(list))
	for i := range list {
		if moves := list[i].Moves; len(moves) > 0 {
			p.list[i].moves, p.list[i].count = p.moves(moves), C.int(len(moves))
		}
		if list[i].Function == nil {
			continue
		}
		p.kernels[i] = list[i].Function.(hostKernel)
		d.prepare(p, &p.list[i], &list[i])
	}
	return p, nil
}

func (d *hostDevice) prepare(p *hostScript, h *C.zr_host_launch, l *replay.Launch) {
	v := l.Source.Values
	ints, places := held[int64](p, len(v.Ints)), held[C.int](p, len(v.Ints))
	for i, x := range v.Ints {
		if k, ok := x.Const(); ok {
			ints[i] = k
		} else {
			places[h.dynamic] = C.int(i)
			h.dynamic++
		}
	}
	floats := held[float64](p, len(v.Floats))
	copy(floats, v.Floats)
	types := held[int32](p, len(v.Types)+len(l.Source.Results))
	in := held[unsafe.Pointer](p, len(v.Types))
	out := held[unsafe.Pointer](p, len(l.Source.Results))
	operands := l.Operands
	for i, t := range v.Types {
		types[i] = kernels.DTypeCode(t)
		if types[i] >= 0 {
			in[i] = pointer(operands[0])
			operands = operands[1:]
		}
	}
	if h.dynamic > 0 {
		h.now, operands = (*C.int32_t)(pointer(operands[0])), operands[1:]
	}
	for i, t := range l.Source.Results {
		types[len(v.Types)+i], out[i] = kernels.DTypeCode(t), pointer(operands[i])
	}
	call, shape := &held[C.zmlx_call](p, 1)[0], held[int64](p, 6)
	call.in, call.out = unsafe.SliceData(in), unsafe.SliceData(out)
	call.ints = (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(ints)))
	call.floats = (*C.double)(unsafe.Pointer(unsafe.SliceData(floats)))
	call.types = (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(types)))
	call.grid, call.group = (*C.int64_t)(unsafe.Pointer(&shape[0])), (*C.int64_t)(unsafe.Pointer(&shape[3]))
	call.workers = C.int(d.workers)
	h.run = (*[0]byte)(l.Function.(hostKernel).run)
	h.call, h.ints, h.place = call, (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(ints))), unsafe.SliceData(places)
	reshape(h, l.Geometry)
}

func reshape(h *C.zr_host_launch, g kernels.Geometry) {
	shape := unsafe.Slice((*int64)(unsafe.Pointer(h.call.grid)), 6)
	copy(shape[:3], g.Grid[:])
	copy(shape[3:], g.Group[:])
}

func (p *hostScript) moves(list []replay.Move) *C.zr_move {
	out := held[C.zr_move](p, len(list))
	for k := range list {
		m, x := &list[k], &out[k]
		x.to, x.from = (*C.char)(pointer(m.To)), (*C.char)(pointer(m.From))
		x.unit, x.at_step = C.int64_t(m.Unit), C.int64_t(m.AtStep)
		for i := range m.Shape {
			x.shape[i], x.to_step[i], x.from_step[i] = C.int64_t(m.Shape[i]), C.int64_t(m.ToStep[i]), C.int64_t(m.FromStep[i])
		}
		x.at, x.rows = (*C.int32_t)(pointer(m.At)), (*C.int32_t)(pointer(m.Rows))
	}
	return unsafe.SliceData(out)
}

func (p *hostScript) Reshape(i int, g kernels.Geometry) error {
	p.d.queue <- func() { reshape(&p.list[i], g) }
	return nil
}

func (p *hostScript) Start() error {
	p.d.queue <- func() {
		if i := int(C.zr_host_step(unsafe.SliceData(p.list), C.int(len(p.list)))); i < len(p.list) {
			k := p.kernels[i]
			p.d.fail(fmt.Errorf("kernel %s: %s", k.name, C.GoString(C.zr_kernel_error(k.err))))
		}
	}
	return p.d.failure()
}

func (p *hostScript) Release() {
	p.d.queue <- func() {
		for _, m := range p.held {
			C.free(m)
		}
		p.held, p.list = nil, nil
	}
}
