package mlxfn

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// image builds a file by hand, with the offsets of what the cases below break.
type image struct {
	data  []byte
	marks map[string]int
}

func (m *image) mark(name string)    { m.marks[name] = len(m.data) }
func (m *image) u8(v byte)           { m.data = append(m.data, v) }
func (m *image) i32(vs ...int32)     { m.data, _ = binary.Append(m.data, binary.LittleEndian, vs) }
func (m *image) u64(vs ...uint64)    { m.data, _ = binary.Append(m.data, binary.LittleEndian, vs) }
func (m *image) text(s string)       { m.u64(uint64(len(s))); m.data = append(m.data, s...) }
func (m *image) dtype(t graph.DType) { m.i32(int32(t)); m.u8(byte(t.Size())) }
func (m *image) typ(t graph.DType, shape ...int32) {
	m.u64(uint64(len(shape)))
	m.i32(shape...)
	m.dtype(t)
}

// valid is a file of MLX 0.32.2 with one function: inputs 1 and 2 ("w"), constant 3,
// then ArgPartition, Reduce, Split and a CustomKernel.
func valid() *image {
	m := &image{marks: map[string]int{}}
	op := func(mark string, id uint64, name string, inputs ...uint64) {
		m.mark(mark)
		m.u64(id)
		m.u8(1)
		m.u64(uint64(len(inputs)))
		m.mark(mark + ".inputs")
		m.u64(inputs...)
		m.mark(mark + ".stream")
		m.i32(0, 0, 0)
		m.mark(mark + ".name")
		m.text(name)
		m.mark(mark + ".state")
	}
	m.text("0.32.2")
	m.mark("functions")
	m.i32(1)
	m.mark("shapeless")
	m.u8(0)
	m.mark("metadata")
	m.text("")
	m.mark("kwargs")
	m.u64(1)
	m.text("w")
	m.mark("input ids")
	m.u64(2, 1, 2)
	m.mark("input types")
	m.u64(2)
	m.mark("x")
	m.typ(graph.Float32, 4, 6)
	m.typ(graph.Float32, 4, 6)
	m.mark("outputs")
	m.u64(2, 6, 9)
	m.mark("tape")
	m.u64(7)
	m.mark("input entry")
	m.u64(1)
	m.u8(0)
	m.u8(0)
	m.u64(2)
	m.u8(0)
	m.u8(0)
	m.mark("constant")
	m.u64(3)
	m.u8(0)
	m.u8(1)
	m.mark("constant type")
	m.typ(graph.Float32, 2)
	m.mark("constant data")
	m.u64(7)
	op("sort", 4, "ArgPartition", 1)
	m.i32(3, 1)
	m.u64(0)
	m.mark("sort.type")
	m.typ(graph.Uint32, 4, 6)
	op("reduce", 5, "Reduce", 2)
	m.i32(2)
	m.mark("reduce.axes")
	m.u64(1)
	m.i32(1)
	m.u64(0)
	m.typ(graph.Float32, 4, 1)
	op("split", 6, "Split", 1)
	m.u64(1)
	m.i32(2)
	m.i32(0)
	m.mark("split.siblings")
	m.u64(1, 2)
	m.mark("split.ids")
	m.u64(6, 7)
	m.mark("split.shapes")
	m.u64(2, 2)
	m.mark("split.dims")
	m.i32(2, 6)
	m.u64(2)
	m.i32(2, 6)
	m.mark("split.dtypes")
	m.u64(2)
	m.dtype(graph.Float32)
	m.dtype(graph.Float32)
	op("kernel", 9, "CustomKernel", 5, 3)
	m.text("k")
	m.text("source")
	m.i32(1, 1, 1, 1, 1, 1)
	m.mark("kernel.shapes")
	m.u64(2)
	m.data = append(m.data, 1, 0, 0, 0, 0, 0, 1) // shape infos, row_contiguous
	m.mark("kernel.init")
	m.u8(1)
	m.i32(int32(math.Float32bits(0.5)))
	m.mark("kernel.scalars")
	m.u64(3)
	m.mark("kernel.tag")
	m.i32(0, 7, 1, 0, 2)
	m.mark("kernel.flag")
	m.u8(1)
	m.u8(0)
	m.i32(0)
	m.mark("kernel.math")
	m.i32(0)
	m.u64(0)
	m.typ(graph.Float32, 4)
	m.mark("end")
	return m
}

