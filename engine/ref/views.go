package ref

import (
	"slices"
)

// reshape is every op that keeps the order of elements.
func reshape(c *call, in []*array) (*array, error) {
	a := in[0].contiguous()
	return &array{a.t, c.shape, rowMajor(c.shape), a.off, a.data}, nil
}

func transpose(c *call, in []*array) (*array, error) {
	var perm []int
	for _, d := range c.Dims("axes") {
		perm = append(perm, d.Int())
	}
	return in[0].permuted(perm), nil
}

func broadcastTo(c *call, in []*array) (*array, error) { return in[0].broadcast(c.shape), nil }

func contiguous(_ *call, in []*array) (*array, error) { return in[0].contiguous(), nil }

func view(c *call, in []*array) (*array, error) { return fromBytes(c.t, c.shape, in[0].bytes()), nil }

func concatenate(c *call, in []*array) (*array, error) {
	out := newArray(c.t, c.shape)
	at := 0
	ax := c.Dim("axis").Int() + len(c.shape)
	for _, a := range in {
		part := *out
		part.shape = slices.Clone(out.shape)
		part.shape[ax] = a.shape[ax]
		part.off = at * out.strides[ax]
		copyInto(&part, convert(a, c.t))
		at += a.shape[ax]
	}
	return out, nil
}

// copyInto writes src into dst, a view of data that the caller made. Both have
// the same type and shape.
func copyInto(dst, src *array) {
	es := dst.t.Size()
	data, at := src.bytes(), 0
	dst.each(func(i int) {
		copy(dst.data[i*es:(i+1)*es], data[at:])
		at += es
	})
}
