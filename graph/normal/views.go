package normal

import (
	"slices"

	"zmlx-rewrite/graph"
)

// reshapes are the views that keep the order of elements: any two of them with the
// same operand and the same result shape are the same.
var reshapes = []string{"reshape", "flatten", "unflatten", "expand_dims", "squeeze"}

var (
	viewOps    = append([]string{"transpose", "slice", "broadcast_to"}, reshapes...)
	identities = append([]string{"astype", "view", "concatenate"}, viewOps...)
	foldable   = append([]string{"astype", "transpose", "slice"}, reshapes...)
)

func isReshape(n *graph.Node) bool { return slices.Contains(reshapes, n.Op.Name) }

// dropIdentity removes what returns its operand as it is.
func dropIdentity(b *builder, c *call) (graph.ValueID, bool) {
	x := c.in[0]
	if len(c.in) != 1 || !b.g.Type(x).Equal(c.out) {
		return graph.None, false
	}
	switch c.Op.Name {
	case "transpose":
		for i, d := range c.Dims("axes") {
			if !d.Is(int64(i)) {
				return graph.None, false
			}
		}
	case "slice":
		if len(c.Dims("axis")) > 0 { // of a whole axis, which infer drops; strides may keep one
			return graph.None, false
		}
	}
	return x, true
}

func mergeViews(b *builder, c *call) (graph.ValueID, bool) {
	inner := b.node(c.in[0])
	switch c.Op.Name {
	case "transpose":
		if inner.Op != c.Op {
			return graph.None, false
		}
		first, second := inner.Attrs[0].(graph.Dims), c.Dims("axes")
		perm := make(graph.Dims, len(first))
		for i, d := range second {
			perm[i] = first[d.Int()]
		}
		return b.add("transpose", inner.In, perm), true
	case "broadcast_to":
		if inner.Op != c.Op {
			return graph.None, false
		}
		return b.again(c, inner.In), true
	case "slice":
		return mergeSlices(b, c, inner)
	}
	return mergeReshapes(b, c, inner)
}

// mergeReshapes folds views that keep the order of elements.
func mergeReshapes(b *builder, c *call, inner *graph.Node) (graph.ValueID, bool) {
	// Back to a shape that was there before.
	const near = 8 // a bound, so that long chains take linear time
	n := inner
	for range near {
		if !isReshape(n) {
			break
		}
		if slices.Equal(b.shape(n.In[0]), c.out.Shape) {
			return n.In[0], true
		}
		n = b.node(n.In[0])
	}
	x := c.in[0]
	switch {
	case c.Op.Name == "reshape" && b.g.Type(x).Rank() == 0 && len(c.out.Shape) > 0:
		// Only 1s can be added to a scalar, so expand_dims says the same.
		axes := make(graph.Dims, len(c.out.Shape))
		for i := range axes {
			axes[i] = graph.N(int64(i))
		}
		return b.add("expand_dims", c.in, axes), true
	case c.Op.Name == "reshape" && isReshape(inner):
		return b.again(c, inner.In), true
	case c.Op.Name == "squeeze" && inner.Op == c.Op:
		rank := b.g.Type(inner.In[0]).Rank()
		first := axesOf(inner.Attrs[0], rank)
		rest := without(rank, first)
		for _, i := range axesOf(c.Attrs[0], len(rest)) {
			first = append(first, rest[i])
		}
		return b.add("squeeze", inner.In, graph.DimsOf(first)), true
	case c.Op.Name == "expand_dims" && inner.Op == c.Op:
		rank := len(c.out.Shape)
		second := axesOf(c.Attrs[0], rank)
		rest := without(rank, second)
		for _, i := range axesOf(inner.Attrs[0], len(rest)) {
			second = append(second, rest[i])
		}
		return b.add("expand_dims", inner.In, graph.DimsOf(second)), true
	case c.Op.Name == "squeeze" && inner.Op.Name == "expand_dims":
		return squeezeExpanded(b, c, inner)
	}
	return graph.None, false
}

