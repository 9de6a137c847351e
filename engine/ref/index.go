package ref

import (
	"fmt"
	"slices"
)

// indices returns indices into an axis of n, negative ones counted from the end.
func indices(a *array, n int) ([]int, error) {
	list := make([]int, 0, a.size())
	for _, i := range a.ints() {
		k := i
		if k < 0 {
			k += int64(n)
		}
		if k < 0 || k >= int64(n) {
			return nil, fmt.Errorf("index %d is outside an axis of %d", i, n)
		}
		list = append(list, int(k))
	}
	return list, nil
}

func take(c *call, in []*array) (*array, error) {
	a, ax := in[0], c.Dim("axis").Int()+len(in[0].shape)
	idx, err := indices(in[1], a.shape[ax])
	if err != nil {
		return nil, err
	}
	out := newArray(c.t, c.shape)
	outer, inner := size(a.shape[:ax]), size(a.shape[ax+1:])*c.t.Size()
	if ax == 0 && a.dense() { // rows of a table: no copy of the table
		data := a.bytes()
		for j, k := range idx {
			copy(out.data[j*inner:(j+1)*inner], data[k*inner:])
		}
		return out, nil
	}
	data, n := a.bytes(), a.shape[ax]
	for o := range outer {
		for j, k := range idx {
			copy(out.data[(o*len(idx)+j)*inner:][:inner], data[(o*n+k)*inner:])
		}
	}
	return out, nil
}

func takeAlong(c *call, in []*array) (*array, error) {
	ax := c.Dim("axis").Int() + len(in[0].shape)
	src := slices.Clone(c.shape)
	src[ax] = in[0].shape[ax]
	a := in[0].broadcast(src).moved(ax)
	idx, err := indices(in[1].broadcast(c.shape).moved(ax), src[ax])
	if err != nil {
		return nil, err
	}
	out, es, data := newArray(c.t, c.shape), c.t.Size(), a.bytes()
	n, m, at := src[ax], c.shape[ax], 0
	out.moved(ax).each(func(i int) {
		row := at / m
		copy(out.data[i*es:(i+1)*es], data[(row*n+idx[at])*es:])
		at++
	})
	return out, nil
}

// putAlong writes in index order: of equal indices, the last one stays.
func putAlong(c *call, in []*array) (*array, error) {
	ax := c.Dim("axis").Int() + len(in[0].shape)
	shape := slices.Clone(c.shape)
	shape[ax] = in[1].shape[ax]
	idx, err := indices(in[1].broadcast(shape).moved(ax), c.shape[ax])
	if err != nil {
		return nil, err
	}
	values := in[2]
	for len(values.shape) > len(shape) && values.shape[0] == 1 {
		values = values.sub(0)
	}
	if !broadcasts(values.shape, shape) {
		return nil, fmt.Errorf("values %v do not broadcast to %v", in[2].shape, shape)
	}
	data := convert(values, c.t).broadcast(shape).moved(ax).bytes()
	out := fromBytes(c.t, c.shape, slices.Clone(in[0].bytes()))
	m, es := shape[ax], c.t.Size()
	rows := make([]int, 0, out.size()/max(1, c.shape[ax]))
	first := *out // where the rows along the axis begin, in the order of moved
	first.shape = slices.Clone(c.shape)
	first.shape[ax] = min(1, c.shape[ax])
	first.each(func(i int) { rows = append(rows, i) })
	for k, i := range idx {
		at := rows[k/m] + i*out.strides[ax]
		copy(out.data[at*es:(at+1)*es], data[k*es:])
	}
	return out, nil
}

// broadcasts reports whether shape a broadcasts to shape b.
func broadcasts(a, b []int) bool {
	if len(a) > len(b) {
		return false
	}
	for i, d := range a {
		if d != 1 && d != b[len(b)-len(a)+i] {
			return false
		}
	}
	return true
}

// span is the view of a that a slice takes.
func span(c *call, a *array) (*array, error) {
	spans, err := c.Spans()
	if err != nil {
		return nil, err
	}
	v := &array{a.t, slices.Clone(a.shape), slices.Clone(a.strides), a.off, a.data}
	for _, s := range spans {
		v.off += s.Start.Int() * a.strides[s.Axis]
		v.shape[s.Axis] = s.Len.Int()
		v.strides[s.Axis] *= int(s.Stride)
	}
	return v, nil
}

func slice(c *call, in []*array) (*array, error) { return span(c, in[0]) }

func sliceUpdate(c *call, in []*array) (*array, error) {
	out := fromBytes(c.t, c.shape, slices.Clone(in[0].bytes()))
	dst, err := span(c, out)
	if err != nil {
		return nil, err
	}
	copyInto(dst, convert(in[1], c.t).broadcast(dst.shape))
	return out, nil
}

func sliceUpdateDynamic(c *call, in []*array) (*array, error) {
	out := fromBytes(c.t, c.shape, slices.Clone(in[0].bytes()))
	axes := c.Dims("axis")
	start := in[2].ints()
	if len(start) != len(axes) {
		return nil, fmt.Errorf("start has %d positions for %d axes", len(start), len(axes))
	}
	// The update covers the axes from the last on; those it lacks are filled as
	// MLX does: whole, or one element where start gives a position.
	up := in[1]
	shape := slices.Clone(c.shape)
	lead := len(shape) - len(up.shape)
	if lead < 0 {
		return nil, fmt.Errorf("update %v has more dimensions than a", up.shape)
	}
	for i := range up.shape {
		shape[lead+i] = min(up.shape[i], shape[lead+i])
	}
	for _, ax := range axes {
		if i := ax.Int() + len(shape); i < lead {
			shape[i] = 1
		}
	}
	if !broadcasts(up.shape, shape) {
		return nil, fmt.Errorf("update %v does not broadcast to %v", up.shape, shape)
	}
	dst := &array{c.t, shape, out.strides, 0, out.data}
	for k, ax := range axes {
		i := ax.Int() + len(shape)
		if start[k] < 0 || start[k]+int64(shape[i]) > int64(c.shape[i]) {
			return nil, fmt.Errorf("position %d and a length of %d leave an axis of %d", start[k], shape[i], c.shape[i])
		}
		dst.off += int(start[k]) * out.strides[i]
	}
	copyInto(dst, convert(up, c.t).broadcast(shape))
	return out, nil
}
