package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

const reference = "testdata/reference.safetensors"

func read(t testing.TB, x *weights.Tensor) []byte {
	t.Helper()
	b := make([]byte, x.NumBytes())
	if err := x.ReadInto(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// Tensors of the reference implementation, as scripts/oracle/safetensors_goldens.py
// numbered them.
func TestReference(t *testing.T) {
	s, meta, err := Open(reference)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if fmt.Sprint(meta) != "map[format:mlx]" || s.Len() != 17 {
		t.Errorf("metadata %v, %d tensors", meta, s.Len())
	}
	for k, name := range []string{"bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32",
		"float32", "complex64", "float64", "int64", "uint64", "scalar", "empty", `é "<&>"\`} {
		dtype, shape := graph.Uint8, []int{5}
		switch {
		case name == "scalar":
			dtype, shape = graph.Float32, []int{}
		case name == "empty":
			dtype, shape = graph.Float16, []int{0, 3}
		case k < 14:
			dtype, _ = graph.ParseDType(name)
			name, shape = "t."+name, []int{2, 3}
		}
		x := s.Get(name)
		if x == nil || x.DType != dtype || !slices.Equal(x.Shape, shape) {
			t.Errorf("%s is %+v", name, x)
			continue
		}
		b := read(t, x)
		for i, got := range b {
			want := byte((7*i + k) % 251)
			if dtype == graph.Bool {
				want = byte(i % 2)
			}
			if got != want {
				t.Fatalf("byte %d of %s is %d, want %d", i, name, got, want)
			}
		}
		if raw, ok := x.Bytes(); ok && !bytes.Equal(raw, b) {
			t.Errorf("%s: Bytes and ReadInto differ", name)
		}
	}
}

// What we write is byte for byte what the reference implementation writes.
func TestWrite(t *testing.T) {
	s, meta, err := Open(reference)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(t.TempDir(), "out.safetensors")
	// In another order, so that sorting is tested.
	all := slices.Collect(s.All())
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if err := Write(path, slices.Values(all), meta); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("wrote %q\nwant  %q", got, want)
	}
}

func one(x *weights.Tensor) iter.Seq[*weights.Tensor] { return slices.Values([]*weights.Tensor{x}) }

func uint8s(t testing.TB, name string, n int) *weights.Tensor {
	t.Helper()
	x, err := weights.New(name, graph.Uint8, []int{n}, weights.Raw(make([]byte, n)))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestWriteEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(path, func(func(*weights.Tensor) bool) {}, nil); err != nil {
		t.Fatal(err)
	}
	if s, _, err := Open(path); err != nil || s.Len() != 0 {
		t.Error(err)
	}
}

// A write that fails half-way leaves the old file and nothing else.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	if err := Write(path, one(uint8s(t, "old", 3)), nil); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	gone := weights.Memory("gone", nil)
	broken, err := weights.New("z", graph.Uint8, []int{3}, weights.Raw(make([]byte, 3)), gone)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, tensors := range map[string][]*weights.Tensor{
		"unreadable": {uint8s(t, "a", 3<<20), broken},
		"twice":      {uint8s(t, "a", 3), uint8s(t, "a", 3)},
		"reserved":   {uint8s(t, "__metadata__", 3)},
		"no text":    {uint8s(t, "\xff", 3)},
	} {
		err := Write(path, slices.Values(tensors), nil)
		if err == nil || !strings.Contains(err.Error(), "safetensors/write") {
			t.Errorf("%s: error %v", name, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: the old file is gone", name)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("files left behind: %v", entries)
	}
}

// raw makes a file of a header and n bytes of data.
func raw(header string, n int) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), []byte(header), make([]byte, n))
}

func info(dtype, shape string, begin, end int) string {
	return fmt.Sprintf(`{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, dtype, shape, begin, end)
}

var hostile = []struct {
	name, code string
	data       []byte
}{
	{"empty", "safetensors/truncated", nil},
	{"7 bytes", "safetensors/truncated", make([]byte, 7)},
	{"header of 0", "safetensors/header", make([]byte, 16)},
	{"header over the file", "safetensors/truncated", raw("{}", 0)[:9]},
	{"header of 2^64-1", "safetensors/header", bytes.Repeat([]byte{0xff}, 16)},
	{"header over the limit", "safetensors/header", binary.LittleEndian.AppendUint64(nil, 100_000_001)},
	{"no brace", "safetensors/header", raw(" {}", 0)},
	{"list", "safetensors/header", raw("[]", 0)},
	{"cut JSON", "safetensors/header", raw(`{"a":`, 0)},
	{"trailing comma", "safetensors/header", raw(`{"a":`+info("U8", "[1]", 0, 1)+`,}`, 1)},
	{"two objects", "safetensors/header", raw(`{}{}`, 0)},
	{"junk behind", "safetensors/header", raw(`{} x`, 0)},
	{"not UTF-8", "safetensors/header", raw("{\"\xff\":"+info("U8", "[1]", 0, 1)+"}", 1)},
	{"tensor is a number", "safetensors/header", raw(`{"a":1}`, 0)},
	{"tensor is null", "safetensors/header", raw(`{"a":null}`, 0)},
	{"tensor is a list", "safetensors/header", raw(`{"a":[]}`, 0)},
	{"no keys", "safetensors/header", raw(`{"a":{}}`, 0)},
	{"unknown key", "safetensors/header", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1)},
	{"no shape", "safetensors/header", raw(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1)},
	{"no dtype", "safetensors/header", raw(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1)},
	{"dtype is a number", "safetensors/header", raw(`{"a":{"dtype":1,"shape":[1],"data_offsets":[0,1]}}`, 1)},
	{"float8", "safetensors/dtype", raw(`{"a":`+info("F8_E4M3", "[1]", 0, 1)+`}`, 1)},
	{"dtype in lower case", "safetensors/dtype", raw(`{"a":`+info("u8", "[1]", 0, 1)+`}`, 1)},
	{"one offset", "safetensors/header", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1)},
	{"three offsets", "safetensors/header", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, 1)},
	{"dimension -1", "safetensors/header", raw(`{"a":`+info("U8", "[-1]", 0, 1)+`}`, 1)},
	{"dimension 1.0", "safetensors/header", raw(`{"a":`+info("U8", "[1.0]", 0, 1)+`}`, 1)},
	{"dimension 1e0", "safetensors/header", raw(`{"a":`+info("U8", "[1e0]", 0, 1)+`}`, 1)},
	{"dimension 01", "safetensors/header", raw(`{"a":`+info("U8", "[01]", 0, 1)+`}`, 1)},
	{"control character", "safetensors/header", raw("{\"a\n\":"+info("U8", "[1]", 0, 1)+"}", 1)},
	{"unknown escape", "safetensors/header", raw(`{"\x":`+info("U8", "[1]", 0, 1)+`}`, 1)},
	{"dimension in text", "safetensors/header", raw(`{"a":`+info("U8", `["1"]`, 0, 1)+`}`, 1)},
	{"dimension 2^64", "safetensors/header", raw(`{"a":`+info("U8", "[18446744073709551616]", 0, 1)+`}`, 1)},
	{"product 2^64", "safetensors/shape", raw(`{"a":`+info("U8", "[4294967296,4294967296]", 0, 0)+`}`, 0)},
	{"product 2^64 by the element", "safetensors/shape", raw(`{"a":`+info("F32", "[4611686018427387904]", 0, 0)+`}`, 0)},
	{"overflow beside a zero", "safetensors/shape", raw(`{"a":`+info("U8", "[4294967296,4294967296,0]", 0, 0)+`}`, 0)},
	{"fewer bytes than elements", "safetensors/shape", raw(`{"a":`+info("F32", "[2]", 0, 7)+`}`, 7)},
	{"offsets backwards", "safetensors/shape", raw(`{"a":`+info("U8", "[1]", 1, 0)+`}`, 1)},
	{"past the end", "safetensors/truncated", raw(`{"a":`+info("U8", "[2]", 0, 2)+`}`, 1)},
	{"bytes left over", "safetensors/gap", raw(`{"a":`+info("U8", "[1]", 0, 1)+`}`, 2)},
	{"not from the start", "safetensors/gap", raw(`{"a":`+info("U8", "[1]", 1, 2)+`}`, 2)},
	{"hole", "safetensors/gap", raw(`{"a":`+info("U8", "[1]", 0, 1)+`,"b":`+info("U8", "[1]", 2, 3)+`}`, 3)},
	{"overlap", "safetensors/overlap", raw(`{"a":`+info("U8", "[2]", 0, 2)+`,"b":`+info("U8", "[2]", 1, 3)+`}`, 3)},
	{"same data", "safetensors/overlap", raw(`{"a":`+info("U8", "[1]", 0, 1)+`,"b":`+info("U8", "[1]", 0, 1)+`}`, 1)},
	{"empty tensor inside another", "safetensors/overlap", raw(`{"a":`+info("U8", "[2]", 0, 2)+`,"b":`+info("U8", "[0]", 1, 1)+`}`, 2)},
	{"name twice", "safetensors/duplicate", raw(`{"a":`+info("U8", "[1]", 0, 1)+`,"a":`+info("U8", "[1]", 1, 2)+`}`, 2)},
	{"name twice, escaped", "safetensors/duplicate", raw(`{"a":`+info("U8", "[1]", 0, 1)+`,"\u0061":`+info("U8", "[1]", 1, 2)+`}`, 2)},
	{"key twice", "safetensors/duplicate", raw(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1)},
	{"shape twice", "safetensors/duplicate", raw(`{"a":{"dtype":"U8","shape":[],"shape":[],"data_offsets":[0,1]}}`, 1)},
	{"metadata twice", "safetensors/duplicate", raw(`{"__metadata__":{},"__metadata__":{}}`, 0)},
	{"metadata key twice", "safetensors/duplicate", raw(`{"__metadata__":{"a":"","a":""}}`, 0)},
	{"metadata null twice", "safetensors/duplicate", raw(`{"__metadata__":null,"__metadata__":null}`, 0)},
	{"metadata nul", "safetensors/header", raw(`{"__metadata__":nul}`, 0)},
	{"tensor null", "safetensors/header", raw(`{"a":null}`, 0)},
	{"metadata not text", "safetensors/header", raw(`{"__metadata__":{"a":1}}`, 0)},
	{"metadata a tensor", "safetensors/header", raw(`{"__metadata__":`+info("U8", "[1]", 0, 1)+`}`, 1)},
	{"65 dimensions", "safetensors/header", raw(`{"a":`+info("U8", "[1"+strings.Repeat(",1", 64)+"]", 0, 1)+`}`, 1)},
	{"deep", "safetensors/header", raw(`{"a":`+strings.Repeat("[", 1<<16), 0)},
	{"deep in shape", "safetensors/header", raw(`{"a":{"shape":`+strings.Repeat("[", 1<<16), 0)},
}

