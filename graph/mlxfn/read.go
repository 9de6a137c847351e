package mlxfn

import (
	"encoding/binary"
	"math"
	"os"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Read parses a .mlxfn file. Errors are *diag.Issue at a byte offset of file, which
// is used for messages only. Strings, shapes and ids are copied; constants are slices
// of data, which must stay unchanged while the File is in use. Memory beside data is
// at most 64 times its length.
//
// A file of a release that the table does not have needs a proof for it.
func Read(file string, data []byte, proofs ...*Proof) (*File, error) {
	return read(file, data, func(version string) *layout { return layoutFor(version, proofs) })
}

func read(file string, data []byte, choose func(version string) *layout) (*File, error) {
	r := &reader{file: file, data: data, constants: map[uint64]*Entry{}}
	f := r.readFile(choose)
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}

// ReadFile reads the whole of a file into memory and parses it.
func ReadFile(path string, proofs ...*Proof) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.Errorf("mlxfn/read", diag.Pos{File: path}, "%v", err)
	}
	return Read(path, data, proofs...)
}

// reader is a cursor whose first failure sticks: later reads return zeros, so that
// only loops have to look at err.
type reader struct {
	file      string
	data      []byte
	pos       int
	layout    *layout
	constants map[uint64]*Entry // stored so far, by id
	err       *diag.Issue
}

func (r *reader) fail(at int, code, format string, args ...any) *diag.Issue {
	issue := diag.Errorf("mlxfn/"+code, diag.At(r.file, int64(at)), format, args...)
	if r.err == nil {
		r.err = issue
		r.pos = len(r.data) // so that counts read after a failure are refused at once
	}
	return issue
}

