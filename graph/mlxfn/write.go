package mlxfn

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/outfile"
	"zmlx-rewrite/graph"
)

// Write writes f in the layouts of f.Version. It checks all of f before the first
// byte, so that what it writes can be read by Read and, on any machine, by that MLX.
// State fields may come in any order; one that the release does not store yet must
// have the value that its absence stands for.
func Write(w io.Writer, f *File, proofs ...*Proof) error {
	l := layoutFor(f.Version, proofs)
	if l == nil {
		issue := diag.Errorf("mlxfn/version", diag.Pos{}, "cannot write for MLX %q, whose layouts are not known", clip(f.Version))
		unknownVersion(issue)
		return issue
	}
	return write(w, f, l)
}

func write(w io.Writer, f *File, l *layout) error {
	if err := f.writable(l); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 1<<16)
	e := encoder{w: buf, layout: l, stored: map[uint64]bool{}}
	e.file(f)
	return buf.Flush()
}

// WriteFile writes f to path, whole or not at all.
func WriteFile(path string, f *File, proofs ...*Proof) error {
	target, err := outfile.Target(path)
	if err != nil {
		return diag.Errorf("mlxfn/write", diag.Pos{File: path}, "%v", err)
	}
	t, err := renameio.NewPendingFile(target, renameio.WithPermissions(0o644), renameio.IgnoreUmask())
	if err != nil {
		return diag.Errorf("mlxfn/write", diag.Pos{File: path}, "%v", err)
	}
	defer t.Cleanup()
	if err := Write(t, f, proofs...); err != nil {
		return err
	}
	if err := t.CloseAtomicallyReplace(); err != nil {
		return diag.Errorf("mlxfn/write", diag.Pos{File: path}, "%v", err)
	}
	return nil
}

// writable checks what Read would refuse and what l cannot say.
func (f *File) writable(l *layout) error {
	bad := func(code, format string, args ...any) *diag.Issue {
		return diag.Errorf("mlxfn/"+code, diag.Pos{}, format, args...)
	}
	if len(f.Functions) > math.MaxInt32 {
		return bad("count", "%d functions are too many", len(f.Functions))
	}
	if f.Metadata != "" && !l.metadata {
		return bad("metadata", "files of MLX %s have no metadata", l.version).WithHint("it exists from MLX %s on", metadataSince)
	}
	constants := map[uint64]*Entry{}
	for n := range f.Functions {
		fn := &f.Functions[n]
		if len(fn.Kwargs) > len(fn.Inputs) {
			return bad("inputs", "function %d: %d keyword names, but only %d inputs", n, len(fn.Kwargs), len(fn.Inputs))
		}
		types := func(at string, vs []Value) error {
			for _, v := range vs {
				if !v.Type.DType.Valid() {
					return bad("dtype", "%s: value %#x has no dtype", at, v.ID)
				}
				if _, ok := v.Type.Bytes(); !ok {
					return bad("shape", "%s: value %#x has the impossible type %v", at, v.ID, v.Type)
				}
			}
			return nil
		}
		if err := types("inputs", fn.Inputs); err != nil {
			return err
		}
		for k := range fn.Tape {
			e := &fn.Tape[k]
			var err error
			switch e.Kind {
			case Operation:
				if err = types(e.Primitive, e.Outputs); err == nil {
					err = e.writable(l)
				}
			case Constant:
				if len(e.Outputs) != 1 || len(e.Inputs) != 0 {
					return bad("constant", "function %d, entry %d: a constant has %d outputs and %d inputs, not 1 and 0", n, k, len(e.Outputs), len(e.Inputs))
				}
				if err = types("constant", e.Outputs); err != nil {
					break
				}
				if size, _ := e.Outputs[0].Type.Bytes(); size != int64(len(e.Data)) {
					err = bad("constant", "function %d, entry %d: a constant %v takes %d bytes, but has %d", n, k, e.Outputs[0].Type, size, len(e.Data))
				} else if first := constants[e.ID]; first == nil {
					constants[e.ID] = e
				} else if !first.Outputs[0].Type.Equal(e.Outputs[0].Type) || !sameBytes(first.Data, e.Data) {
					err = bad("constant", "function %d, entry %d: constant %#x differs from the one stored before", n, k, e.ID)
				}
			case Input:
			default:
				err = bad("entry", "function %d, entry %d: unknown kind %d", n, k, e.Kind)
			}
			if err != nil {
				return err
			}
		}
		if p := fn.check(); p != nil {
			return bad(p.code, "function %d, item %d: %s", n, p.index, p.message)
		}
	}
	return nil
}