func TestHostile(t *testing.T) {
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse("x.safetensors", tt.data)
			var i *diag.Issue
			if !errors.As(err, &i) || i.Code != tt.code || !i.Pos.HasOffset || i.Pos.Offset < 0 || i.Pos.Offset > int64(len(tt.data)) {
				t.Errorf("error %v, want %s and an offset in %d bytes", err, tt.code, len(tt.data))
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, _, err := Parse("x", whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for a file", n, len(whole))
		}
	}
}

// checkBounded fails if reading allocates more than 64 bytes a byte and 16 MiB,
// or gives an error without a code.
func checkBounded(t testing.TB, data []byte) {
	t.Helper()
	limit := 64*uint64(len(data)) + 16<<20
	var err error
	used := uint64(0)
	for range 3 { // TotalAlloc counts all goroutines: measure an excess again
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var s *weights.Store
		if s, _, err = Parse("fuzz", data); err == nil {
			for x := range s.All() {
				read(t, x)
			}
		}
		runtime.ReadMemStats(&after)
		if used = after.TotalAlloc - before.TotalAlloc; used <= limit {
			break
		}
	}
	if used > limit {
		t.Errorf("%d bytes allocated for a file of %d, limit %d", used, len(data), limit)
	}
	if i := (*diag.Issue)(nil); err != nil && (!errors.As(err, &i) || i.Code == "") {
		t.Errorf("an error without a code: %v", err)
	}
}

