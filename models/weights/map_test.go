package weights

import (
	"encoding/binary"
	"testing"

	"zmlx-rewrite/graph"
)

// Every part of a mapped tensor is that part of the whole, wherever it begins and ends.
func TestMap(t *testing.T) {
	const n = 1500 // more than two blocks
	data := make([]byte, 2*n)
	for i := range n {
		binary.LittleEndian.PutUint16(data[2*i:], uint16(i))
	}
	x, err := New("x", graph.Uint16, []int{n}, Raw(data))
	if err != nil {
		t.Fatal(err)
	}
	y, err := Map(x, graph.Uint32, func(dst, src []byte) {
		for i := 0; i < len(src); i += 2 {
			binary.LittleEndian.PutUint32(dst[2*i:], 70000*uint32(binary.LittleEndian.Uint16(src[i:])))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := y.Bytes(); ok || y.NumBytes() != 4*n || y.Name != "x" {
		t.Fatalf("%+v", y)
	}
	for _, span := range [][2]int{{0, 4 * n}, {0, 1}, {3, 5}, {2047, 2050}, {2049, 4 * n}, {4*n - 1, 4 * n}, {6, 6}} {
		got := make([]byte, span[1]-span[0])
		if _, err := y.ReadAt(got, int64(span[0])); err != nil {
			t.Fatal(err)
		}
		for i, b := range got {
			at := span[0] + i
			if want := byte(70000 * uint32(at/4) >> (8 * (at % 4))); b != want {
				t.Fatalf("bytes %v: byte %d is %d, want %d", span, at, b, want)
			}
		}
	}
}