// sameBytes does not compare what is the very same memory.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

func (e *Entry) writable(l *layout) error {
	bad := func(code, format string, args ...any) *diag.Issue {
		return diag.Errorf("mlxfn/"+code, diag.Pos{}, format, args...)
	}
	row := l.rows[e.Primitive]
	if row == nil {
		issue := bad("primitive", "MLX %s has no primitive %q that this project can write", l.version, clip(e.Primitive))
		if p := table[e.Primitive]; p != nil && p.Since != "" {
			issue.WithHint("it exists from MLX %s on", p.Since)
		}
		return issue
	}
	for k := range e.State {
		name := e.State[k].Name
		if slices.ContainsFunc(e.State[:k], func(f Field) bool { return f.Name == name }) {
			return bad("state", "%s.%s is given twice", e.Primitive, name)
		}
		if slices.ContainsFunc(row.Fields, func(s FieldSpec) bool { return s.Name == name }) {
			continue
		}
		all := table[e.Primitive].Fields
		at := slices.IndexFunc(all, func(s FieldSpec) bool { return s.Name == name })
		switch {
		case at < 0:
			return bad("state", "%s has no state field %q", e.Primitive, clip(name))
		case !sameValue(e.State[k].Value, all[at].Default):
			return bad("state", "MLX %s cannot store %s.%s = %v", l.version, e.Primitive, name, e.State[k].Value).
				WithHint("it can from MLX %s on", all[at].Since)
		}
	}
	for k := range row.Fields {
		spec := &row.Fields[k]
		if v, ok := e.Lookup(spec.Name); !ok {
			return bad("state", "%s needs the state field %q", e.Primitive, spec.Name)
		} else if !spec.Check(v) {
			return bad("state", "%s.%s cannot be %v (a %T)", e.Primitive, spec.Name, v, v)
		}
	}
	return nil
}

// encoder writes what writable has checked. Its errors stick in the bufio.Writer.
type encoder struct {
	w       *bufio.Writer
	layout  *layout
	stored  map[uint64]bool // constants written so far
	scratch [8]byte
}

func (e *encoder) u64(v uint64) {
	binary.LittleEndian.PutUint64(e.scratch[:], v)
	e.w.Write(e.scratch[:8])
}

func (e *encoder) i32(v int) {
	binary.LittleEndian.PutUint32(e.scratch[:], uint32(v))
	e.w.Write(e.scratch[:4])
}

func (e *encoder) count(n int)         { e.u64(uint64(n)) }
func (e *encoder) float(v float32)     { e.i32(int(int32(math.Float32bits(v)))) }
func (e *encoder) string(s string)     { e.count(len(s)); e.w.WriteString(s) }
func (e *encoder) dtype(t graph.DType) { e.i32(int(t)); e.w.WriteByte(byte(t.Size())) }

func (e *encoder) bool(v bool) {
	if v {
		e.w.WriteByte(1)
	} else {
		e.w.WriteByte(0)
	}
}

func (e *encoder) ids(ids []uint64) {
	e.count(len(ids))
	for _, id := range ids {
		e.u64(id)
	}
}

func (e *encoder) ints(v []int) {
	e.count(len(v))
	for _, d := range v {
		e.i32(d)
	}
}

