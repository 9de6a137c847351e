package mlxfn

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// rawWrite writes f without the checks of Write.
func rawWrite(t *testing.T, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	e := encoder{w: w, layout: newestWith(layoutOf(f.Version)), stored: map[uint64]bool{}}
	e.file(f)
	w.Flush()
	return b.Bytes()
}

// newestWith lets a release write primitives that came later.
func newestWith(l *layout) *layout {
	mixed := *l
	mixed.rows = map[string]*Primitive{}
	for name, row := range newest().rows {
		mixed.rows[name] = row
	}
	for name, row := range l.rows {
		mixed.rows[name] = row
	}
	return &mixed
}

func oneNode(version string, e Entry) *File {
	x := Value{1, TypeInfo{[]int{1, 2, 3, 8}, graph.Float32}}
	fn := Function{Inputs: []Value{x}, Outputs: []uint64{9}}
	for range 5 - len(e.Inputs) {
		e.Inputs = append(e.Inputs, 1)
	}
	e.Inputs = e.Inputs[:max(table[e.Primitive].In.Min, 1)]
	e.ID, e.Outputs = 9, []Value{{9, x.Type}}
	fn.Tape = []Entry{{Kind: Input, ID: 1, Outputs: []Value{x}}, e}
	return &File{Version: version, Functions: []Function{fn}}
}

// A state says what it means in every release that can say it.
func TestStateOverReleases(t *testing.T) {
	sdpa := func(state ...Field) Entry {
		return Entry{Primitive: "ScaledDotProductAttention", State: append([]Field{
			{"output_logsumexp", false}, {"scale", float32(0.5)}, {"has_sinks", false}, {"do_causal", true}}, state...)}
	}
	for _, c := range []struct {
		version string
		entry   Entry
		code    string
	}{
		{"0.32.2", sdpa(Field{"force_fused", true}), ""},
		{"0.32.2", sdpa(), ""}, // absent means false
		{"0.32.1", sdpa(Field{"force_fused", false}), ""},
		{"0.32.1", sdpa(Field{"force_fused", true}), "mlxfn/state"},
		{"0.31.2", sdpa(), ""},
		{"0.32.2", sdpa(Field{"scale", float32(1)}), "mlxfn/state"}, // twice
		{"0.32.2", sdpa(Field{"nonsense", 1}), "mlxfn/state"},
		{"0.32.2", Entry{Primitive: "RMSNorm"}, "mlxfn/state"},
		{"0.32.2", Entry{Primitive: "RMSNorm", State: []Field{{"eps", 1e-5}}}, "mlxfn/state"}, // a float64
		{"0.32.2", Entry{Primitive: "RMSNorm", State: []Field{{"eps", float32(1e-5)}}}, ""},
		{"0.32.2", Entry{Primitive: "Softmax", State: []Field{{"precise", 1}}}, "mlxfn/state"},
		{"0.32.2", Entry{Primitive: "ArgSort", State: []Field{{"axis", math.MaxInt32 + 1}}}, "mlxfn/state"},
		{"0.32.2", Entry{Primitive: "Reduce", State: []Field{{"type", "Sum"}, {"axes", []int{0}}}}, ""},
		{"0.32.2", Entry{Primitive: "Reduce", State: []Field{{"type", "Mean"}, {"axes", []int{0}}}}, "mlxfn/state"},
		{"0.32.2", Entry{Primitive: "Reduce", State: []Field{{"type", "Sum"}, {"axes", []int{math.MinInt32 - 1}}}}, "mlxfn/state"},
		{"0.32.2", Entry{Primitive: "View", State: []Field{{"dtype", graph.NoDType}}}, "mlxfn/state"},
		{"0.32.3", Entry{Primitive: "FloorDivide"}, "mlxfn/primitive"},
		{"0.32.4", Entry{Primitive: "FloorDivide"}, ""},
		{"0.32.0", Entry{Primitive: "SearchSorted", State: []Field{{"right", true}}}, "mlxfn/primitive"},
		{"0.33.0", Entry{Primitive: "Abs"}, "mlxfn/version"},
		{"0.32.2.dev20260101+abc", Entry{Primitive: "Abs"}, "mlxfn/version"},
	} {
		f := oneNode(c.version, c.entry)
		var b bytes.Buffer
		err := Write(&b, f)
		if got, _ := code(err); got != c.code {
			t.Errorf("%s %s %v: want %q, got %v", c.version, c.entry.Primitive, c.entry.State, c.code, err)
		}
		if err != nil {
			if b.Len() > 0 {
				t.Errorf("%d bytes were written before the error %v", b.Len(), err)
			}
			continue
		}
		e := &mustRead(t, "f", b.Bytes()).Functions[0].Tape[1]
		for _, want := range c.entry.State {
			if got, ok := e.Lookup(want.Name); !ok || !sameValue(got, want.Value) {
				t.Errorf("%s %s.%s: wrote %v, read %v", c.version, c.entry.Primitive, want.Name, want.Value, got)
			}
		}
		if c.entry.Primitive == "ScaledDotProductAttention" && c.version != "0.32.2" && Get[bool](e, "force_fused") {
			t.Errorf("%s: force_fused is not false", c.version)
		}
	}
}

