package enginetest

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// Compare reports how got, of the type and shape of c.Want, differs from it by
// more than it may: not at all if exact. All NaN are the same.
func (c *Case) Compare(got []byte, exact bool) error {
	want := c.Want
	if len(got) != len(want.Data) {
		return fmt.Errorf("%d bytes, not %d", len(got), len(want.Data))
	}
	if bytes.Equal(got, want.Data) {
		return nil
	}
	if c.Partition && !exact {
		return c.comparePartition(got)
	}
	t := want.DType
	es := t.Size()
	if t == graph.Complex64 { // compare the parts as numbers
		t, es = graph.Float32, 4
	}
	if exact {
		c = &Case{Want: want}
	}
	for i := 0; i < len(got); i += es {
		x, y := got[i:i+es], want.Data[i:i+es]
		if bytes.Equal(x, y) {
			continue
		}
		g, w := graph.DecodeElem(t, x), graph.DecodeElem(t, y)
		if math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		bound := c.Abs + (c.Rel+c.Ulp*eps[t])*math.Abs(w)
		// A bound of 0 asks for the bits, so that 0 is not -0.
		if bound == 0 || math.IsNaN(g) || math.IsNaN(w) || math.IsInf(w, 0) || math.IsInf(g, 0) || math.Abs(g-w) > bound {
			return fmt.Errorf("element %d is %v, not %v: off by %.3g, bound %.3g", i/es, g, w, math.Abs(g-w), bound)
		}
	}
	return nil
}

// eps is the distance from 1 to the next larger number.
var eps = map[graph.DType]float64{graph.Float16: 0x1p-10, graph.BFloat16: 0x1p-7, graph.Float32: 0x1p-23, graph.Float64: 0x1p-52}

// comparePartition compares what a partition promises: the element at kth, and
// which elements are on either side.
func (c *Case) comparePartition(got []byte) error {
	shape := c.Want.Shape
	axis := len(shape) - 1
	if a, ok := c.Attrs[c.Op.AttrIndex("axis")].(graph.Dim); ok {
		axis = (a.Int() + len(shape)) % len(shape)
	}
	n := shape[axis]
	kth := (c.Attrs[c.Op.AttrIndex("kth")].(graph.Dim).Int() + n) % n
	es := c.Want.DType.Size()
	stride := es
	for _, d := range shape[axis+1:] {
		stride *= d
	}
	for start := 0; start < len(got); start += es {
		if start/stride%n != 0 {
			continue // not the first of a row
		}
		row := func(data []byte) (list [][]byte) {
			for k := range n {
				at := start + k*stride
				list = append(list, data[at:at+es])
			}
			slices.SortFunc(list[:kth], bytes.Compare)
			slices.SortFunc(list[kth+1:], bytes.Compare)
			return list
		}
		if g, w := row(got), row(c.Want.Data); !slices.EqualFunc(g, w, bytes.Equal) {
			return fmt.Errorf("row at byte %d: %x is not partitioned like %x at %d", start, g, w, kth)
		}
	}
	return nil
}
