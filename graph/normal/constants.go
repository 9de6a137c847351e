package normal

import (
	"slices"

	"zmlx-rewrite/graph"
)

// maxFolded bounds the constants that are copied when folded, in bytes. Larger ones
// are weights; copies of them would cost more than they explain.
const maxFolded = 4096

// foldConstant computes views and conversions of constants.
func foldConstant(b *builder, c *call) (graph.ValueID, bool) {
	l := b.g.Literal(c.in[0])
	if l == nil {
		return graph.None, false
	}
	shape := make([]int, len(c.out.Shape))
	size := 1
	for i, d := range c.out.Shape {
		n, ok := d.Const()
		if !ok || n < 0 {
			return graph.None, false
		}
		shape[i] = int(n)
		size *= shape[i]
	}
	out := &graph.Literal{DType: c.out.DType, Shape: shape}
	if slices.Contains(reshapes, c.Op.Name) {
		out.Data = l.Data
		return b.constant(out), true
	}
	width := l.DType.Size()
	if len(l.Data) > maxFolded || len(l.Data)%max(width, 1) != 0 {
		return graph.None, false
	}
	switch c.Op.Name {
	case "astype":
		if !convertible(l.DType) || !convertible(out.DType) {
			return graph.None, false
		}
		for at := 0; at < len(l.Data); at += width {
			v := graph.DecodeElem(l.DType, l.Data[at:])
			if out.DType.IsInteger() && graph.Round(out.DType, v) != v {
				return graph.None, false // C leaves it open
			}
			out.Data = graph.AppendElem(out.Data, out.DType, v)
		}
		return b.constant(out), true
	case "transpose", "slice":
		strides := make([]int, len(shape)) // of the result, in elements of l
		start := 0
		old := rowMajor(l.Shape)
		if c.Op.Name == "transpose" {
			for i, d := range c.Dims("axes") {
				strides[i] = old[d.Int()]
			}
		} else {
			copy(strides, old)
			spans, err := c.Spans()
			if err != nil {
				return graph.None, false
			}
			for _, s := range spans {
				strides[s.Axis] *= int(s.Stride)
				start += s.Start.Int() * old[s.Axis]
			}
		}
		out.Data = make([]byte, 0, size*width)
		index := make([]int, len(shape))
		for range size {
			at := start
			for i, k := range index {
				at += k * strides[i]
			}
			out.Data = append(out.Data, l.Data[at*width:(at+1)*width]...)
			for i := len(index) - 1; i >= 0; i-- {
				if index[i]++; index[i] < shape[i] {
					break
				}
				index[i] = 0
			}
		}
		return b.constant(out), true
	}
	return graph.None, false
}

// convertible: float64 holds all values of the type, so nothing is rounded twice.
func convertible(t graph.DType) bool {
	return t != graph.Complex64 && t != graph.Int64 && t != graph.Uint64
}

func rowMajor(shape []int) []int {
	strides := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}