func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
func le32(v int32) []byte  { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

func TestHostile(t *testing.T) {
	huge := le64(1 << 62)
	for _, c := range []struct {
		what   string
		mark   string
		plus   int
		patch  []byte
		code   string
		at     string // where the error must point: a mark
		atPlus int
		say    string
	}{
		{"an unknown version", "functions", -6, []byte("9"), "version", "functions", -14, `"9.32.2"`},
		{"a negative function count", "functions", 0, le32(-1), "count", "functions", 0, "-1 functions"},
		{"more functions than bytes", "functions", 0, le32(1 << 30), "count", "functions", 0, "functions"},
		{"a second function", "functions", 0, le32(2), "truncated", "end", 0, "keyword names"},
		{"no function", "functions", 0, le32(0), "trailing", "kwargs", 0, "follow"},
		{"shapeless 2", "shapeless", 0, []byte{2}, "bool", "shapeless", 0, "is 2"},
		{"long metadata", "metadata", 0, huge, "count", "metadata", 0, "metadata"},
		{"many keywords", "kwargs", 0, huge, "count", "kwargs", 0, "keyword names"},
		{"many input ids", "input ids", 0, huge, "count", "input ids", 0, "input ids"},
		{"a duplicate input id", "input ids", 16, le64(1), "duplicate-id", "input ids", 16, "two inputs"},
		{"fewer input types", "input types", 0, le64(1), "inputs", "input types", 0, "2 input ids, but 1"},
		{"an unknown dtype", "x", 16, le32(14), "dtype", "x", 16, "14"},
		{"a negative dtype", "x", 16, le32(-1), "dtype", "x", 16, "-1"},
		{"a wrong element size", "x", 20, []byte{2}, "dtype", "x", 16, "4 bytes, not 2"},
		{"a negative dimension", "x", 12, le32(-6), "shape", "x", 12, "dimension 1 is -6"},
		{"an unknown output", "outputs", 16, le64(77), "unknown-id", "outputs", 16, "output 1"},
		{"many outputs", "outputs", 0, huge, "count", "outputs", 0, "output ids"},
		{"a long tape", "tape", 0, huge, "count", "tape", 0, "tape entries"},
		{"a short tape", "tape", 0, le64(6), "unknown-id", "outputs", 16, "nothing defines"},
		{"a flag of 3", "input entry", 8, []byte{3}, "bool", "input entry", 8, "primitive flag"},
		{"a tape input that is none", "input entry", 0, le64(9), "unknown-id", "input entry", 0, "no input"},
		{"an input twice on the tape", "input entry", 0, le64(2), "duplicate-id", "input entry", 10, "earlier entry"},
		{"a constant with an input's id", "constant", 0, le64(1), "duplicate-id", "constant", 0, "already"},
		{"a constant that is too long", "constant type", 8, le32(1 << 20), "truncated", "constant data", 0, "float32[1048576]"},
		{"an operation with an input's id", "sort", 0, le64(1), "duplicate-id", "sort", 0, "already"},
		{"an operation that uses itself", "sort.inputs", 0, le64(4), "order", "sort.inputs", 0, "only later, by entry 3"},
		{"an operation that uses a later one", "sort.inputs", 0, le64(7), "order", "sort.inputs", 0, "by entry 5"},
		{"an operation that uses nothing", "sort.inputs", 0, le64(55), "unknown-id", "sort.inputs", 0, "nothing defines"},
		{"a device type of 2", "sort.stream", 4, le32(2), "stream", "sort.stream", 4, "device type 2"},
		{"an unknown primitive", "sort.name", 8, []byte("X"), "primitive", "sort.name", 0, "XrgPartition"},
		{"a name longer than the file", "sort.name", 0, huge, "count", "sort.name", 0, "name"},
		{"an enumeration out of range", "reduce.state", 0, le32(6), "enum", "reduce.state", 0, "Reduce.type is 6"},
		{"a negative enumeration", "reduce.state", 0, le32(-1), "enum", "reduce.state", 0, "-1"},
		{"a state list that is too long", "reduce.axes", 0, huge, "count", "reduce.axes", 0, "Reduce.axes"},
		{"siblings without ids", "split.siblings", 0, le64(2), "outputs", "split.siblings", 0, "2 siblings, but 2"},
		{"no siblings, but ids", "split.siblings", 0, le64(0), "dtype", "split.siblings", 24, "not 0"},
		{"an entry that is none of its outputs", "split.ids", 0, le64(8), "outputs", "split", 0, "none of its outputs"},
		{"an output twice", "split.ids", 8, le64(6), "duplicate-id", "split", 0, "already"},
		{"more shapes than ids", "split.shapes", 0, le64(3), "outputs", "split.shapes", 0, "3 shapes"},
		{"a negative output dimension", "split.dims", 4, le32(math.MinInt32), "shape", "split.dims", 4, "dimension 1"},
		{"fewer dtypes than ids", "split.dtypes", 0, le64(1), "outputs", "split.dtypes", 0, "1 dtypes"},
		{"a shape flag of 5", "kernel.shapes", 9, []byte{5}, "bool", "kernel.shapes", 9, "shape_infos"},
		{"an option flag of 255", "kernel.init", 0, []byte{255}, "bool", "kernel.init", 0, "init_value"},
		{"an unknown variant", "kernel.tag", 0, le32(3), "variant", "kernel.tag", 0, "kind 3"},
		{"a negative variant", "kernel.tag", 0, le32(-1), "variant", "kernel.tag", 0, "kind -1"},
		{"a variant bool of 9", "kernel.flag", 0, []byte{9}, "bool", "kernel.flag", 0, "9"},
		{"many scalars", "kernel.scalars", 0, huge, "count", "kernel.scalars", 0, "scalar_arguments"},
		{"a math mode of 3", "kernel.math", 0, le32(3), "enum", "kernel.math", 0, "3"},
	} {
		m := valid()
		copy(m.data[m.marks[c.mark]+c.plus:], c.patch)
		_, err := Read("f.mlxfn", m.data)
		got, at := code(err)
		if want := int64(m.marks[c.at] + c.atPlus); got != "mlxfn/"+c.code || at != want {
			t.Errorf("%s: want %s at %d, got %s at %d (%v)", c.what, c.code, want, got, at, err)
		} else if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %q does not say %q", c.what, err, c.say)
		}
	}
	if _, err := Read("f.mlxfn", valid().data); err != nil {
		t.Errorf("the file that the cases break: %v", err)
	}
	if _, err := Read("f.mlxfn", append(valid().data, 0)); err == nil {
		t.Error("a trailing byte")
	} else if c, at := code(err); c != "mlxfn/trailing" || at != int64(valid().marks["end"]) {
		t.Errorf("a trailing byte: %v", err)
	}
}

