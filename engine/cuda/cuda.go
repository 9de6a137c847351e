//go:build cgo && linux

package cuda

/*
#cgo LDFLAGS: -ldl -lpthread
#include <stdlib.h>
#include "driver.h"
*/
import "C"

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/kernels"
)

type device struct {
	c       C.zc_device
	arch    string
	options []string
	free    map[int64][]replay.Address // by size; what runs on the stream runs in order
	stages  []stage
	next    int
	idle    map[int64][]*pinned
	retired []retired

	mu   sync.Mutex
	made map[string]unsafe.Pointer // functions by name; guarded by mu
}

// stage is page-locked memory on its way to the device.
type stage struct {
	p     unsafe.Pointer
	size  int64
	event unsafe.Pointer
	used  bool
}

// stages in a ring: so many Writes may be under way before one waits.
const ring = 16

func failure(what string) error {
	return diag.Errorf("cuda/driver", diag.Pos{}, "%s: %s", what, C.GoString(C.zc_message()))
}

// Open returns the first GPU, with a stream of its own.
func Open() (replay.Device, error) {
	d := &device{made: map[string]unsafe.Pointer{}, free: map[int64][]replay.Address{}, idle: map[int64][]*pinned{}, stages: make([]stage, ring)}
	runtime.LockOSThread() // the message is of the thread
	defer runtime.UnlockOSThread()
	if C.zc_open(&d.c) != 0 {
		return nil, failure("CUDA")
	}
	d.arch = fmt.Sprintf("sm_%d%d", d.c.major, d.c.minor)
	if d.c.major >= 9 {
		d.arch += "a" // as MLX does
	}
	d.options = []string{"--device-as-default-execution-space", "--gpu-architecture=" + d.arch}
	for _, dir := range includes() {
		d.options = append(d.options, "--include-path="+dir)
	}
	return d, nil
}

// includes are the folders in which cuda_fp16.h may be, where MLX looks for it, too.
func includes() []string {
	var dirs []string
	add := func(dir string) {
		if _, err := os.Stat(filepath.Join(dir, "cuda_fp16.h")); err == nil {
			dirs = append(dirs, dir)
		}
	}
	if lib := C.GoString(C.zc_nvrtc_folder()); lib != "" {
		add(filepath.Join(lib, "..", "include"))
		add(filepath.Join(lib, "..", "..", "include"))
		add(filepath.Join(lib, "..", "..", "cuda_runtime", "include"))
	}
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if dir := os.Getenv(name); dir != "" {
			add(filepath.Join(dir, "include"))
		}
	}
	add("/usr/local/cuda/include")
	return dirs
}

// do calls the driver, and says why it failed.
func (d *device) do(what string, f func() C.int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if f() != 0 {
		return failure(what)
	}
	return nil
}

func (d *device) Alloc(bytes int64) (replay.Address, error) {
	if list := d.free[bytes]; len(list) > 0 {
		d.free[bytes] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	var a C.uint64_t
	err := d.do("memory", func() C.int { return C.zc_alloc(&d.c, &a, C.size_t(bytes)) })
	return replay.Address(a), err
}

// kept is the number of pieces of one size that are kept for the next Alloc.
const kept = 8

func (d *device) Free(a replay.Address, bytes int64) {
	if len(d.free[bytes]) < kept {
		d.free[bytes] = append(d.free[bytes], a)
		return
	}
	// Without a pool this waits for what is under way.
	_ = d.do("memory", func() C.int { return C.zc_free(&d.c, C.uint64_t(a)) })
}

// stage returns page-locked memory that nothing reads any more.
func (d *device) stage(size int64) (*stage, error) {
	s := &d.stages[d.next]
	d.next = (d.next + 1) % ring
	return s, d.do("memory", func() C.int {
		if s.event == nil {
			if rc := C.zc_event(&d.c, &s.event); rc != 0 {
				return rc
			}
		}
		if s.used {
			if rc := C.zc_event_wait(&d.c, s.event); rc != 0 {
				return rc
			}
		}
		if s.size < size {
			s.size = max(size, 4096)
			return C.zc_host_alloc(&d.c, &s.p, C.size_t(s.size)) // the smaller one stays
		}
		return 0
	})
}

// largest is how much one stage holds.
const largest = 1 << 20

func (d *device) Write(to replay.Address, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), largest)
		s, err := d.stage(int64(n))
		if err != nil {
			return err
		}
		copy(unsafe.Slice((*byte)(s.p), n), data[:n])
		err = d.do("copy", func() C.int {
			if rc := C.zc_to_device(&d.c, C.uint64_t(to), s.p, C.size_t(n)); rc != 0 {
				return rc
			}
			return C.zc_record(&d.c, s.event)
		})
		if err != nil {
			return err
		}
		s.used = true
		data, to = data[n:], to+replay.Address(n)
	}
	return nil
}