func (e *encoder) typ(t TypeInfo) { e.ints(t.Shape); e.dtype(t.DType) }

func (e *encoder) file(f *File) {
	e.string(f.Version)
	e.i32(len(f.Functions))
	e.bool(f.Shapeless)
	if e.layout.metadata {
		e.string(f.Metadata)
	}
	for k := range f.Functions {
		e.function(&f.Functions[k])
	}
}

func (e *encoder) function(fn *Function) {
	e.count(len(fn.Kwargs))
	for _, name := range fn.Kwargs {
		e.string(name)
	}
	e.count(len(fn.Inputs))
	for _, v := range fn.Inputs {
		e.u64(v.ID)
	}
	e.count(len(fn.Inputs))
	for _, v := range fn.Inputs {
		e.typ(v.Type)
	}
	e.ids(fn.Outputs)
	e.count(len(fn.Tape))
	for k := range fn.Tape {
		e.entry(&fn.Tape[k])
	}
}

func (e *encoder) entry(t *Entry) {
	e.u64(t.ID)
	e.bool(t.Kind == Operation)
	switch t.Kind {
	case Operation:
		e.operation(t)
	case Constant:
		e.bool(true)
		if !e.stored[t.ID] {
			e.stored[t.ID] = true
			e.typ(t.Outputs[0].Type)
			e.w.Write(t.Data)
		}
	case Input:
		e.bool(false)
	}
}

func (e *encoder) operation(t *Entry) {
	e.ids(t.Inputs)
	e.i32(int(t.Stream.Index))
	if t.Stream.GPU {
		e.i32(1)
	} else {
		e.i32(0)
	}
	e.i32(int(t.Stream.DeviceIndex))
	e.string(t.Primitive)
	row := e.layout.rows[t.Primitive]
	for k := range row.Fields {
		v, _ := t.Lookup(row.Fields[k].Name)
		e.field(&row.Fields[k], v)
	}
	e.count(len(t.Outputs) - 1)
	if len(t.Outputs) == 1 {
		e.typ(t.Outputs[0].Type)
		return
	}
	e.count(len(t.Outputs))
	for _, v := range t.Outputs {
		e.u64(v.ID)
	}
	e.count(len(t.Outputs))
	for _, v := range t.Outputs {
		e.ints(v.Type.Shape)
	}
	e.count(len(t.Outputs))
	for _, v := range t.Outputs {
		e.dtype(v.Type.DType)
	}
}

func (e *encoder) field(spec *FieldSpec, value any) {
	switch v := value.(type) {
	case int:
		if spec.Kind == Size {
			e.u64(uint64(v))
		} else {
			e.i32(v)
		}
	case string:
		if spec.Kind == Enum {
			e.i32(slices.Index(spec.Names, v))
		} else {
			e.string(v)
		}
	case bool:
		e.bool(v)
	case float32:
		e.float(v)
	case float64:
		e.u64(math.Float64bits(v))
	case graph.DType:
		e.dtype(v)
	case []int:
		if spec.Kind == Ints {
			e.ints(v)
			return
		}
		e.count(len(v))
		for _, x := range v {
			e.u64(uint64(x))
		}
	case [3]int:
		for _, x := range v {
			e.i32(x)
		}
	case []ShapeUse:
		e.count(len(v))
		for _, u := range v {
			e.bool(u.Shape)
			e.bool(u.Strides)
			e.bool(u.NDim)
		}
	case OptionalFloat:
		e.bool(v.Set)
		if v.Set {
			e.float(v.Value)
		}
	case []any:
		e.count(len(v))
		for _, a := range v {
			switch a := a.(type) {
			case int:
				e.i32(0)
				e.i32(a)
			case float32:
				e.i32(1)
				e.float(a)
			case bool:
				e.i32(2)
				e.bool(a)
			}
		}
	}
}
