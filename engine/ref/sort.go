package ref

import (
	"cmp"
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// order returns, for each row along the axis, the indices in sorted order: stable,
// NaN last. A full sort is also a partition at any position.
func order(c *call, a *array) (moved *array, rows [][]int, err error) {
	moved = a.moved(c.Dim("axis").Int() + len(a.shape))
	n := moved.shape[len(moved.shape)-1]
	var compare func(i, j int) int
	switch {
	case isInt(a.t):
		v := moved.ints()
		compare = func(i, j int) int { return compareInts(a.t, v[i], v[j]) }
	case a.t == graph.Complex64:
		return nil, nil, unsupported(c.Op.Name, a.t)
	default:
		v := moved.floats()
		compare = func(i, j int) int {
			switch x, y := v[i], v[j]; {
			case math.IsNaN(x) && math.IsNaN(y):
				return 0
			case math.IsNaN(x):
				return 1
			case math.IsNaN(y):
				return -1
			default:
				return cmp.Compare(x, y)
			}
		}
	}
	for at := 0; at < moved.size(); at += n {
		row := make([]int, n)
		for i := range row {
			row[i] = i
		}
		slices.SortStableFunc(row, func(i, j int) int { return compare(at+i, at+j) })
		rows = append(rows, row)
	}
	return moved, rows, nil
}

func argSorted(c *call, in []*array) (*array, error) {
	a, rows, err := order(c, in[0])
	if err != nil {
		return nil, err
	}
	out := make([]int64, 0, a.size())
	for _, row := range rows {
		for _, i := range row {
			out = append(out, int64(i))
		}
	}
	return unmoved(fromInts(c.t, a.shape, out), c.Dim("axis").Int()+len(a.shape)), nil
}

func sorted(c *call, in []*array) (*array, error) {
	a, rows, err := order(c, in[0])
	if err != nil {
		return nil, err
	}
	data, es := a.bytes(), a.t.Size()
	out := make([]byte, 0, len(data))
	for r, row := range rows {
		for _, i := range row {
			at := (r*len(row) + i) * es
			out = append(out, data[at:at+es]...)
		}
	}
	return unmoved(fromBytes(a.t, a.shape, out), c.Dim("axis").Int()+len(a.shape)), nil
}
