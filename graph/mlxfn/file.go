// Package mlxfn reads and writes .mlxfn files, MLX's own serialized functions
// (mlx/export.cpp), one struct field for one thing in the file: ids, streams,
// tape order, unused inputs and all traces. Reading a file that MLX wrote and
// writing it again gives the same bytes.
//
// It refuses to guess. MLX changes the layouts of primitives' state between
// releases without marking it in the file, so a file is read only by the table of
// the release that wrote it (table.go), or, for a release that is not in the table,
// by a proof made with that release (probe.go). It does not interpret a graph, infer
// types or change anything; package graph does that.
//
// All integers in a file are little-endian. Reading never copies constants: they
// are slices of the input.
package mlxfn

import (
	"fmt"
	"math"
	"math/bits"

	"zmlx-rewrite/graph"
)

// File is a whole .mlxfn file.
type File struct {
	Version   string // of the MLX that wrote it ("0.32.2"); chooses the state layouts
	Shapeless bool   // whether inputs may have other shapes than those recorded
	Metadata  string // free text; only in files of 0.32.1 or later
	Functions []Function
}

// Function is one trace. Several traces of a file differ in the number, dtypes or
// shapes of their inputs, which is how MLX chooses among them in a call.
type Function struct {
	Kwargs  []string // names of the last len(Kwargs) inputs, sorted by bytes
	Inputs  []Value  // positional inputs, then keyword inputs; unused ones too
	Outputs []uint64 // ids; one may occur several times, or be an input
	Tape    []Entry  // in order of evaluation
	Offset  int64    // where it begins in the file it was read from
}

// Positional returns the number of positional inputs.
func (f *Function) Positional() int { return len(f.Inputs) - len(f.Kwargs) }

// Value is an array of a trace: its id and its type. Ids are unique within one
// function (MLX uses addresses); only constants keep theirs over functions.
type Value struct {
	ID   uint64
	Type TypeInfo
}

// TypeInfo is the shape and dtype of an array.
type TypeInfo struct {
	Shape []int
	DType graph.DType
}

// String prints bfloat16[1,8,64].
func (t TypeInfo) String() string {
	b := append([]byte(t.DType.String()), '[')
	for i, d := range t.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, d)
	}
	return string(append(b, ']'))
}

// Equal reports whether shape and dtype are the same.
func (t TypeInfo) Equal(u TypeInfo) bool {
	if t.DType != u.DType || len(t.Shape) != len(u.Shape) {
		return false
	}
	for i, d := range t.Shape {
		if d != u.Shape[i] {
			return false
		}
	}
	return true
}

// Bytes returns the size of an array of this type. It is not ok if a dimension is
// negative or does not fit in MLX's int32, or if the size does not fit in int64.
func (t TypeInfo) Bytes() (n int64, ok bool) {
	size, zero := uint64(t.DType.Size()), false
	overflow := false
	for _, d := range t.Shape {
		if d < 0 || d > math.MaxInt32 {
			return 0, false
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(size, uint64(d))
		overflow = overflow || hi != 0 || lo > math.MaxInt64
		size = lo
	}
	if zero {
		return 0, true // whatever the other dimensions are
	}
	return int64(size), !overflow
}

// EntryKind says what an entry of the tape is.
type EntryKind uint8

const (
	Operation EntryKind = iota // the output(s) of a primitive
	Constant                   // an array stored in the file
	Input                      // an input of the function, at its first use
)

func (k EntryKind) String() string { return [...]string{"operation", "constant", "input"}[k] }

// Entry is one step of a tape.
type Entry struct {
	Kind EntryKind
	// ID of the entry. An operation with several outputs is on the tape once, under
	// the id of the one that MLX met first, which need not be the first output.
	ID      uint64
	Outputs []Value // one, except for operations with several outputs

	Primitive string   // class name in MLX, a row of the table: "QuantizedMatmul"
	Inputs    []uint64 // of an operation
	Stream    Stream
	State     []Field // by the table's names, in file order

	// Data holds a constant's elements, row-major. A file stores them once, at the
	// first entry with that id in any function; Data is set for all such entries.
	Data []byte

	Offset int64 // of the entry in the file it was read from
}

// Stream names where MLX runs an operation. MLX maps it at import to the first
// stream it has on that device; index -1 stands for a GPU that was not there.
type Stream struct {
	Index       int32
	GPU         bool
	DeviceIndex int32
}

// String prints cpu:0/0, that is device:device index/stream index.
func (s Stream) String() string {
	d := "cpu"
	if s.GPU {
		d = "gpu"
	}
	return fmt.Sprintf("%s:%d/%d", d, s.DeviceIndex, s.Index)
}

// Lookup returns the named state field, or the value that its absence stands for in
// a file older than the field. It is not ok if the primitive has no such field.
func (e *Entry) Lookup(name string) (value any, ok bool) {
	for i := range e.State {
		if e.State[i].Name == name {
			return e.State[i].Value, true
		}
	}
	if row, ok := table[e.Primitive]; ok {
		for i := range row.Fields {
			if f := &row.Fields[i]; f.Name == name && f.Default != nil {
				return f.Default, true
			}
		}
	}
	return nil, false
}

// Get returns the named state field as a T. It panics if the table has no such field
// for e.Primitive or the field has another type: names come from code, not from files.
func Get[T any](e *Entry, name string) T {
	v, ok := e.Lookup(name)
	if !ok {
		panic("mlxfn: " + e.Primitive + " has no state field " + name)
	}
	t, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("mlxfn: %s.%s is a %T", e.Primitive, name, v))
	}
	return t
}