func TestFloatsKeepTheirBits(t *testing.T) {
	for _, bits := range []uint32{0x7fc00001, 0x7f800001, 0xffffffff, 0x80000000, 0x00000001} {
		f := oneNode("0.32.2", Entry{Primitive: "RMSNorm", State: []Field{{"eps", math.Float32frombits(bits)}}})
		data := mustWrite(t, f)
		e := &mustRead(t, "f", data).Functions[0].Tape[1]
		if got := math.Float32bits(Get[float32](e, "eps")); got != bits {
			t.Errorf("%#x became %#x", bits, got)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	data := goldens(t)["traces-0.32.2.mlxfn"]
	for _, c := range []struct {
		what, code string
		edit       func(f *File)
	}{
		{"metadata in an old file", "mlxfn/metadata", func(f *File) { f.Version = "0.32.0" }},
		{"a constant that is too short", "mlxfn/constant", func(f *File) {
			e := constant(&f.Functions[0])
			e.Data = e.Data[1:]
		}},
		{"two versions of one constant", "mlxfn/constant", func(f *File) {
			e := constant(&f.Functions[1])
			e.Data = append(bytes.Clone(e.Data[1:]), 1)
		}},
		{"no dtype", "mlxfn/dtype", func(f *File) { f.Functions[0].Inputs[0].Type.DType = graph.NoDType }},
		{"a negative dimension", "mlxfn/shape", func(f *File) { f.Functions[0].Inputs[0].Type.Shape[0] = -1 }},
		{"an unknown kind", "mlxfn/entry", func(f *File) { f.Functions[0].Tape[1].Kind = 9 }},
		{"a removed entry", "mlxfn/unknown-id", func(f *File) { f.Functions[0].Tape = f.Functions[0].Tape[:2] }},
		{"a swapped entry", "mlxfn/order", func(f *File) {
			tape := f.Functions[0].Tape
			tape[3], tape[1] = tape[1], tape[3]
		}},
	} {
		f := mustRead(t, "f", data)
		c.edit(f)
		var b bytes.Buffer
		if got, _ := code(Write(&b, f)); got != c.code || b.Len() > 0 {
			t.Errorf("%s: want %s, got %s and %d bytes", c.what, c.code, got, b.Len())
		}
	}
}

func constant(fn *Function) *Entry {
	for k := range fn.Tape {
		if fn.Tape[k].Kind == Constant {
			return &fn.Tape[k]
		}
	}
	return nil
}

// Without the first trace, the second must bring the shared constants itself.
func TestFunctionsCanBeDropped(t *testing.T) {
	f := mustRead(t, "f", goldens(t)["traces-0.32.2.mlxfn"])
	last := f.Functions[1]
	f.Functions = f.Functions[1:2]
	got := mustRead(t, "f", mustWrite(t, f))
	if a, b := constant(&got.Functions[0]), constant(&last); !bytes.Equal(a.Data, b.Data) || len(a.Data) == 0 {
		t.Errorf("constant of %d bytes, want %d", len(a.Data), len(b.Data))
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.mlxfn")
	data := goldens(t)["traces-0.32.2.mlxfn"]
	f := mustRead(t, "f", data)
	if err := WriteFile(path, f); err != nil {
		t.Fatal(err)
	}
	f.Functions[0].Tape[1].Kind = 9
	if err := WriteFile(path, f); err == nil {
		t.Error("a broken file was written")
	}
	again, err := ReadFile(path)
	if err != nil || dump(t, again) != dump(t, mustRead(t, "f", data)) {
		t.Errorf("the file was not left as it was: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files left", len(files))
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing file: %v", err)
	}
}
