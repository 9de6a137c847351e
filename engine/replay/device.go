package replay

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// Address is a place in a device's memory; 0 is none.
type Address uint64

// Device is what a script runs on. Its calls are in order: one that reads memory sees what
// earlier ones wrote. Methods but Compile are called by one goroutine at a time.
type Device interface {
	// Alloc returns memory aligned to 256 bytes. Free may be called before what reads the
	// memory has run; the memory is given out again only to what runs after that.
	Alloc(bytes int64) (Address, error)
	Free(a Address, bytes int64)
	// Compile makes functions of kernels, side by side if it can.
	Compile(ctx context.Context, list []*Source) ([]Function, error)
	// Write copies data to the device. It may be changed after the call.
	Write(to Address, data []byte) error
	Copy(to, from Address, bytes int64) error
	// Fetch starts to copy memory to the host, and returns what waits for it.
	Fetch(from Address, bytes int64) (Pending, error)
	// Wait waits for everything.
	Wait() error
	// Prepare makes a list of launches ready, each behind those that it names.
	Prepare(list []Launch) (Prepared, error)
}

// Nearer is a Device that would fetch memory of the engine underneath page by page when it is first
// read. Near fetches it at once, if there is room.
type Nearer interface {
	Device
	Near(a Address, bytes int64) error
}

// Pending is memory on its way to the host.
type Pending interface {
	// Read waits, and returns the bytes. It may be called again.
	Read() ([]byte, error)
	Release()
}

// Function is a compiled kernel.
type Function any

// Prepared is a list of launches that can be started again and again.
type Prepared interface {
	Start() error
	// Reshape gives launch i another number of threads, from the next Start on.
	Reshape(i int, g kernels.Geometry) error
	Release()
}

// Source is a kernel for one set of element types and numbers.
type Source struct {
	Spec    *kernels.Spec
	Values  *kernels.Values // symbols stand for numbers that come with each step
	Results []graph.DType
	Ahead   []MoveShape // of the Moves that launches have, too
	// Early says that what Spec.Early names, such as weights, is there before the launch in front of
	// this one begins: it may ask for it before that one has ended.
	Early bool
}

// key is the same for sources of one text.
func (s *Source) key() string {
	b := append([]byte(s.Spec.Name), '(')
	for _, t := range s.Values.Types {
		b = append(b, byte(t))
	}
	b = appendInts(append(b, ')'), s.Values.Ints)
	for _, f := range s.Values.Floats {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	b = append(b, '>')
	for _, t := range s.Results {
		b = append(b, byte(t))
	}
	for _, m := range s.Ahead {
		b = binary.LittleEndian.AppendUint64(append(b, '+'), uint64(m.Unit))
		for _, n := range m.Shape {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
	}
	if s.Early {
		b = append(b, '!')
	}
	return string(b)
}

func appendInts(b []byte, list []graph.Dim) []byte {
	for _, d := range list {
		if n, ok := d.Const(); ok {
			b = strconv.AppendInt(b, n, 10)
		} else {
			b = append(b, d.String()...)
		}
		b = append(b, ',')
	}
	return b
}

// MoveShape is what of a move is the same in all layers.
type MoveShape struct {
	Unit  int64
	Shape [4]int64
}

// Units is how many of them there are.
func (m MoveShape) Units() int64 { return m.Shape[0] * m.Shape[1] * m.Shape[2] * m.Shape[3] }

// Launch is one start of a function.
type Launch struct {
	Function Function // nil if there are Moves alone
	Geometry kernels.Geometry
	// Operands are those that are there; the numbers that come with each step, int32, if
	// there are any; and the results.
	Operands []Address
	Source   *Source
	After    []int // earlier launches that it has to wait for; what they wait for is not named again
	// Moves are at most MostMoves, made at the same time: none reads or writes what another
	// writes. If there is a Function, too, they are made before it: it reads what they write.
	Moves []Move
}

// MostMoves is how many moves one launch makes at most: what caches take at the end of a step of
// twelve layers, and what fits into the parameters of a CUDA kernel.
const MostMoves = 24

// Move copies elements from one layout to another, or rows that indices choose.
type Move struct {
	MoveShape // Unit: bytes that are moved at once: 1, 2, 4, 8 or 16; Shape: of units
	To, From  Address
	ToStep    [4]int64 // bytes
	FromStep  [4]int64
	// At holds an int32 by which To is moved on, in steps of AtStep bytes; 0 for none.
	At     Address
	AtStep int64
	// Rows holds Shape[0] int32 indices, which take the place of the first dimension in
	// From; 0 for none.
	Rows Address
}

// ints32 is numbers as a device reads them.
func ints32(b []byte, list ...int64) []byte {
	for _, n := range list {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(n)))
	}
	return b
}