func (r *reader) bytes(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.data)-r.pos {
		r.fail(r.pos, "truncated", "the file ends within %s: %d bytes needed, %d left", what, n, len(r.data)-r.pos)
		return nil
	}
	b := r.data[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

func (r *reader) u8(what string) byte {
	if b := r.bytes(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) i32(what string) int32 {
	if b := r.bytes(4, what); b != nil {
		return int32(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if b := r.bytes(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) bool(what string) bool {
	at := r.pos
	v := r.u8(what)
	if v > 1 {
		r.fail(at, "bool", "%s is %d, not 0 or 1", what, v)
	}
	return v == 1
}

// count reads the length of a list whose items take at least size bytes each.
func (r *reader) count(size int, what string) int {
	at := r.pos
	n := r.u64("the number of " + what)
	if left := len(r.data) - r.pos; n > uint64(left/size) {
		r.fail(at, "count", "%d %s cannot be in the %d bytes that are left", n, what, left)
		return 0
	}
	return int(n)
}

func (r *reader) string(what string) string {
	return string(r.bytes(r.count(1, "bytes in "+what), what))
}

func (r *reader) ids(what string) []uint64 {
	n := r.count(8, what)
	ids := make([]uint64, n)
	for k := range ids {
		ids[k] = r.u64(what)
	}
	return ids
}

func (r *reader) ints(what string) []int {
	n := r.count(4, what)
	v := make([]int, n)
	for k := range v {
		v[k] = int(r.i32(what))
	}
	return v
}

// size reads a u64 that must fit in an int.
func (r *reader) size(what string) int {
	at := r.pos
	v := r.u64(what)
	if v > math.MaxInt {
		r.fail(at, "size", "%s is %d, more than any array can have", what, v)
	}
	return int(v)
}

func (r *reader) dtype() graph.DType {
	at := r.pos
	n, size := r.i32("a dtype"), r.u8("a dtype")
	switch {
	case r.err != nil:
	case n < 0 || n > math.MaxUint8 || !graph.DType(n).Valid():
		r.fail(at, "dtype", "there is no dtype %d", n)
	case graph.DType(n).Size() != int(size):
		r.fail(at, "dtype", "%v elements take %d bytes, not %d", graph.DType(n), graph.DType(n).Size(), size)
	default:
		return graph.DType(n)
	}
	return 0
}

func (r *reader) shape() []int {
	shape := r.ints("dimensions")
	for k, d := range shape {
		if d < 0 {
			r.fail(r.pos-4*(len(shape)-k), "shape", "dimension %d is %d", k, d)
			break
		}
	}
	return shape
}

// typ checks the size too: an array that cannot exist is refused wherever it occurs.
func (r *reader) typ() TypeInfo {
	at := r.pos
	shape := r.shape()
	return r.sized(at, TypeInfo{shape, r.dtype()})
}

func (r *reader) sized(at int, t TypeInfo) TypeInfo {
	if r.err == nil {
		if _, ok := t.Bytes(); !ok {
			r.fail(at, "overflow", "the size of %v does not fit in 64 bits", t)
		}
	}
	return t
}

func (r *reader) readFile(choose func(version string) *layout) *File {
	f := &File{Version: r.string("the MLX version")}
	if r.err != nil {
		return nil
	}
	if r.layout = choose(f.Version); r.layout == nil {
		unknownVersion(r.fail(0, "version", "written by MLX %q, whose layouts are not known", clip(f.Version)))
		return nil
	}
	at := r.pos
	n := r.i32("the number of functions")
	f.Shapeless = r.bool("the shapeless flag")
	if r.layout.metadata {
		f.Metadata = r.string("the metadata")
	}
	// A function has five lists, so five counts at least.
	if left := len(r.data) - r.pos; r.err == nil && (n < 0 || int(n) > left/40) {
		r.fail(at, "count", "%d functions cannot be in the %d bytes that are left", n, left)
		return nil
	}
	for range n {
		if r.err != nil {
			return nil
		}
		f.Functions = append(f.Functions, r.function())
	}
	if r.err == nil && r.pos != len(r.data) {
		r.fail(r.pos, "trailing", "%d bytes follow the last function", len(r.data)-r.pos)
	}
	return f
}

func (r *reader) function() Function {
	fn := Function{Offset: int64(r.pos)}
	at := r.pos
	fn.Kwargs = make([]string, r.count(8, "keyword names"))
	for k := range fn.Kwargs {
		fn.Kwargs[k] = r.string("a keyword name")
	}
	ids := r.ids("input ids")
	atTypes := r.pos
	if n := r.count(13, "input types"); n != len(ids) {
		r.fail(atTypes, "inputs", "%d input ids, but %d input types", len(ids), n)
	}
	if len(fn.Kwargs) > len(ids) {
		r.fail(at, "inputs", "%d keyword names, but only %d inputs", len(fn.Kwargs), len(ids))
	}
	if r.err != nil {
		return fn
	}
	fn.Inputs = make([]Value, len(ids))
	for k, id := range ids {
		fn.Inputs[k] = Value{id, r.typ()}
	}
	atOutputs := r.pos + 8
	fn.Outputs = r.ids("output ids")
	fn.Tape = make([]Entry, r.count(10, "tape entries"))
	inputs := make(map[uint64]*Value, len(ids))
	for k := range fn.Inputs {
		inputs[fn.Inputs[k].ID] = &fn.Inputs[k]
	}
	for k := range fn.Tape {
		if r.err != nil {
			return fn
		}
		r.entry(&fn.Tape[k], inputs)
	}
	if r.err != nil {
		return fn
	}
	if p := fn.check(); p != nil {
		switch p.where {
		case inKwargs:
			p.offset = at
		case inInputs:
			p.offset = atTypes - 8*(len(ids)-p.index)
		case inOutputs:
			p.offset = atOutputs + 8*p.index
		case inTape:
			p.offset += int(fn.Tape[p.index].Offset)
		}
		r.fail(p.offset, p.code, "%s", p.message)
	}
	return fn
}

func (r *reader) entry(e *Entry, inputs map[uint64]*Value) {
	e.Offset = int64(r.pos)
	e.ID = r.u64("a tape entry")
	switch {
	case r.bool("the primitive flag"):
		e.Kind = Operation
		r.operation(e)
	case r.bool("the constant flag"):
		e.Kind = Constant
		first := r.constants[e.ID]
		if first == nil {
			t := r.typ()
			n, _ := t.Bytes()
			if left := len(r.data) - r.pos; r.err == nil && n > int64(left) {
				r.fail(r.pos, "truncated", "a constant %v takes %d bytes, but %d are left", t, n, left)
			}
			e.Data = r.bytes(int(n), "a constant")
			e.Outputs = []Value{{e.ID, t}}
			r.constants[e.ID] = e
			return
		}
		e.Data, e.Outputs = first.Data, first.Outputs
	default:
		e.Kind = Input
		if v := inputs[e.ID]; v != nil { // check finds the others
			e.Outputs = []Value{*v}
		}
	}
}

func (r *reader) operation(e *Entry) {
	e.Inputs = r.ids("inputs of an operation")
	at := r.pos
	e.Stream.Index = r.i32("a stream index")
	device := r.i32("a device")
	if device != 0 && device != 1 {
		r.fail(at+4, "stream", "there is no device type %d", device)
	}
	e.Stream.GPU = device == 1
	e.Stream.DeviceIndex = r.i32("a device index")
	at = r.pos
	e.Primitive = r.string("a primitive's name")
	if r.err != nil {
		return
	}
	row := r.layout.rows[e.Primitive]
	if row == nil {
		unknownPrimitive(r.fail(at, "primitive", "primitive %q is not known for MLX %s", clip(e.Primitive), r.layout.version), e.Primitive, r.layout)
		return
	}
	e.Primitive = row.Name // shares the table's string
	e.State = make([]Field, len(row.Fields))
	for k := range row.Fields {
		e.State[k] = Field{row.Fields[k].Name, r.field(row.Name, &row.Fields[k])}
	}
	at = r.pos
	siblings := r.u64("the number of siblings")
	if siblings == 0 {
		e.Outputs = []Value{{e.ID, r.typ()}}
		return
	}
	ids := r.ids("output ids")
	if r.err == nil && uint64(len(ids)-1) != siblings || len(ids) == 0 {
		r.fail(at, "outputs", "%d siblings, but %d output ids", siblings, len(ids))
	}
	at = r.pos
	if n := r.count(8, "output shapes"); n != len(ids) {
		r.fail(at, "outputs", "%d output ids, but %d shapes", len(ids), n)
	}
	if r.err != nil {
		return
	}
	e.Outputs = make([]Value, len(ids))
	atShapes := r.pos
	for k := range e.Outputs {
		e.Outputs[k] = Value{ids[k], TypeInfo{Shape: r.shape()}}
	}
	at = r.pos
	if n := r.count(5, "output dtypes"); n != len(ids) {
		r.fail(at, "outputs", "%d output ids, but %d dtypes", len(ids), n)
	}
	for k := range e.Outputs {
		e.Outputs[k].Type.DType = r.dtype()
		r.sized(atShapes, e.Outputs[k].Type)
	}
}

func (r *reader) field(primitive string, spec *FieldSpec) any {
	what := primitive + "." + spec.Name
	at := r.pos
	switch spec.Kind {
	case Int:
		return int(r.i32(what))
	case Enum:
		n := r.i32(what)
		if n < 0 || int(n) >= len(spec.Names) {
			r.fail(at, "enum", "%s is %d; the largest known is %d", what, n, len(spec.Names)-1)
			return ""
		}
		return spec.Names[n]
	case Size:
		return r.size(what)
	case Bool:
		return r.bool(what)
	case Float:
		return math.Float32frombits(uint32(r.i32(what)))
	case Double:
		return math.Float64frombits(r.u64(what))
	case String:
		return r.string(what)
	case DType:
		return r.dtype()
	case Ints:
		return r.ints(what)
	case Longs:
		v := make([]int, r.count(8, what))
		for k := range v {
			v[k] = int(r.u64(what))
		}
		return v
	case Sizes:
		v := make([]int, r.count(8, what))
		for k := range v {
			v[k] = r.size(what)
		}
		return v
	case Dim3:
		return [3]int{int(r.i32(what)), int(r.i32(what)), int(r.i32(what))}
	case ShapeUses:
		v := make([]ShapeUse, r.count(3, what))
		for k := range v {
			v[k] = ShapeUse{r.bool(what), r.bool(what), r.bool(what)}
		}
		return v
	case OptFloat:
		if !r.bool(what) {
			return OptionalFloat{}
		}
		return OptionalFloat{true, math.Float32frombits(uint32(r.i32(what)))}
	case ScalarArgs:
		v := make([]any, r.count(5, what))
		for k := range v {
			at := r.pos
			switch tag := r.i32(what); tag {
			case 0:
				v[k] = int(r.i32(what))
			case 1:
				v[k] = math.Float32frombits(uint32(r.i32(what)))
			case 2:
				v[k] = r.bool(what)
			default:
				r.fail(at, "variant", "%s has an argument of kind %d, not 0 (int), 1 (float) or 2 (bool)", what, tag)
				return v
			}
		}
		return v
	}
	panic("mlxfn: a kind without a reader")
}

// layoutFor returns the layout for files of a version, or nil.
func layoutFor(version string, proofs []*Proof) *layout {
	if slices.Contains(Releases, version) {
		return layoutOf(version)
	}
	for _, p := range proofs {
		if p != nil && p.Version == version {
			return p.layout()
		}
	}
	return nil
}

func unknownVersion(issue *diag.Issue) {
	issue.WithHint("known: %s to %s; for another, run scripts/oracle/mlxfn_probe.py with that MLX and give the folder it writes",
		Releases[0], Releases[len(Releases)-1])
}

func unknownPrimitive(issue *diag.Issue, name string, l *layout) {
	row := table[name]
	switch {
	case row == nil:
		issue.WithHint("the table in graph/mlxfn/table.go has no row for it")
	case slices.Contains(Releases, l.version):
		issue.WithHint("it exists from MLX %s on; the file is damaged", row.Since)
	default:
		issue.Message = "the layout of primitive " + name + " is not proven for MLX " + clip(l.version)
		issue.WithHint("run scripts/oracle/mlxfn_probe.py with that MLX; its probes of %s must all pass", name)
	}
}

// clip keeps hostile names from filling a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
