//go:build mlx

package mlx

/*
#include <stdlib.h>
#include "bridge.h"
#include "kernel_primitive.h"
#include "../../kernels/cpu/zmlx_kernel.h"

static int zr_run_kernel(void *run, const zmlx_call *c) { return ((int (*)(const zmlx_call *))run)(c); }
static const char *zr_kernel_error(void *error) { return ((const char *(*)(void))error)(); }
*/
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/kernels"
)

// hostDevice replays on the CPU, with the library of CPU kernels. Its calls are over when
// they return.
type hostDevice struct{ workers int }

// HostDevice returns the CPU as a device for replays.
func HostDevice() replay.Device { return &hostDevice{runtime.GOMAXPROCS(0)} }

func (d *hostDevice) Alloc(bytes int64) (replay.Address, error) {
	var p unsafe.Pointer
	if C.posix_memalign(&p, 256, C.size_t(max(bytes, 1))) != 0 {
		return 0, diag.Errorf("mlx/memory", diag.Pos{}, "no memory for %d bytes", bytes)
	}
	return replay.Address(uintptr(p)), nil
}

func (d *hostDevice) Free(a replay.Address, _ int64) { C.free(pointer(a)) }

// pointer is memory of C's.
func pointer(a replay.Address) unsafe.Pointer {
	p := uintptr(a)
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

func memoryAt(a replay.Address, n int64) []byte { return unsafe.Slice((*byte)(pointer(a)), n) }

func (d *hostDevice) Write(to replay.Address, data []byte) error {
	copy(memoryAt(to, int64(len(data))), data)
	return nil
}

func (d *hostDevice) Copy(to, from replay.Address, bytes int64) error {
	copy(memoryAt(to, bytes), memoryAt(from, bytes))
	return nil
}

type fetched []byte

func (f fetched) Read() ([]byte, error) { return slices.Clone(f), nil }
func (fetched) Release()                {}

func (d *hostDevice) Fetch(from replay.Address, bytes int64) (replay.Pending, error) {
	return fetched(slices.Clone(memoryAt(from, bytes))), nil
}

func (d *hostDevice) Wait() error { return nil }

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

// hostLaunch is a call of the library, in C's memory.
type hostLaunch struct {
	kernel  hostKernel
	call    *C.zmlx_call
	ints    []int64        // C's memory
	dynamic []int          // those that come with each step
	from    replay.Address // where they are
	grid    []int64        // C's memory; the group behind it
	move    *replay.Move
}

type hostScript struct {
	list []hostLaunch
	held []unsafe.Pointer
}

func (p *hostScript) hold(bytes int) unsafe.Pointer {
	m := C.calloc(1, C.size_t(max(bytes, 8)))
	p.held = append(p.held, m)
	return m
}

func (d *hostDevice) Prepare(list []replay.Launch) (replay.Prepared, error) {
	p := &hostScript{list: make([]hostLaunch, len(list))}
	for i := range list {
		if list[i].Move != nil {
			p.list[i].move = list[i].Move
			continue
		}
		d.prepare(p, &p.list[i], &list[i])
	}
	return p, nil
}

func (d *hostDevice) prepare(p *hostScript, h *hostLaunch, l *replay.Launch) {
	h.kernel = l.Function.(hostKernel)
	v := l.Source.Values
	n := len(v.Ints)
	h.ints = unsafe.Slice((*int64)(p.hold(8*n)), n)
	for i, x := range v.Ints {
		if k, ok := x.Const(); ok {
			h.ints[i] = k
		} else {
			h.dynamic = append(h.dynamic, i)
		}
	}
	floats := unsafe.Slice((*float64)(p.hold(8*len(v.Floats))), len(v.Floats))
	copy(floats, v.Floats)
	types := unsafe.Slice((*int32)(p.hold(4*(len(v.Types)+len(l.Source.Results)))), len(v.Types)+len(l.Source.Results))
	in := unsafe.Slice((*unsafe.Pointer)(p.hold(8*len(v.Types))), len(v.Types))
	out := unsafe.Slice((*unsafe.Pointer)(p.hold(8*len(l.Source.Results))), len(l.Source.Results))
	operands := l.Operands
	for i, t := range v.Types {
		types[i] = kernels.DTypeCode(t)
		if types[i] >= 0 {
			in[i] = pointer(operands[0])
			operands = operands[1:]
		}
	}
	if len(h.dynamic) > 0 {
		h.from, operands = operands[0], operands[1:]
	}
	for i, t := range l.Source.Results {
		types[len(v.Types)+i], out[i] = kernels.DTypeCode(t), pointer(operands[i])
	}
	h.grid = unsafe.Slice((*int64)(p.hold(8*6)), 6)
	h.call = (*C.zmlx_call)(p.hold(int(unsafe.Sizeof(C.zmlx_call{}))))
	h.call.in, h.call.out = first(in), first(out)
	h.call.ints = (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(h.ints)))
	h.call.floats = (*C.double)(unsafe.Pointer(unsafe.SliceData(floats)))
	h.call.types = (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(types)))
	h.call.grid, h.call.group = (*C.int64_t)(unsafe.Pointer(&h.grid[0])), (*C.int64_t)(unsafe.Pointer(&h.grid[3]))
	h.call.workers = C.int(d.workers)
	h.shape(l.Geometry)
}