// squeezeExpanded folds a squeeze of expand_dims, if one of them wins.
func squeezeExpanded(b *builder, c *call, inner *graph.Node) (graph.ValueID, bool) {
	rank := b.g.Type(c.in[0]).Rank()
	added, removed := axesOf(inner.Attrs[0], rank), axesOf(c.Attrs[0], rank)
	left, old := without(rank, removed), without(rank, added)
	switch {
	case subset(removed, added):
		var axes []int
		for i, a := range left {
			if slices.Contains(added, a) {
				axes = append(axes, i)
			}
		}
		return b.add("expand_dims", inner.In, graph.DimsOf(axes)), true
	case subset(added, removed):
		var axes []int
		for i, a := range old {
			if slices.Contains(removed, a) {
				axes = append(axes, i)
			}
		}
		return b.add("squeeze", inner.In, graph.DimsOf(axes)), true
	}
	return graph.None, false
}

// mergeSlices makes one slice of two along the same axes.
func mergeSlices(b *builder, c *call, inner *graph.Node) (graph.ValueID, bool) {
	if inner.Op != c.Op || !inner.Attrs[0].Equal(c.Attrs[0]) {
		return graph.None, false
	}
	first, err := spansOf(b.g, inner)
	if err != nil {
		return graph.None, false
	}
	second, err := c.Spans()
	if err != nil {
		return graph.None, false
	}
	n := len(first)
	starts, stops, strides := make(graph.Dims, n), make(graph.Dims, n), make(graph.Dims, n)
	for i, f := range first {
		s := second[i]
		stride := graph.N(f.Stride)
		starts[i] = f.Start.Add(s.Start.Mul(stride))
		strides[i] = stride.Mul(graph.N(s.Stride))
		if strides[i].Is(1) {
			stops[i] = starts[i].Add(s.Len)
		} else {
			// Behind the last element that is taken; infer counts from there.
			stops[i] = starts[i].Add(s.Len.Sub(graph.N(1)).Mul(strides[i])).Add(graph.N(1))
		}
		if k, ok := s.Len.Const(); ok && k == 0 {
			return graph.None, false
		}
	}
	return b.add("slice", inner.In, inner.Attrs[0], starts, stops, strides), true
}

// stopEarly gives slices with strides one spelling: stride 1 where one element is
// taken, and otherwise a stop that is a whole number of strides away, or the end.
func stopEarly(b *builder, c *call) (graph.ValueID, bool) {
	spans, err := c.Spans()
	if err != nil {
		return graph.None, false
	}
	starts, stops, strides := make(graph.Dims, len(spans)), make(graph.Dims, len(spans)), make(graph.Dims, len(spans))
	changed := false
	for i, s := range spans {
		if n, ok := s.Len.Const(); ok && s.Stride > 1 && n > 0 {
			stop := s.Start.Add(graph.N(n * s.Stride))
			if n == 1 {
				s.Stride, stop = 1, s.Start.Add(graph.N(1))
			} else if end := c.In[0].Shape[s.Axis]; end.Int() < stop.Int() {
				stop = end
			}
			changed = changed || stop != s.Stop || s.Stride == 1
			s.Stop = stop
		}
		starts[i], stops[i], strides[i] = s.Start, s.Stop, graph.N(s.Stride)
	}
	if !changed {
		return graph.None, false
	}
	return b.again(c, c.in, c.Attrs[0], starts, stops, strides), true
}

// spansOf resolves the positions of a slice that is in the graph.
func spansOf(g *graph.Graph, n *graph.Node) ([]graph.Span, error) {
	c := graph.Call{Op: n.Op, In: []graph.Type{g.Type(n.In[0])}, Attrs: n.Attrs}
	return c.Spans()
}