// What a patch cannot say: other shapes of the file.
func TestHostileFunctions(t *testing.T) {
	x := Value{1, TypeInfo{[]int{4}, graph.Float32}}
	y := Value{2, x.Type}
	neg := Entry{ID: 2, Primitive: "Negative", Inputs: []uint64{1}, Outputs: []Value{y}}
	base := func() *File {
		return &File{Version: "0.32.2", Functions: []Function{{Inputs: []Value{x}, Outputs: []uint64{2},
			Tape: []Entry{{Kind: Input, ID: 1, Outputs: []Value{x}}, neg}}}}
	}
	// The writer refuses all of these too, so the bytes come from a writer that
	// checks nothing.
	for _, c := range []struct {
		what, code string
		edit       func(f *File, fn *Function)
	}{
		{"unsorted keywords", "kwargs", func(f *File, fn *Function) {
			fn.Inputs = []Value{x, {3, x.Type}, {4, x.Type}}
			fn.Kwargs = []string{"b", "a"}
		}},
		{"the same keyword twice", "kwargs", func(f *File, fn *Function) {
			fn.Inputs = []Value{x, {3, x.Type}, {4, x.Type}}
			fn.Kwargs = []string{"a", "a"}
		}},
		{"more keywords than inputs", "inputs", func(f *File, fn *Function) { fn.Kwargs = []string{"a", "b"} }},
		{"a binary operation with one input", "inputs", func(f *File, fn *Function) { fn.Tape[1].Primitive = "Add" }},
		{"two outputs of an operation that has one", "outputs", func(f *File, fn *Function) {
			fn.Tape[1].Outputs = []Value{y, {5, x.Type}}
		}},
		{"one output of DivMod", "outputs", func(f *File, fn *Function) {
			fn.Tape[1].Primitive, fn.Tape[1].Inputs = "DivMod", []uint64{1, 1}
		}},
		{"a size over 64 bits", "overflow", func(f *File, fn *Function) {
			fn.Tape[1].Outputs = []Value{{2, TypeInfo{[]int{1 << 30, 1 << 30, 1 << 30}, graph.Float32}}}
		}},
		{"a size that wraps to something small", "overflow", func(f *File, fn *Function) {
			fn.Inputs[0].Type.Shape = []int{1 << 30, 1 << 30, 4, 1 << 16}
		}},
		{"a constant of 2^62 bytes", "truncated", func(f *File, fn *Function) {
			fn.Tape = append(fn.Tape, Entry{Kind: Constant, ID: 8, Outputs: []Value{{8, TypeInfo{[]int{1 << 30, 1 << 30}, graph.Float32}}}})
		}},
		{"a primitive of a later release", "primitive", func(f *File, fn *Function) {
			fn.Tape[1].Primitive, fn.Tape[1].Inputs = "FloorDivide", []uint64{1, 1}
		}},
		{"a size field over 63 bits", "size", func(f *File, fn *Function) {
			fn.Tape[1].Primitive = "AsStrided"
			fn.Tape[1].State = []Field{{"shape", []int{4}}, {"strides", []int{1}}, {"offset", math.MinInt}}
		}},
	} {
		f := base()
		c.edit(f, &f.Functions[0])
		data := rawWrite(t, f)
		_, err := Read("f", data)
		if got, at := code(err); got != "mlxfn/"+c.code || at <= 0 || at > int64(len(data)) {
			t.Errorf("%s: want %s, got %s at %d (%v)", c.what, c.code, got, at, err)
		}
		if Write(&bytes.Buffer{}, f) == nil {
			t.Errorf("%s: the writer accepts it", c.what)
		}
	}
	mustRead(t, "f", rawWrite(t, base()))

	// MLX refers to a constant of an earlier function without its bytes.
	two := base()
	two.Functions[0].Tape = append(two.Functions[0].Tape, Entry{Kind: Constant, ID: 8, Outputs: []Value{{8, x.Type}}, Data: make([]byte, 16)})
	two.Functions = append(two.Functions, two.Functions[0])
	got := mustRead(t, "f", mustWrite(t, two))
	if len(got.Functions[1].Tape[2].Data) != 16 {
		t.Error("the second use of a constant has no data")
	}
}

