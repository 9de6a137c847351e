package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
)

// lazy is a source that has no bytes to give without a copy, like GGUF blocks.
type lazy struct{ data []byte }

func (lazy) Bytes() []byte                { return nil }
func (l lazy) ReadAt(dst []byte, off int) { copy(dst, l.data[off:off+len(dst)]) }

// iota16 makes a tensor of numbered uint16 elements, mapped or lazy.
func iota16(t *testing.T, name string, first int, isLazy bool, shape ...int) *Tensor {
	t.Helper()
	n, _ := NumBytes(graph.Uint16, shape)
	var b []byte
	for i := range n / 2 {
		b = binary.LittleEndian.AppendUint16(b, uint16(first+i))
	}
	var src Source = Raw(b)
	if isLazy {
		src = lazy{b}
	}
	x, err := New(name, graph.Uint16, shape, src, Memory(name, b))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func values(t *testing.T, x *Tensor) []int {
	t.Helper()
	b := make([]byte, x.NumBytes())
	if err := x.ReadInto(b); err != nil {
		t.Fatal(err)
	}
	if raw, ok := x.Bytes(); ok && !bytes.Equal(raw, b) {
		t.Errorf("%s: Bytes differs from ReadInto", x.Name)
	}
	out := make([]int, len(b)/2)
	for i := range out {
		out[i] = int(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// What NumPy prints for the same calls on arange arrays, flattened:
// a = arange(6).reshape(2,3), b = arange(10,14).reshape(2,2), c = arange(6,12).reshape(2,3),
// d = arange(24).reshape(2,3,4).
func TestDerive(t *testing.T) {
	for _, isLazy := range []bool{false, true} {
		a, b, c := iota16(t, "a", 0, isLazy, 2, 3), iota16(t, "b", 10, isLazy, 2, 2), iota16(t, "c", 6, isLazy, 2, 3)
		d := iota16(t, "d", 0, isLazy, 2, 3, 4)
		for _, tt := range []struct {
			name  string
			make  func() (*Tensor, error)
			shape []int
			want  []int
		}{
			{"concat 0", func() (*Tensor, error) { return Concat("x", 0, a, c) }, []int{4, 3}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
			{"concat -1", func() (*Tensor, error) { return Concat("x", -1, a, b) }, []int{2, 5}, []int{0, 1, 2, 10, 11, 3, 4, 5, 12, 13}},
			{"concat one", func() (*Tensor, error) { return Concat("x", 1, a) }, []int{2, 3}, []int{0, 1, 2, 3, 4, 5}},
			{"stack 0", func() (*Tensor, error) { return Stack("x", 0, a, c) }, []int{2, 2, 3}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
			{"stack 1", func() (*Tensor, error) { return Stack("x", 1, a, c) }, []int{2, 2, 3}, []int{0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11}},
			{"stack -1", func() (*Tensor, error) { return Stack("x", -1, a, c) }, []int{2, 3, 2}, []int{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11}},
			{"slice 0", func() (*Tensor, error) { return Slice("x", d, 0, 1, 2) }, []int{1, 3, 4}, []int{12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}},
			{"slice 1", func() (*Tensor, error) { return Slice("x", d, 1, 1, 3) }, []int{2, 2, 4}, []int{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}},
			{"slice -1", func() (*Tensor, error) { return Slice("x", d, -1, 2, 3) }, []int{2, 3, 1}, []int{2, 6, 10, 14, 18, 22}},
			{"slice nothing", func() (*Tensor, error) { return Slice("x", d, 1, 3, 3) }, []int{2, 0, 4}, []int{}},
			{"every", func() (*Tensor, error) { return Every("x", d, -2, 1, 2) }, []int{2, 1, 4}, []int{4, 5, 6, 7, 16, 17, 18, 19}},
			{"every from 0", func() (*Tensor, error) { return Every("x", d, 1, 0, 2) }, []int{2, 2, 4}, []int{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23}},
			{"every element", func() (*Tensor, error) { return Every("x", d, -1, 1, 3) }, []int{2, 3, 1}, []int{1, 5, 9, 13, 17, 21}},
			{"every beyond", func() (*Tensor, error) { return Every("x", d, 0, 3, 2) }, []int{0, 3, 4}, []int{}},
			{"transpose", func() (*Tensor, error) { return Transpose("x", a, -1, -2) }, []int{3, 2}, []int{0, 3, 1, 4, 2, 5}},
			{"permute", func() (*Tensor, error) { return Permute("x", d, 2, 0, 1) }, []int{4, 2, 3},
				[]int{0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23}},
			{"permute outer", func() (*Tensor, error) { return Permute("x", d, 1, 0, 2) }, []int{3, 2, 4},
				[]int{0, 1, 2, 3, 12, 13, 14, 15, 4, 5, 6, 7, 16, 17, 18, 19, 8, 9, 10, 11, 20, 21, 22, 23}},
			{"reshape", func() (*Tensor, error) { return Reshape("x", d, 6, -1) }, []int{6, 4}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}},
			{"split rope", func() (*Tensor, error) { return SplitRope(iota16(t, "q", 0, isLazy, 8, 2), 2) }, []int{8, 2}, []int{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}},
			{"split rope of a vector", func() (*Tensor, error) { return SplitRope(iota16(t, "q", 0, isLazy, 8), 1) }, []int{8}, []int{0, 2, 4, 6, 1, 3, 5, 7}},
		} {
			t.Run(fmt.Sprintf("%s lazy=%v", tt.name, isLazy), func(t *testing.T) {
				x, err := tt.make()
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(x.Shape, tt.shape) || !slices.Equal(values(t, x), tt.want) {
					t.Errorf("%v %v\nwant %v %v", x.Shape, values(t, x), tt.shape, tt.want)
				}
			})
		}
	}
}

func TestSplit(t *testing.T) {
	d := iota16(t, "d", 0, false, 2, 3)
	parts, err := Split(d, 1, 1, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(values(t, parts[0]), values(t, parts[1]), values(t, parts[2])); got != "[0 3] [] [1 2 4 5]" {
		t.Error(got)
	}
	// And joined again they are what they were.
	if x, err := Concat("x", 1, parts...); err != nil || !slices.Equal(values(t, x), values(t, d)) {
		t.Errorf("%v", err)
	}
}

// What NumPy prints for arange(8, dtype=uint16).reshape(2,4).view(uint32), and as bytes.
func TestViewAs(t *testing.T) {
	for _, isLazy := range []bool{false, true} {
		a := iota16(t, "a", 0, isLazy, 2, 4)
		for dtype, want := range map[graph.DType]string{
			graph.Uint32: "[2 2] [65536 196610 327684 458758]",
			graph.Uint8:  "[2 8] [0 0 1 0 2 0 3 0 4 0 5 0 6 0 7 0]",
		} {
			x, err := ViewAs("x", a, dtype)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, x.NumBytes())
			if err := x.ReadInto(b); err != nil {
				t.Fatal(err)
			}
			var list []float64
			for i := 0; i < len(b); i += dtype.Size() {
				list = append(list, graph.DecodeElem(dtype, b[i:]))
			}
			if got := fmt.Sprint(x.Shape, list); x.DType != dtype || got != want {
				t.Errorf("%v %s, want %s", x.DType, got, want)
			}
		}
	}
}

func TestDeriveErrors(t *testing.T) {
	a, b := iota16(t, "a", 0, false, 2, 3), iota16(t, "b", 0, false, 2, 4)
	f, err := New("f", graph.Float16, []int{2, 3}, Raw(make([]byte, 12)))
	if err != nil {
		t.Fatal(err)
	}
	first := func(_ []*Tensor, err error) (*Tensor, error) { return nil, err }
	for name, call := range map[string]func() (*Tensor, error){
		"concat nothing":         func() (*Tensor, error) { return Concat("x", 0) },
		"concat other dimension": func() (*Tensor, error) { return Concat("x", 0, a, b) },
		"concat other rank":      func() (*Tensor, error) { return Concat("x", 0, a, iota16(t, "c", 0, false, 6)) },
		"concat other dtype":     func() (*Tensor, error) { return Concat("x", 0, a, f) },
		"concat axis":            func() (*Tensor, error) { return Concat("x", 2, a, a) },
		"concat axis below":      func() (*Tensor, error) { return Concat("x", -3, a, a) },
		"stack other shape":      func() (*Tensor, error) { return Stack("x", 0, a, b) },
		"stack nothing":          func() (*Tensor, error) { return Stack("x", 0) },
		"slice over":             func() (*Tensor, error) { return Slice("x", a, 1, 0, 4) },
		"slice backwards":        func() (*Tensor, error) { return Slice("x", a, 1, 2, 1) },
		"every of nothing":       func() (*Tensor, error) { return Every("x", a, 0, 0, 0) },
		"every before":           func() (*Tensor, error) { return Every("x", a, 0, -1, 2) },
		"every axis":             func() (*Tensor, error) { return Every("x", a, 2, 0, 2) },
		"view of half":           func() (*Tensor, error) { return ViewAs("x", a, graph.Uint32) },
		"view of a scalar":       func() (*Tensor, error) { return ViewAs("x", iota16(t, "s", 0, false), graph.Uint8) },
		"view as nothing":        func() (*Tensor, error) { return ViewAs("x", a, graph.NoDType) },
		"split too little":       func() (*Tensor, error) { return first(Split(a, 1, 1, 1)) },
		"split too much":         func() (*Tensor, error) { return first(Split(a, 1, 1, 1<<62, 1<<62)) },
		"permute twice":          func() (*Tensor, error) { return Permute("x", a, 0, 0) },
		"permute few":            func() (*Tensor, error) { return Permute("x", a, 0) },
		"permute out":            func() (*Tensor, error) { return Permute("x", a, 0, 2) },
		"transpose out":          func() (*Tensor, error) { return Transpose("x", a, 0, 2) },
		"reshape other size":     func() (*Tensor, error) { return Reshape("x", a, 5) },
		"reshape unknown":        func() (*Tensor, error) { return Reshape("x", a, -1, 4) },
		"reshape two unknown":    func() (*Tensor, error) { return Reshape("x", a, -1, -1) },
		"reshape overflow":       func() (*Tensor, error) { return Reshape("x", a, 1<<62, 1<<62) },
		"rope odd":               func() (*Tensor, error) { return SplitRope(a, 2) },
		"rope no heads":          func() (*Tensor, error) { return SplitRope(a, 0) },
		"no array":               func() (*Tensor, error) { return New("x", graph.Uint8, []int{1 << 32, 1 << 32, 0}, Raw(nil)) },
		"negative":               func() (*Tensor, error) { return New("x", graph.Uint8, []int{-1, -1}, Raw{1}) },
		"too few bytes":          func() (*Tensor, error) { return New("x", graph.Float32, []int{2}, Raw(make([]byte, 7))) },
		"unknown dtype":          func() (*Tensor, error) { return New("x", graph.NoDType, nil, Raw{1}) },
	} {
		if x, err := call(); err == nil {
			t.Errorf("%s: no error, but %+v", name, x)
		} else if strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// randomly derives a tensor from fresh ones, at some depth.
func randomly(t *testing.T, r *rand.Rand, depth int, leaves *[]*Tensor) *Tensor {
	if depth == 0 {
		x := iota16(t, fmt.Sprint("leaf", len(*leaves)), 100*len(*leaves), r.IntN(2) == 0, 1+r.IntN(3), 2, 1+r.IntN(4))
		*leaves = append(*leaves, x)
		return x
	}
	x := randomly(t, r, depth-1, leaves)
	var err error
	switch axis := r.IntN(len(x.Shape)); r.IntN(6) {
	case 0:
		x, err = Concat("", axis, x, x.Renamed("again"))
	case 1:
		x, err = Stack("", r.IntN(len(x.Shape)+1), x, x)
	case 2:
		start := r.IntN(x.Shape[axis])
		x, err = Slice("", x, axis, start, start+1+r.IntN(x.Shape[axis]-start))
	case 3:
		x, err = Permute("", x, r.Perm(len(x.Shape))...)
	case 4:
		x, err = Reshape("", x, x.Shape[0], -1)
	case 5:
		if last := len(x.Shape) - 1; x.Shape[last]%2 == 0 {
			x, err = Reshape("", x, append(slices.Clone(x.Shape[:last]), 2, x.Shape[last]/2)...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Any range of any derivation reads as the whole does, and every view that Own
// declares has the elements of the tensor it stands for.
func TestRandomDerivations(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	views := 0
	for range 3000 {
		var leaves []*Tensor
		x := randomly(t, r, r.IntN(5), &leaves).Renamed("owner")
		whole := make([]byte, x.NumBytes())
		if err := x.ReadInto(whole); err != nil {
			t.Fatal(err)
		}
		from := r.IntN(len(whole))
		part := make([]byte, r.IntN(len(whole)-from+1))
		if _, err := x.ReadAt(part, int64(from)); err != nil || !bytes.Equal(part, whole[from:from+len(part)]) {
			t.Fatalf("bytes %d to %d of %v differ", from, from+len(part), x.Shape)
		}
		s := NewStore()
		for _, l := range leaves {
			if err := s.Add(l); err != nil {
				t.Fatal(err)
			}
		}
		names, err := s.Own(x)
		if err != nil {
			t.Fatal(err)
		}
		elements := values(t, x)
		for _, name := range names {
			views++
			v, _ := s.ViewOf(name)
			if v.Owner != "owner" || !slices.Equal(v.Shape, s.Get(name).Shape) {
				t.Fatalf("%+v", v)
			}
			if got, want := strided(elements, v), values(t, s.Get(name)); !slices.Equal(got, want) {
				t.Fatalf("view %+v of shape %v has %v, want %v", v, x.Shape, got, want)
			}
		}
	}
	if views < 500 {
		t.Errorf("only %d views: the test proves little", views)
	}
}

// strided reads a view, element by element.
func strided(elements []int, v View) []int {
	out := []int{}
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(v.Shape) {
			out = append(out, elements[at])
			return
		}
		for i := range v.Shape[axis] {
			walk(axis+1, at+i*v.Strides[axis])
		}
	}
	walk(0, v.Offset)
	return out
}

func TestOwn(t *testing.T) {
	q, k, v := iota16(t, "q", 0, true, 4, 3), iota16(t, "k", 100, true, 2, 3), iota16(t, "v", 200, true, 2, 3)
	s := NewStore()
	for _, x := range []*Tensor{q, k, v} {
		if err := s.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	qkv, err := Concat("qkv", -2, q, k, v)
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.Own(qkv)
	if err != nil || fmt.Sprint(names) != "[q k v]" {
		t.Fatal(names, err)
	}
	if view, _ := s.ViewOf("v"); fmt.Sprint(view) != "{qkv 18 [2 3] [3 1]}" {
		t.Error(view)
	}
	if got := s.NumBytes(); got != 8*3*2 {
		t.Errorf("the store has %d bytes, want the owner's", got)
	}
	// The first owner wins: a second one finds nothing left, and an owner is no view.
	kv, err := Concat("kv", 0, k, v)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := s.Own(kv); err != nil || len(names) != 0 {
		t.Error(names, err)
	}
	all, err := Concat("all", 0, qkv, kv)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := s.Own(all); err != nil || fmt.Sprint(names) != "[kv]" {
		t.Error(names, err) // kv owns nothing, so it may be a view
	}
	if _, err := s.Own(all); err == nil {
		t.Error("owned twice")
	}
}

func TestClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := New("x", graph.Uint8, []int{64}, Raw(f.Data()), f)
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(f)
	if err := s.Add(x); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Bytes(); !ok {
		t.Error("mapped bytes were not given as they are")
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.ReadInto(make([]byte, 64)); err == nil || !strings.Contains(err.Error(), "weights/closed") {
		t.Errorf("read after Close: %v", err)
	}
	if _, ok := x.Bytes(); ok {
		t.Error("bytes after Close")
	}
}

// Somebody truncates a mapped file: an error, not the end of the process.
func TestTruncatedWhileMapped(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("needs memory-mapped files")
	}
	path := filepath.Join(t.TempDir(), "data")
	const n = 1 << 20
	if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := New("x", graph.Uint8, []int{n}, Raw(f.Data()), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	err = x.ReadInto(make([]byte, n))
	if err == nil || !strings.Contains(err.Error(), "weights/changed") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if err := f.Close(); err != nil { // and no lock is left held
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(empty)
	if err != nil || len(f.Data()) != 0 || f.Close() != nil {
		t.Errorf("an empty file: %v", err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing"), os.DevNull} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "weights/open") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Bytes that are not aligned to their elements are only given as a copy.
func TestUnaligned(t *testing.T) {
	b := make([]byte, 17)
	x, err := New("x", graph.Float32, []int{4}, Raw(b[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Bytes(); ok {
		t.Error("unaligned bytes")
	}
	if err := x.ReadInto(make([]byte, 16)); err != nil {
		t.Error(err)
	}
	if err := x.ReadInto(make([]byte, 15)); err == nil {
		t.Error("a destination that is too small")
	}
}