func first(list []unsafe.Pointer) *unsafe.Pointer { return unsafe.SliceData(list) }

func (h *hostLaunch) shape(g kernels.Geometry) {
	copy(h.grid[:3], g.Grid[:])
	copy(h.grid[3:], g.Group[:])
}

func (p *hostScript) Reshape(i int, g kernels.Geometry) error {
	p.list[i].shape(g)
	return nil
}

func (p *hostScript) Start() error {
	for i := range p.list {
		h := &p.list[i]
		if h.move != nil {
			moveHost(h.move)
			continue
		}
		if len(h.dynamic) > 0 {
			now := unsafe.Slice((*int32)(pointer(h.from)), len(h.dynamic))
			for k, at := range h.dynamic {
				h.ints[at] = int64(now[k])
			}
		}
		runtime.LockOSThread() // the message is of the thread
		rc := C.zr_run_kernel(h.kernel.run, h.call)
		if rc != 0 {
			err := fmt.Errorf("kernel %s: %s", h.kernel.name, C.GoString(C.zr_kernel_error(h.kernel.err)))
			runtime.UnlockOSThread()
			return err
		}
		runtime.UnlockOSThread()
	}
	return nil
}

func (p *hostScript) Release() {
	for _, m := range p.held {
		C.free(m)
	}
	p.held, p.list = nil, nil
}

func moveHost(m *replay.Move) {
	to := m.To
	if m.At != 0 {
		to += replay.Address(int64(*(*int32)(pointer(m.At))) * m.AtStep)
	}
	for a := range m.Shape[0] {
		row := a
		if m.Rows != 0 {
			row = int64(unsafe.Slice((*int32)(pointer(m.Rows)), m.Shape[0])[a])
		}
		for b := range m.Shape[1] {
			for c := range m.Shape[2] {
				t := to + replay.Address(a*m.ToStep[0]+b*m.ToStep[1]+c*m.ToStep[2])
				f := m.From + replay.Address(row*m.FromStep[0]+b*m.FromStep[1]+c*m.FromStep[2])
				if m.ToStep[3] == m.Unit && m.FromStep[3] == m.Unit {
					copy(memoryAt(t, m.Shape[3]*m.Unit), memoryAt(f, m.Shape[3]*m.Unit))
					continue
				}
				for d := range m.Shape[3] {
					copy(memoryAt(t+replay.Address(d*m.ToStep[3]), m.Unit), memoryAt(f+replay.Address(d*m.FromStep[3]), m.Unit))
				}
			}
		}
	}
}