func (d *device) Copy(to, from replay.Address, bytes int64) error {
	return d.do("copy", func() C.int { return C.zc_copy(&d.c, C.uint64_t(to), C.uint64_t(from), C.size_t(bytes)) })
}

// Near implements replay.Nearer.
func (d *device) Near(a replay.Address, bytes int64) error {
	return d.do("memory", func() C.int { return C.zc_near(&d.c, C.uint64_t(a), C.size_t(bytes)) })
}

func (d *device) Wait() error { return d.do("wait", func() C.int { return C.zc_wait(&d.c) }) }

// pinned is page-locked memory on its way from the device.
type pinned struct {
	d     *device
	p     unsafe.Pointer
	size  int64 // room
	n     int64 // bytes
	event unsafe.Pointer
}

func (d *device) Fetch(from replay.Address, bytes int64) (replay.Pending, error) {
	size := int64(256)
	for size < bytes {
		size *= 2
	}
	var x *pinned
	if list := d.idle[size]; len(list) > 0 {
		x = list[len(list)-1]
		d.idle[size] = list[:len(list)-1]
	} else {
		x = &pinned{d: d, size: size}
		err := d.do("memory", func() C.int {
			if rc := C.zc_event(&d.c, &x.event); rc != 0 {
				return rc
			}
			return C.zc_host_alloc(&d.c, &x.p, C.size_t(size))
		})
		if err != nil {
			return nil, err
		}
	}
	x.n = bytes
	return x, d.do("copy", func() C.int {
		if rc := C.zc_to_host(&d.c, x.p, C.uint64_t(from), C.size_t(bytes)); rc != 0 {
			return rc
		}
		return C.zc_record(&d.c, x.event)
	})
}

func (x *pinned) Read() ([]byte, error) {
	err := x.d.do("wait", func() C.int { return C.zc_event_wait(&x.d.c, x.event) })
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(x.p), x.n)...), nil
}

// Release is called in the order of the device's calls.
func (x *pinned) Release() { x.d.idle[x.size] = append(x.d.idle[x.size], x) }