func FuzzSafetensors(f *testing.F) {
	for _, h := range hostile {
		if len(h.data) < 1000 {
			f.Add(h.data)
		}
	}
	b, err := os.ReadFile(reference)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(raw(`{"a":`+info("U8", "[1]", 0, 1)+`,"b":`+info("I16", "[2]", 1, 5)+`}  `, 5))
	f.Fuzz(func(t *testing.T, data []byte) { checkBounded(t, data) })
}

// The headers that cost most for their size.
func TestAllocation(t *testing.T) {
	var tensors, meta, same strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&tensors, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
		fmt.Fprintf(&meta, `,"%d":""`, i)
		same.WriteString(`,"":""`)
	}
	for name, header := range map[string]string{
		"tensors":    "{" + tensors.String()[1:] + "}",
		"metadata":   `{"__metadata__":{` + meta.String()[1:] + "}}",
		"dimensions": `{"a":{"shape":[` + strings.Repeat("0,", 1<<20) + `0],"dtype":"U8","data_offsets":[0,0]}}`,
		"brackets":   `{"a":` + strings.Repeat("[", 1<<21),
		"quotes":     `{"` + strings.Repeat(`\"`, 1<<20),
		"spaces":     "{}" + strings.Repeat(" ", 1<<21),
	} {
		t.Run(name, func(t *testing.T) { checkBounded(t, raw(header, 0)) })
	}
}

// 18,867 tensors are those of Qwen3-30B-A3B as published, in one header.
func BenchmarkOpen(b *testing.B) {
	var h strings.Builder
	for i := range 18867 {
		fmt.Fprintf(&h, `,"model.layers.%d.mlp.experts.%d.up_proj.weight":%s`, i/400, i%400, info("BF16", "[1,1]", 2*i, 2*i+2))
	}
	data := raw("{"+h.String()[1:]+"}", 2*18867)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := Parse("x", data); err != nil {
			b.Fatal(err)
		}
	}
}