func TestEveryTruncation(t *testing.T) {
	for name, data := range goldens(t) {
		step := 1 + len(data)/1000 // reading is linear, so all this is quadratic
		for n := 0; n < len(data); n += step {
			_, err := Read(name, data[:n])
			if _, at := code(err); err == nil || at < 0 || at > int64(n) {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
		}
	}
}

// Every byte of every file, changed in four ways: refused at an offset in the file,
// or read as what it now says, so that writing gives the same bytes.
func TestEveryByte(t *testing.T) {
	for name, data := range goldens(t) {
		if !strings.HasSuffix(name, "-0.32.2.mlxfn") && !strings.HasSuffix(name, "-0.31.2.mlxfn") {
			continue
		}
		step := 1
		if strings.HasPrefix(name, "qwen3") {
			step = 61
		}
		accepted := 0
		bad := bytes.Clone(data)
		for at := 0; at < len(data); at += step {
			for _, v := range []byte{data[at] ^ 0xff, data[at] + 1, data[at] - 1, data[at] ^ 0x80} {
				bad[at] = v
				if checkAnything(t, bad) {
					accepted++
				}
			}
			bad[at] = data[at]
		}
		if accepted == 0 {
			t.Errorf("%s: no mutant was accepted, not even in constants", name)
		}
	}
}

// checkAnything is what must hold for any bytes. It reports whether they are a file.
func checkAnything(t *testing.T, data []byte) bool {
	f, err := Read("f", data)
	if err != nil {
		if c, at := code(err); !strings.HasPrefix(c, "mlxfn/") || at < 0 || at > int64(len(data)) {
			t.Fatalf("%v: code %q, offset %d of %d", err, c, at, len(data))
		}
		return false
	}
	if got := mustWrite(t, f); !bytes.Equal(got, data) {
		t.Fatalf("read, but written again it is other bytes")
	}
	return true
}

func FuzzRead(f *testing.F) {
	for name, data := range goldens(f) {
		if strings.HasSuffix(name, "-0.32.2.mlxfn") {
			f.Add(data)
		}
	}
	for name, file := range probes(f, "0.32.4") {
		if strings.HasPrefix(name, "CustomKernel") || strings.HasPrefix(name, "S") {
			f.Add(file.Data)
		}
	}
	f.Add(valid().data)
	f.Fuzz(func(t *testing.T, data []byte) {
		ok := false
		if n, limit := allocated(func() { ok = checkAnything(t, data) }), uint64(64*len(data)+16<<20); n > limit {
			t.Errorf("%d bytes allocated for %d", n, len(data))
		}
		if ok {
			again, _ := Read("f", data)
			if dump(t, again) == "" {
				t.Error("an empty dump")
			}
		}
	})
}