// Compile makes each kernel a module of its own, several at a time. Modules are kept in
// the user's cache folder: compiling takes a third of a second each.
func (d *device) Compile(ctx context.Context, list []*replay.Source) ([]replay.Function, error) {
	out, errs := make([]replay.Function, len(list)), make([]error, len(list))
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		wg.Go(func() {
			for i := range work {
				name, suffix, text, err := unit(list[i])
				if err == nil {
					out[i], err = d.function(name, suffix, text, d.load(list[i]))
				}
				errs[i] = err
			}
		})
	}
	for i := range list {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	wg.Wait()
	for _, err := range append(errs, ctx.Err()) {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// load is what of a launch one processor has to do: groups, of so many threads each.
type load struct{ groups, threads int64 }

// load is 0 where a launch's numbers come with each step.
func (d *device) load(s *replay.Source) load {
	ints := make([]int64, len(s.Values.Ints))
	for i, n := range s.Values.Ints {
		var ok bool
		if ints[i], ok = n.Const(); !ok {
			return load{}
		}
	}
	g, err := s.Spec.Geometry(ints)
	if err != nil {
		return load{} // whoever launches it says so
	}
	var l C.zc_launch
	threads(g, &l)
	groups, all := int64(1), int64(1)
	for i := range 3 {
		groups, all = groups*int64(l.grid[i]), all*int64(l.block[i])
	}
	return load{(groups + int64(d.c.processors) - 1) / int64(d.c.processors), max(all, 1)}
}

// limit is how many registers a thread may have so that so many groups are on a processor at once.
func (d *device) limit(l load) int {
	return int(int64(d.c.registers) / max(1, l.groups*l.threads) / 8 * 8)
}

// Registers of a thread.
const (
	spare = 80  // what kernels can do with
	most  = 128 // what the largest groups may have
)

// Bytes of a thread's registers that lie in memory.
const (
	tolerable  = 128 // so that a launch is on the device at once: more cost more than a second round
	negligible = 16  // so that one more group is
)

// function compiles a text with a function of a name. A suffix tells texts with one name apart.
func (d *device) function(name, suffix, text string, l load) (unsafe.Pointer, error) {
	d.mu.Lock()
	f := d.made[name+suffix]
	d.mu.Unlock()
	if f != nil {
		return f, nil
	}
	c, err := d.fitted(name, text, l)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made[name+suffix] = c.function
	return c.function, nil
}

// fitted compiles a text for fewer registers than it would have where that puts all of a launch on the
// device at once, since one that runs in two rounds takes twice as long, or where hardly fewer are
// enough for one more group on each processor.
func (d *device) fitted(name, text string, l load) (compiled, error) {
	var whole *compiled
	if n := d.limit(l); l.groups > 0 && spare <= n && n <= most {
		c, err := d.compiled(name, text, n)
		if err != nil || c.local <= tolerable {
			return c, err
		}
		whole = &c
	}
	c, err := d.compiled(name, text, 0)
	if err != nil || l.groups == 0 {
		return c, err
	}
	if whole != nil && c.local+tolerable >= whole.local { // what lies in memory are arrays
		return *whole, nil
	}
	fit := int64(d.c.registers) / (int64(c.registers+7) / 8 * 8 * l.threads)
	n := d.limit(load{fit + 1, l.threads})
	if fit >= l.groups || fit > 0 && 16*n < 15*c.registers {
		return c, nil
	}
	more, err := d.compiled(name, text, n)
	if fit == 0 || more.local <= c.local+negligible { // not one group of the other could be launched
		c = more
	}
	return c, err
}

// compiled is a function, and what a thread of it has: registers, and bytes in memory for those for
// which there was no place, and for arrays.
type compiled struct {
	function         unsafe.Pointer
	registers, local int
}

func (d *device) compiled(name, text string, registers int) (c compiled, err error) {
	m, err := d.module(name, text, registers)
	if err != nil {
		return c, err
	}
	if c.function, err = d.symbol(m, name); err != nil {
		return c, err
	}
	var n, bytes C.int
	err = d.do(name, func() C.int { return C.zc_needs(&d.c, &n, &bytes, c.function) })
	c.registers, c.local = int(n), int(bytes)
	return c, err
}

func (d *device) symbol(module unsafe.Pointer, name string) (unsafe.Pointer, error) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	var f unsafe.Pointer
	return f, d.do(name, func() C.int { return C.zc_function(&d.c, &f, module, c) })
}

func (d *device) module(name, text string, registers int) (unsafe.Pointer, error) {
	options := d.options
	if registers > 0 {
		options = append(slices.Clone(options), fmt.Sprintf("--maxrregcount=%d", registers))
	}
	file := ""
	if dir, err := os.UserCacheDir(); err == nil {
		file = filepath.Join(dir, "zmlx-rewrite", "cuda", name+"-"+d.arch+"-"+fmt.Sprintf("%x", sha256.Sum256([]byte(text+fmt.Sprint(registers))))[:16]+".cubin")
	}
	var module unsafe.Pointer
	load := func(cubin []byte) error {
		p := C.CBytes(cubin)
		defer C.free(p)
		return d.do(name, func() C.int { return C.zc_load(&d.c, &module, p) })
	}
	if data, err := os.ReadFile(file); err == nil && load(data) == nil {
		return module, nil
	}
	cubin, err := d.compile(name, text, options)
	if err != nil {
		return nil, err
	}
	if file != "" && os.MkdirAll(filepath.Dir(file), 0o700) == nil {
		_ = renameio.WriteFile(file, cubin, 0o600) // compiled again next time
	}
	return module, load(cubin)
}

func (d *device) compile(name, text string, list []string) ([]byte, error) {
	source, title := C.CString(text), C.CString(name+".cu")
	defer C.free(unsafe.Pointer(source))
	defer C.free(unsafe.Pointer(title))
	options := make([]*C.char, len(list))
	for i, o := range list {
		options[i] = C.CString(o)
		defer C.free(unsafe.Pointer(options[i]))
	}
	var cubin unsafe.Pointer
	var size C.size_t
	var log *C.char
	err := d.do(name, func() C.int {
		return C.zc_compile(source, title, &options[0], C.int(len(options)), &cubin, &size, &log)
	})
	defer C.free(cubin)
	defer C.free(unsafe.Pointer(log))
	if err != nil {
		if log != nil {
			first, _, _ := strings.Cut(C.GoString(log), "\n\n")
			return nil, diag.Errorf("cuda/compile", diag.Pos{File: name}, "NVRTC: %s", strings.TrimSpace(first))
		}
		return nil, err
	}
	return C.GoBytes(cubin, C.int(size)), nil
}

// short is the length of lists that no graph is made of: it would cost more than it saves.
const short = 8

// prepared is a CUDA graph, or a short list. What its launches point to is C's memory.
type prepared struct {
	d           *device
	exec, graph unsafe.Pointer
	nodes       []unsafe.Pointer
	list        []C.zc_launch
	held        []unsafe.Pointer
}

// held returns n zeroed elements of C's memory, which live as long as p.
func held[T any](p *prepared, n int) []T {
	var x T
	m := C.calloc(C.size_t(max(n, 1)), C.size_t(unsafe.Sizeof(x)))
	p.held = append(p.held, m)
	return unsafe.Slice((*T)(m), n)
}

// threads rounds up to whole groups, as MLX does: sources look at their position.
func threads(g kernels.Geometry, l *C.zc_launch) {
	for i := range 3 {
		group := min(g.Group[i], g.Grid[i])
		l.block[i], l.grid[i] = C.uint(group), C.uint((g.Grid[i]+group-1)/group)
	}
}

func (d *device) Prepare(list []replay.Launch) (replay.Prepared, error) {
	p := &prepared{d: d}
	p.list, p.nodes = held[C.zc_launch](p, len(list)), held[unsafe.Pointer](p, len(list))
	for i := range list {
		c, l := &p.list[i], &list[i]
		if err := p.launch(c, l); err != nil {
			p.Release()
			return nil, err
		}
		after := held[C.int](p, len(l.After))
		for k, x := range l.After {
			after[k] = C.int(x)
		}
		c.after, c.waits = unsafe.SliceData(after), C.int(len(after))
	}
	if d.c.major >= 9 {
		for i, may := range follows(list) {
			if may {
				p.list[i].early = 1
			}
		}
	}
	if len(list) <= short {
		return p, nil
	}
	err := d.do("graph", func() C.int {
		return C.zc_graph(&d.c, &p.exec, &p.graph, unsafe.SliceData(p.nodes), unsafe.SliceData(p.list), C.size_t(len(list)))
	})
	if err != nil {
		p.exec, p.graph = nil, nil
		p.Release()
		return nil, err
	}
	return p, nil
}

func (p *prepared) launch(c *C.zc_launch, l *replay.Launch) error {
	if l.Function == nil {
		return p.moves(c, l.Moves)
	}
	c.function = l.Function.(unsafe.Pointer)
	threads(l.Geometry, c)
	values, params := held[uint64](p, len(l.Operands)), held[unsafe.Pointer](p, len(l.Operands)+1)
	for i, a := range l.Operands {
		values[i] = uint64(a)
		params[i] = unsafe.Pointer(&values[i])
	}
	if len(l.Moves) > 0 {
		params[len(l.Operands)] = p.movesBlock(l.Moves, len(l.Moves))
	}
	c.params = unsafe.SliceData(params)
	return nil
}

// moveSize is the size of a move in a zc_moves_list.
const moveSize = 8 * (4 + 2 + 3*4)

// movesBlock lays moves out as a zc_moves_list with room for most.
func (p *prepared) movesBlock(list []replay.Move, most int) unsafe.Pointer {
	var b []byte
	word := func(v int64) { b = binary.NativeEndian.AppendUint64(b, uint64(v)) }
	for _, m := range list {
		for _, a := range []replay.Address{m.To, m.From, m.At, m.Rows} {
			word(int64(a))
		}
		word(m.AtStep)
		word(m.Unit)
		for _, steps := range [][4]int64{m.Shape, m.ToStep, m.FromStep} {
			for _, v := range steps {
				word(v)
			}
		}
	}
	block := held[byte](p, most*moveSize)
	copy(block, b)
	return unsafe.Pointer(unsafe.SliceData(block))
}

// moves makes a launch of moves alone.
func (p *prepared) moves(c *C.zc_launch, list []replay.Move) error {
	f, err := p.d.function("zc_moves", "", movesText(replay.MostMoves), load{})
	if err != nil {
		return err
	}
	most := int64(1)
	for _, m := range list {
		most = max(most, m.Units())
	}
	params := held[unsafe.Pointer](p, 1)
	params[0] = p.movesBlock(list, replay.MostMoves)
	c.function, c.params = f, unsafe.SliceData(params)
	threads(kernels.Geometry{Grid: [3]int64{min(most, 1<<20), int64(len(list)), 1}, Group: [3]int64{min(most, 128), 1, 1}}, c)
	return nil
}

func (p *prepared) Start() error {
	return p.d.do("graph", func() C.int {
		if p.exec == nil {
			return C.zc_start(&p.d.c, unsafe.SliceData(p.list), C.size_t(len(p.list)))
		}
		return C.zc_graph_start(&p.d.c, p.exec)
	})
}

func (p *prepared) Reshape(i int, g kernels.Geometry) error {
	threads(g, &p.list[i])
	if p.exec == nil {
		return nil
	}
	return p.d.do("graph", func() C.int { return C.zc_graph_reshape(&p.d.c, p.exec, p.nodes[i], &p.list[i]) })
}

// retired is a graph that may be under way until an event.
type retired struct{ exec, graph, event unsafe.Pointer }

// Release does not wait for the graph, which may be under way: it is given up with the next one.
func (p *prepared) Release() {
	if p.exec != nil {
		p.d.bury()
		r := retired{exec: p.exec, graph: p.graph}
		err := p.d.do("graph", func() C.int {
			if rc := C.zc_event(&p.d.c, &r.event); rc != 0 {
				return rc
			}
			return C.zc_record(&p.d.c, r.event)
		})
		if err != nil {
			_ = p.d.Wait()
			r.event = nil
		}
		p.d.retired = append(p.d.retired, r)
	} // launches have copied what they point to
	for _, m := range p.held {
		C.free(m)
	}
	*p = prepared{d: p.d}
}

// bury gives up graphs that have ended.
func (d *device) bury() {
	for _, r := range d.retired {
		_ = d.do("graph", func() C.int {
			if r.event != nil {
				if rc := C.zc_event_wait(&d.c, r.event); rc != 0 {
					return rc
				}
				if rc := C.zc_event_free(&d.c, r.event); rc != 0 {
					return rc
				}
			}
			return C.zc_graph_free(&d.c, r.exec, r.graph)
		})
	}
	d.retired = d.retired[:0]
}
