package weights

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"

	"zmlx-rewrite/diag"
)

// File is the content of a file that tensors read from: memory-mapped where the
// system can, read as a whole elsewhere.
type File struct {
	name  string
	data  []byte
	unmap func() error

	mu     sync.RWMutex // readers hold it while they read data, Close while it unmaps
	closed bool
}

// Open maps the regular file at path. The mapping is private and read-only, and
// costs address space, not memory.
func Open(path string) (*File, error) {
	pos := diag.Pos{File: path}
	// Opening a named pipe would wait for a writer, so look first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, diag.Errorf("weights/open", pos, "%v", cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, diag.Errorf("weights/open", pos, "not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, diag.Errorf("weights/open", pos, "%v", cause(err))
	}
	defer f.Close() // a mapping outlives its descriptor
	if info, err = f.Stat(); err != nil {
		return nil, diag.Errorf("weights/open", pos, "%v", cause(err))
	}
	size := info.Size()
	if size != int64(int(size)) {
		return nil, diag.Errorf("weights/open", pos, "%d bytes do not fit this machine's address space", size)
	}
	data, unmap, err := mapFile(f, int(size))
	if err != nil {
		return nil, diag.Errorf("weights/open", pos, "cannot map %d bytes: %v", size, err)
	}
	return &File{name: path, data: data, unmap: unmap}, nil
}

// cause drops the path from an *os.PathError: the position already has it.
func cause(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}

// Memory makes a File of bytes that are in memory; name is for messages.
func Memory(name string, data []byte) *File { return &File{name: name, data: data} }

// Name returns the path that the file was opened with.
func (f *File) Name() string { return f.name }

// Data returns the whole content. It must not be written to, nor used after Close.
func (f *File) Data() []byte { return f.data }

// Close unmaps the file, after the reads in progress. Memory that Bytes has
// returned must not be touched any more. Closing twice is harmless.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed, f.data = true, nil
	if f.unmap == nil {
		return nil
	}
	return f.unmap()
}

// Guard runs fn, which reads the content of the files, while none of them can be
// closed. A mapped file that somebody truncates meanwhile faults on the first
// page past its new end; that becomes an error here rather than the end of the
// process.
func Guard(fn func() error, files ...*File) (err error) {
	for i, f := range files {
		f.mu.RLock()
		if f.closed {
			for _, g := range files[:i+1] {
				g.mu.RUnlock()
			}
			return diag.Errorf("weights/closed", diag.Pos{File: f.name}, "read after Close")
		}
	}
	defer func() {
		for _, f := range files {
			f.mu.RUnlock()
		}
	}()
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			fault, ok := r.(interface {
				runtime.Error
				Addr() uintptr
			})
			if !ok {
				panic(r)
			}
			err = diag.Errorf("weights/changed", diag.Pos{File: faulted(files, fault.Addr())},
				"the file became shorter or unreadable while it was being read").
				WithHint("do not write to a model's files while it is loaded; load it again")
		}
	}()
	return fn()
}

// faulted returns the name of the file that an address lies in.
func faulted(files []*File, addr uintptr) string {
	for _, f := range files {
		if len(f.data) == 0 {
			continue
		}
		if base := uintptr(unsafe.Pointer(&f.data[0])); addr >= base && addr-base < uintptr(len(f.data)) {
			return f.name
		}
	}
	return ""
}