// axesOf returns axes counted from 0.
func axesOf(a graph.Attr, rank int) []int {
	dims, ok := a.(graph.Dims)
	if d, one := a.(graph.Dim); one && !ok {
		dims = graph.Dims{d}
	}
	axes := make([]int, len(dims))
	for i, d := range dims {
		axes[i] = d.Int()
		if axes[i] < 0 {
			axes[i] += rank
		}
	}
	return axes
}

// without returns 0 to n-1 without the listed ones.
func without(n int, list []int) []int {
	out := make([]int, 0, n)
	for i := range n {
		if !slices.Contains(list, i) {
			out = append(out, i)
		}
	}
	return out
}

func subset(a, b []int) bool {
	return !slices.ContainsFunc(a, func(x int) bool { return !slices.Contains(b, x) })
}

// unflattenMatmul folds unflatten(matmul(flatten(a), b)): MLX makes one product of
// all rows of a if b is one matrix, and matmul(a, b) means just that.
func unflattenMatmul(b *builder, c *call) (graph.ValueID, bool) {
	product := b.node(c.in[0])
	left := 0
	switch product.Op.Name {
	case "matmul":
	case "addmm":
		left = 1
		if b.g.Type(product.In[0]).Rank() > 1 {
			return graph.None, false
		}
	default:
		return graph.None, false
	}
	if !b.usedOnce(c.in[0]) || b.g.Type(product.In[left+1]).Rank() != 2 {
		return graph.None, false
	}
	rows := b.node(product.In[left])
	if !isReshape(rows) || b.g.Type(product.In[left]).Rank() != 2 {
		return graph.None, false
	}
	a := rows.In[0]
	shape := b.shape(a)
	if len(shape) < 3 || shape[len(shape)-1] != b.shape(product.In[left])[1] {
		return graph.None, false
	}
	if len(c.out.Shape) != len(shape) || !slices.Equal(c.out.Shape[:len(shape)-1], shape[:len(shape)-1]) {
		return graph.None, false
	}
	in := slices.Clone(product.In)
	in[left] = a
	return b.addOp1(product.Op, in, product.Attrs), true
}

// addOp1 is addOp for ops with one result.
func (b *builder) addOp1(op *graph.Op, in []graph.ValueID, attrs []graph.Attr) graph.ValueID {
	if out := b.addOp(op, in, attrs, noNode); len(out) > 0 {
		return out[0]
	}
	return graph.None
}

// foldKeepdims folds the squeeze or expand_dims behind a reduction into it. In front
// of a reshape the reduced axes are not kept.
func foldKeepdims(b *builder, c *call) (graph.ValueID, bool) {
	n := b.node(c.in[0])
	k := n.Op.AttrIndex("keepdims")
	if k < 0 || !b.usedOnce(c.in[0]) {
		return graph.None, false
	}
	keeps := c.Op.Name == "expand_dims"
	if bool(n.Attrs[k].(graph.Flag)) == keeps {
		return graph.None, false
	}
	attrs := slices.Clone(n.Attrs)
	attrs[k] = graph.Flag(keeps)
	if c.Op.Name == "reshape" {
		return b.again(c, []graph.ValueID{b.addOp1(n.Op, n.In, attrs)}), true
	}
	rank := b.g.Type(n.In[0]).Rank()
	if !slices.Equal(axesOf(n.Attr("axis"), rank), axesOf(c.Attrs[0], rank)) {
		return graph.None, false
	}
	return b.addOp1(n.Op, n.In, attrs), true
}

// reduceOne removes reductions that MLX leaves out, since there is nothing to reduce.
func reduceOne(b *builder, c *call) (graph.ValueID, bool) {
	x := c.in[0]
	shape := b.shape(x)
	for _, a := range axesOf(c.Attr("axis"), len(shape)) {
		if !shape[a].Is(1) {
			return graph.None, false
		}
	}
	if b.dtype(x) != c.out.DType {
		x = b.add("astype", []graph.ValueID{x}, c.out.DType)
	}
	if !c.Flag("keepdims") {
		x = b.add("squeeze", []graph.ValueID{x}, c.Attr("axis"))
	}
	return x, true
}
