package graph

import (
	"fmt"
	"slices"
)

// This file infers the types of results, as mlx/ops.cpp and mlx/fast.cpp do. Axes
// are negative and defaults filled in when these functions run (see checkCall).

func one(t Type) ([]Type, error) { return []Type{t}, nil }

func (c *Call) errorf(format string, args ...any) ([]Type, error) {
	return nil, fmt.Errorf(c.Op.Name+": "+format, args...)
}

// Broadcast returns the common shape of a and b, counted from the last dimension.
// A symbolic dimension matches itself and 1 only.
func Broadcast(a, b []Dim) ([]Dim, error) {
	if slices.Equal(a, b) {
		return a, nil
	}
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	lead := len(a) - len(b)
	for i, y := range b {
		switch x := a[lead+i]; {
		case x == y || y.Is(1):
		case x.Is(1):
			out[lead+i] = y
		default:
			return nil, fmt.Errorf("shapes %s and %s cannot be broadcast", dimsText(a), dimsText(b))
		}
	}
	return out, nil
}

func unarySame(c *Call) ([]Type, error) { return one(c.In[0]) }
func unaryBool(c *Call) ([]Type, error) { return one(Type{Bool, c.In[0].Shape}) }
func unaryFloat(c *Call) ([]Type, error) {
	return one(Type{atLeastFloat(c.In[0].DType), c.In[0].Shape})
}

// unaryReal and unaryRealFloat are for functions that MLX has for real numbers only.
func unaryReal(c *Call) ([]Type, error) {
	if c.In[0].DType == Complex64 {
		return c.errorf("complex numbers are not supported")
	}
	return one(c.In[0])
}

func unaryRealFloat(c *Call) ([]Type, error) {
	if c.In[0].DType == Complex64 {
		return c.errorf("complex numbers are not supported")
	}
	return unaryFloat(c)
}

func unaryAbs(c *Call) ([]Type, error) {
	if c.In[0].DType == Complex64 {
		return one(Type{Float32, c.In[0].Shape})
	}
	return one(c.In[0])
}

func unaryNegative(c *Call) ([]Type, error) {
	if c.In[0].DType == Bool {
		return c.errorf("not supported for bool")
	}
	return one(c.In[0])
}

func inferAstype(c *Call) ([]Type, error) { return one(Type{c.Attr("dtype").(DType), c.In[0].Shape}) }
func inferSame(c *Call) ([]Type, error)   { return one(c.In[0]) }

func binaryAs(c *Call, t DType) ([]Type, error) {
	shape, err := Broadcast(c.In[0].Shape, c.In[1].Shape)
	if err != nil {
		return c.errorf("%w", err)
	}
	return one(Type{t, shape})
}

func (c *Call) promoted() DType { return Promote(c.In[0].DType, c.In[1].DType) }

func binaryPromote(c *Call) ([]Type, error) { return binaryAs(c, c.promoted()) }
func binaryFloat(c *Call) ([]Type, error)   { return binaryAs(c, atLeastFloat(c.promoted())) }
func binaryBool(c *Call) ([]Type, error)    { return binaryAs(c, Bool) }

func binaryReal(c *Call) ([]Type, error) {
	if c.promoted() == Complex64 {
		return c.errorf("complex numbers are not supported")
	}
	return binaryPromote(c)
}

func binaryRealFloat(c *Call) ([]Type, error) {
	if c.promoted() == Complex64 {
		return c.errorf("complex numbers are not supported")
	}
	return binaryFloat(c)
}

func binaryBits(c *Call) ([]Type, error) {
	t := c.promoted()
	if !t.IsInteger() && t != Bool {
		return c.errorf("needs integers or bool, got %s and %s", c.In[0].DType, c.In[1].DType)
	}
	return binaryAs(c, t)
}

func binaryShift(c *Call) ([]Type, error) {
	t := c.promoted()
	if t == Bool {
		t = Uint8
	}
	if !t.IsInteger() {
		return c.errorf("needs integers, got %s and %s", c.In[0].DType, c.In[1].DType)
	}
	return binaryAs(c, t)
}

func inferWhere(c *Call) ([]Type, error) {
	shape, err := Broadcast(c.In[1].Shape, c.In[2].Shape)
	if err == nil {
		shape, err = Broadcast(shape, c.In[0].Shape)
	}
	if err != nil {
		return c.errorf("%w", err)
	}
	return one(Type{Promote(c.In[1].DType, c.In[2].DType), shape})
}

func inferArange(c *Call) ([]Type, error) {
	step, ok := c.Dim("step").Const()
	if !ok || step == 0 {
		return c.errorf("step must be a number other than 0")
	}
	dtype := c.Attr("dtype").(DType)
	if dtype == Bool {
		return c.errorf("bool is not supported")
	}
	n := c.Dim("stop").Sub(c.Dim("start"))
	if step != 1 {
		if k, ok := n.Const(); ok {
			n = N(max(0, ceilDiv(k, step)))
		} else if n, ok = n.Div(N(step)); !ok {
			return c.errorf("length of a symbolic range with step %d is not known", step)
		}
	}
	if k, ok := n.Const(); ok && k < 0 {
		n = N(0)
	}
	return one(Type{dtype, []Dim{n}})
}

func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) == (b < 0) {
		q++
	}
	return q
}

// matmulShape is the shape of a @ b for operands of rank 1 and up.
func matmulShape(a, b []Dim) ([]Dim, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, fmt.Errorf("a scalar operand")
	}
	vecA, vecB := len(a) == 1, len(b) == 1
	if vecA {
		a = []Dim{N(1), a[0]}
	}
	if vecB {
		b = []Dim{b[0], N(1)}
	}
	if a[len(a)-1] != b[len(b)-2] {
		return nil, fmt.Errorf("inner dimensions %s and %s differ", a[len(a)-1], b[len(b)-2])
	}
	batch, err := Broadcast(a[:len(a)-2], b[:len(b)-2])
	if err != nil {
		return nil, err
	}
	out := slices.Clone(batch)
	if !vecA {
		out = append(out, a[len(a)-2])
	}
	if !vecB {
		out = append(out, b[len(b)-1])
	}
	return out, nil
}

func inferMatmul(c *Call) ([]Type, error) {
	shape, err := matmulShape(c.In[0].Shape, c.In[1].Shape)
	if err != nil {
		return c.errorf("%w", err)
	}
	t := c.promoted()
	if !t.IsFloat() && t != Complex64 {
		return c.errorf("needs floating-point operands, got %s", t)
	}
	return one(Type{t, shape})
}

func inferAddmm(c *Call) ([]Type, error) {
	shape, err := matmulShape(c.In[1].Shape, c.In[2].Shape)
	if err == nil {
		var full []Dim
		full, err = Broadcast(c.In[0].Shape, shape)
		if err == nil && !slices.Equal(full, shape) {
			err = fmt.Errorf("c %s does not broadcast to %s", dimsText(c.In[0].Shape), dimsText(shape))
		}
	}
	if err != nil {
		return c.errorf("%w", err)
	}
	product := Promote(c.In[1].DType, c.In[2].DType)
	t := Promote(product, c.In[0].DType)
	if !t.IsFloat() && (t != Complex64 || product.IsInteger() || product == Bool) { // MLX adds complex c in a second step
		return c.errorf("needs floating-point operands, got %s", t)
	}
	return one(Type{t, shape})
}

// quantized checks packed weights, scales and biases at operands i, i+1, i+2 and
// returns the element type and the unpacked length of the last axis of w.
func (c *Call) quantized(i int) (DType, Dim, error) {
	w, s := c.In[i], c.In[i+1]
	mode, bits, group := c.Str("mode"), c.Dim("bits"), c.Dim("group_size")
	fail := func(format string, args ...any) (DType, Dim, error) {
		return NoDType, Dim{}, fmt.Errorf(c.Op.Name+": "+format, args...)
	}
	if w.DType != Uint32 {
		return fail("w must be uint32, got %s", w.DType)
	}
	if w.Rank() < 2 || s.Rank() != w.Rank() || !slices.Equal(w.Shape[:w.Rank()-1], s.Shape[:w.Rank()-1]) {
		return fail("w %s and scales %s must agree in all but the last dimension", dimsText(w.Shape), dimsText(s.Shape))
	}
	b, okB := bits.Const()
	if !okB || b < 2 || b > 8 || b == 7 {
		return fail("bits must be 2, 3, 4, 5, 6 or 8, got %s", bits)
	}
	if g, ok := group.Const(); !ok || g < 1 {
		return fail("group_size must be a positive number, got %s", group)
	}
	packed, okP := w.Shape[w.Rank()-1].Const()
	groups, okG := s.Shape[w.Rank()-1].Const()
	if !okP || !okG {
		return fail("the last dimensions of w and scales must be numbers")
	}
	n := packed * 32 / b
	if g, _ := group.Const(); groups*g != n {
		return fail("w %s with %d bits has %d columns, but scales %s with group_size %d have %d", dimsText(w.Shape), b, n, dimsText(s.Shape), g, groups*g)
	}
	if mode == "affine" {
		if !c.Has(i + 2) {
			return fail("mode affine needs biases")
		}
		if z := c.In[i+2]; !slices.Equal(z.Shape, s.Shape) {
			return fail("scales %s and biases %s must have the same shape", dimsText(s.Shape), dimsText(z.Shape))
		}
		t := Promote(s.DType, c.In[i+2].DType)
		if !t.IsFloat() {
			return fail("scales must be floating point, got %s", t)
		}
		return t, N(n), nil
	}
	if c.Has(i + 2) {
		return fail("mode %s has no biases", mode)
	}
	if s.DType != Uint8 {
		return fail("scales of mode %s must be uint8, got %s", mode, s.DType)
	}
	return NoDType, N(n), nil
}

// quantizedMatmul returns the result type and [m, n] of x times packed weights.
func (c *Call) quantizedMatmul() (DType, Dim, Dim, error) {
	x := c.In[0]
	t, cols, err := c.quantized(1)
	if err != nil {
		return NoDType, Dim{}, Dim{}, err
	}
	if x.Rank() < 1 {
		return NoDType, Dim{}, Dim{}, fmt.Errorf("%s: x is a scalar", c.Op.Name)
	}
	rows := c.In[1].Shape[c.In[1].Rank()-2]
	inner, outer := cols, rows
	if !c.Flag("transpose") {
		inner, outer = rows, cols
	}
	if k := x.Shape[x.Rank()-1]; k != inner {
		return NoDType, Dim{}, Dim{}, fmt.Errorf("%s: x has %s columns, w %s", c.Op.Name, k, inner)
	}
	if t == NoDType {
		t = x.DType
	} else {
		t = Promote(x.DType, t)
	}
	if !t.IsFloat() {
		return NoDType, Dim{}, Dim{}, fmt.Errorf("%s: x must be floating point, got %s", c.Op.Name, x.DType)
	}
	m := N(1)
	if x.Rank() > 1 {
		m = x.Shape[x.Rank()-2]
	}
	return t, m, outer, nil
}

func inferQuantizedMatmul(c *Call) ([]Type, error) {
	t, _, n, err := c.quantizedMatmul()
	if err != nil {
		return nil, err
	}
	x, w := c.In[0].Shape, c.In[1].Shape
	lead := x[:len(x)-1]
	if len(x) > 2 && len(w) > 2 {
		batch, err := Broadcast(x[:len(x)-2], w[:len(w)-2])
		if err != nil {
			return c.errorf("%w", err)
		}
		lead = append(slices.Clone(batch), x[len(x)-2])
	}
	return one(Type{t, append(slices.Clone(lead), n)})
}

func inferGatherQMM(c *Call) ([]Type, error) {
	if !c.Has(4) && !c.Has(5) {
		return inferQuantizedMatmul(c)
	}
	t, m, n, err := c.quantizedMatmul()
	if err != nil {
		return nil, err
	}
	if c.In[0].Rank() < 2 {
		return c.errorf("x needs at least two dimensions")
	}
	shape, err := c.gathered(4, c.In[0], c.In[1])
	if err != nil {
		return nil, err
	}
	return one(Type{t, append(shape, m, n)})
}

// gathered returns the common shape of the indices at operands i and i+1; where
// one is absent, its default counts the matrices of a or b in their own shape.
func (c *Call) gathered(i int, a, b Type) ([]Dim, error) {
	shapes := [2][]Dim{a.Shape[:a.Rank()-2], b.Shape[:b.Rank()-2]}
	for k := range shapes {
		if c.Has(i + k) {
			if !c.In[i+k].DType.IsInteger() {
				return nil, fmt.Errorf("%s: indices must be integers, got %s", c.Op.Name, c.In[i+k].DType)
			}
			shapes[k] = c.In[i+k].Shape
		}
	}
	shape, err := Broadcast(shapes[0], shapes[1])
	if err != nil {
		return nil, fmt.Errorf("%s: indices: %w", c.Op.Name, err)
	}
	return slices.Clone(shape), nil
}

func inferGatherMM(c *Call) ([]Type, error) {
	a, b := c.In[0], c.In[1]
	t := Promote(a.DType, b.DType)
	if !t.IsFloat() {
		return c.errorf("needs floating-point operands, got %s", t)
	}
	if !c.Has(2) && !c.Has(3) {
		return inferMatmul(c)
	}
	if a.Rank() < 2 || b.Rank() < 2 {
		return c.errorf("operands need at least two dimensions")
	}
	if a.Shape[a.Rank()-1] != b.Shape[b.Rank()-2] {
		return c.errorf("inner dimensions %s and %s differ", a.Shape[a.Rank()-1], b.Shape[b.Rank()-2])
	}
	shape, err := c.gathered(2, a, b)
	if err != nil {
		return nil, err
	}
	return one(Type{t, append(shape, a.Shape[a.Rank()-2], b.Shape[b.Rank()-1])})
}

func inferDequantize(c *Call) ([]Type, error) {
	t, n, err := c.quantized(0)
	if err != nil {
		return nil, err
	}
	if t == NoDType {
		t = BFloat16 // what MLX gives for the modes whose scales are bytes
	}
	w := c.In[0].Shape
	return one(Type{t, append(slices.Clone(w[:len(w)-1]), n)})
}

func inferConv1D(c *Call) ([]Type, error) {
	x, w := c.In[0], c.In[1]
	if x.Rank() != 3 || w.Rank() != 3 {
		return c.errorf("x %s and w %s must have 3 dimensions", dimsText(x.Shape), dimsText(w.Shape))
	}
	var n [4]int64
	for i, name := range []string{"stride", "padding", "dilation", "groups"} {
		v, ok := c.Dim(name).Const()
		least := int64(1)
		if name == "padding" {
			least = 0
		}
		if !ok || v < least || v > 1<<31-1 {
			return c.errorf("%s must be a number from %d on, got %s", name, least, c.Dim(name))
		}
		n[i] = v
	}
	stride, padding, dilation, groups := n[0], n[1], n[2], n[3]
	if x.Shape[2] != w.Shape[2].Mul(N(groups)) {
		return c.errorf("%s channels of x are not %d groups of the %s that w has", x.Shape[2], groups, w.Shape[2])
	}
	if _, ok := w.Shape[0].Div(N(groups)); !ok {
		return c.errorf("%s filters are not a multiple of %d groups", w.Shape[0], groups)
	}
	// One less than the windows at stride 1.
	more := x.Shape[1].Add(N(2 * padding)).Sub(w.Shape[1].Sub(N(1)).Mul(N(dilation))).Sub(N(1))
	if k, ok := more.Const(); ok && k < 0 {
		return c.errorf("a filter of %s with dilation %d is longer than x %s with padding", w.Shape[1], dilation, dimsText(x.Shape))
	} else if ok {
		more = N(k / stride)
	} else if stride != 1 {
		return c.errorf("how many windows there are in %s with stride %d is not known", dimsText(x.Shape), stride)
	}
	t := c.promoted()
	if !x.DType.IsFloat() || !t.IsFloat() {
		return c.errorf("needs floating point, got %s and %s", x.DType, w.DType)
	}
	if t == Float64 {
		return c.errorf("float64 is not supported") // MLX adds up in float32, or fails
	}
	return one(Type{t, []Dim{x.Shape[0], more.Add(N(1)), w.Shape[0]}})
}

// reduced returns the shape of operand 0 after a reduction over attribute "axis".
func (c *Call) reduced() []Dim {
	in := c.In[0].Shape
	axes, ok := c.Attr("axis").(Dims)
	if !ok {
		axes = Dims{c.Dim("axis")}
	}
	var out []Dim
	for i, d := range in {
		switch {
		case !slices.Contains(axes, N(int64(i-len(in)))):
			out = append(out, d)
		case c.Flag("keepdims"):
			out = append(out, N(1))
		}
	}
	return out
}

func reduceSame(c *Call) ([]Type, error) { return one(Type{c.In[0].DType, c.reduced()}) }
func reduceBool(c *Call) ([]Type, error) { return one(Type{Bool, c.reduced()}) }

// reduceSum widens integers to 32 bits, as MLX does.
func reduceSum(c *Call) ([]Type, error) {
	t := c.In[0].DType
	switch {
	case t == Bool, t == Int8, t == Int16:
		t = Int32
	case t == Uint8, t == Uint16:
		t = Uint32
	}
	return one(Type{t, c.reduced()})
}

func inferArgReduce(c *Call) ([]Type, error) { return one(Type{Uint32, c.reduced()}) }
func inferLogSumExp(c *Call) ([]Type, error) {
	// Along other axes than the last, MLX subtracts the largest in the type itself.
	if axes := c.Dims("axis"); c.In[0].DType == Bool && !slices.Equal(axes, Dims{N(-1)}) {
		return c.errorf("bool is supported along the last axis only")
	}
	return one(Type{atLeastFloat(c.In[0].DType), c.reduced()})
}
func inferSoftmax(c *Call) ([]Type, error) {
	// Along another axis, MLX gives the type of the operand: zeros and ones.
	if t := c.In[0].DType; t != atLeastFloat(t) && !c.Dim("axis").Is(-1) {
		return c.errorf("%s is supported along the last axis only", t)
	}
	return one(Type{atLeastFloat(c.In[0].DType), c.In[0].Shape})
}
func inferCumsum(c *Call) ([]Type, error) {
	t := c.In[0].DType
	if t == Bool {
		t = Int32
	}
	return one(Type{t, c.In[0].Shape})
}
func inferIndices(c *Call) ([]Type, error) { return one(Type{Uint32, c.In[0].Shape}) }

func inferPartition(c *Call) ([]Type, error) {
	n := c.In[0].Shape[c.axis("axis")]
	kth := c.Dim("kth")
	if nn, ok := n.Const(); ok {
		if k, ok := kth.Const(); ok && (k < -nn || k >= nn) {
			return c.errorf("kth %d is out of range for an axis of %d", k, nn)
		}
	}
	if c.Op.Name == "argpartition" {
		return inferIndices(c)
	}
	return one(c.In[0])
}

func (c *Call) indices(i int) error {
	if t := c.In[i].DType; !t.IsInteger() {
		return fmt.Errorf("%s: indices must be integers, got %s", c.Op.Name, t)
	}
	return nil
}

func inferTake(c *Call) ([]Type, error) {
	if err := c.indices(1); err != nil {
		return nil, err
	}
	a, ax := c.In[0], c.axis("axis")
	shape := slices.Concat(a.Shape[:ax], c.In[1].Shape, a.Shape[ax+1:])
	return one(Type{a.DType, shape})
}

// alongShape broadcasts the indices against a in all axes but one.
func (c *Call) alongShape() ([]Dim, error) {
	a, idx, ax := c.In[0].Shape, c.In[1].Shape, c.axis("axis")
	if err := c.indices(1); err != nil {
		return nil, err
	}
	if len(idx) != len(a) {
		return nil, fmt.Errorf("%s: indices %s and a %s must have the same rank", c.Op.Name, dimsText(idx), dimsText(a))
	}
	same := slices.Clone(a)
	same[ax] = idx[ax]
	return Broadcast(same, idx)
}

func inferTakeAlong(c *Call) ([]Type, error) {
	shape, err := c.alongShape()
	if err != nil {
		return nil, err
	}
	return one(Type{c.In[0].DType, shape})
}

func inferPutAlong(c *Call) ([]Type, error) {
	if _, err := c.alongShape(); err != nil {
		return nil, err
	}
	return one(c.In[0])
}

// Span is the part of one axis that a slice takes.
type Span struct {
	Axis        int // index into the shape
	Start, Stop Dim // Start counted from 0
	Stride      int64
	Len         Dim
}

// Spans resolves the attributes of slice and slice_update against a's shape:
// negative positions are counted from the end, absent ones filled in.
func (c *Call) Spans() ([]Span, error) {
	axes, starts, stops, strides := c.Dims("axis"), c.Dims("start"), c.Dims("stop"), c.Dims("strides")
	spans := make([]Span, len(axes))
	for name, list := range map[string]Dims{"start": starts, "stop": stops, "strides": strides} {
		if list != nil && len(list) != len(axes) {
			return nil, fmt.Errorf("%s: %s has %d entries for %d axes", c.Op.Name, name, len(list), len(axes))
		}
	}
	for i, ax := range axes {
		s := Span{Axis: ax.Int() + c.In[0].Rank(), Stride: 1}
		n := c.In[0].Shape[s.Axis]
		s.Stop = n
		if starts != nil {
			s.Start = fromEnd(starts[i], n)
		}
		if stops != nil {
			s.Stop = fromEnd(stops[i], n)
		}
		if strides != nil {
			k, ok := strides[i].Const()
			if !ok || k < 1 {
				return nil, fmt.Errorf("%s: stride %s is not a positive number", c.Op.Name, strides[i])
			}
			s.Stride = k
		}
		s.Len = s.Stop.Sub(s.Start)
		if s.Stride > 1 {
			k, ok := s.Len.Const()
			if !ok {
				return nil, fmt.Errorf("%s: stride %d over a symbolic axis", c.Op.Name, s.Stride)
			}
			s.Len = N(ceilDiv(k, s.Stride))
		}
		if k, ok := s.Len.Const(); ok && k < 0 {
			return nil, fmt.Errorf("%s: from %s to %s along axis %s is empty", c.Op.Name, s.Start, s.Stop, ax)
		}
		if nn, ok := n.Const(); ok {
			for _, d := range []Dim{s.Start, s.Stop} {
				if k, ok := d.Const(); ok && (k < 0 || k > nn) {
					return nil, fmt.Errorf("%s: position %d is outside axis %s of %d", c.Op.Name, k, ax, nn)
				}
			}
		}
		spans[i] = s
	}
	return spans, nil
}

// fromEnd counts a negative position from the end of an axis of n.
func fromEnd(d, n Dim) Dim {
	if k, ok := d.Const(); ok && k < 0 {
		return n.Add(d)
	}
	return d
}

func (c *Call) sliced() ([]Dim, error) {
	spans, err := c.Spans()
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(c.In[0].Shape)
	for _, s := range spans {
		shape[s.Axis] = s.Len
	}
	return shape, nil
}

func inferSlice(c *Call) ([]Type, error) {
	shape, err := c.sliced()
	if err != nil {
		return nil, err
	}
	return one(Type{c.In[0].DType, shape})
}

func inferSliceUpdate(c *Call) ([]Type, error) {
	shape, err := c.sliced()
	if err != nil {
		return nil, err
	}
	if full, err := Broadcast(shape, c.In[1].Shape); err != nil || !slices.Equal(full, shape) {
		return c.errorf("update %s does not fit into %s", dimsText(c.In[1].Shape), dimsText(shape))
	}
	return one(c.In[0])
}

func inferSliceUpdateDynamic(c *Call) ([]Type, error) {
	if s := c.In[2]; !s.DType.IsInteger() || s.Rank() > 1 {
		return c.errorf("start must be a vector of integers, got %s", s)
	}
	return one(c.In[0])
}

func inferReshape(c *Call) ([]Type, error) {
	shape, size := slices.Clone(c.Dims("shape")), c.In[0].Size()
	known, free := N(1), -1
	for i, d := range shape {
		if d.Is(-1) {
			if free >= 0 {
				return c.errorf("two dimensions of -1")
			}
			free = i
		} else {
			known = known.Mul(d)
		}
	}
	if free >= 0 {
		d, ok := size.Div(known)
		if !ok {
			return c.errorf("cannot reshape %s into %s", dimsText(c.In[0].Shape), dimsText(shape))
		}
		shape[free] = d
	} else if known != size {
		return c.errorf("cannot reshape %s into %s", dimsText(c.In[0].Shape), dimsText(shape))
	}
	c.Attrs[0] = shape // -1 is never kept
	return one(Type{c.In[0].DType, shape})
}

func inferFlatten(c *Call) ([]Type, error) {
	a, lo, hi := c.In[0], c.axis("start_axis"), c.axis("end_axis")
	if lo > hi {
		return c.errorf("start_axis is behind end_axis")
	}
	shape := slices.Concat(a.Shape[:lo], []Dim{Product(a.Shape[lo : hi+1])}, a.Shape[hi+1:])
	return one(Type{a.DType, shape})
}

func inferUnflatten(c *Call) ([]Type, error) {
	a, ax := c.In[0], c.axis("axis")
	shape := slices.Clone(c.Dims("shape"))
	known, free := N(1), -1
	for i, d := range shape {
		if d.Is(-1) && free < 0 {
			free = i
		} else {
			known = known.Mul(d)
		}
	}
	if free >= 0 {
		d, ok := a.Shape[ax].Div(known)
		if !ok {
			return c.errorf("cannot split %s into %s", a.Shape[ax], dimsText(shape))
		}
		shape[free] = d
		known = known.Mul(d)
	}
	if known != a.Shape[ax] {
		return c.errorf("cannot split %s into %s", a.Shape[ax], dimsText(shape))
	}
	c.Attrs[1] = shape
	return one(Type{a.DType, slices.Concat(a.Shape[:ax], shape, a.Shape[ax+1:])})
}

func inferTranspose(c *Call) ([]Type, error) {
	a, axes := c.In[0], c.Dims("axes")
	if len(axes) != a.Rank() {
		return c.errorf("%d axes for %d dimensions", len(axes), a.Rank())
	}
	shape, perm := make([]Dim, len(axes)), make(Dims, len(axes))
	seen := make([]bool, len(axes))
	for i, d := range axes {
		k, ok := d.Const()
		if k < 0 {
			k += int64(len(axes))
		}
		if !ok || k < 0 || k >= int64(len(axes)) || seen[k] {
			return c.errorf("%s is not a permutation", dimsText(axes))
		}
		seen[k] = true
		shape[i], perm[i] = a.Shape[k], N(k)
	}
	c.Attrs[0] = perm
	return one(Type{a.DType, shape})
}

func inferExpandDims(c *Call) ([]Type, error) {
	a, axes := c.In[0], c.Dims("axis")
	rank := a.Rank() + len(axes)
	shape, next := make([]Dim, rank), 0
	for i := range shape {
		if slices.Contains(axes, N(int64(i-rank))) {
			shape[i] = N(1)
		} else {
			shape[i] = a.Shape[next]
			next++
		}
	}
	return one(Type{a.DType, shape})
}

func inferSqueeze(c *Call) ([]Type, error) {
	a, axes := c.In[0], c.Dims("axis")
	var shape []Dim
	for i, d := range a.Shape {
		if !slices.Contains(axes, N(int64(i-a.Rank()))) {
			shape = append(shape, d)
		} else if !d.Is(1) {
			return c.errorf("axis %d has length %s, not 1", i-a.Rank(), d)
		}
	}
	return one(Type{a.DType, shape})
}

func inferBroadcastTo(c *Call) ([]Type, error) {
	shape := c.Dims("shape")
	full, err := Broadcast(c.In[0].Shape, shape)
	if err != nil || !slices.Equal(full, []Dim(shape)) {
		return c.errorf("%s does not broadcast to %s", dimsText(c.In[0].Shape), dimsText(shape))
	}
	return one(Type{c.In[0].DType, shape})
}

func inferConcatenate(c *Call) ([]Type, error) {
	a, ax := c.In[0], c.axis("axis")
	shape, t := slices.Clone(a.Shape), a.DType
	along := []Dim{a.Shape[ax]}
	for _, b := range c.In[1:] {
		if b.Rank() != a.Rank() {
			return c.errorf("operands of %d and %d dimensions", a.Rank(), b.Rank())
		}
		for i := range shape {
			if i == ax {
				along = append(along, b.Shape[i])
			} else if shape[i] != b.Shape[i] {
				return c.errorf("shapes %s and %s differ beside the axis", dimsText(a.Shape), dimsText(b.Shape))
			}
		}
		t = Promote(t, b.DType)
	}
	shape[ax] = Sum(along)
	return one(Type{t, shape})
}

func inferView(c *Call) ([]Type, error) {
	a, t := c.In[0], c.Attr("dtype").(DType)
	if a.Rank() == 0 {
		if a.DType.Size() != t.Size() {
			return c.errorf("a scalar of %s as %s", a.DType, t)
		}
		return one(Type{t, a.Shape})
	}
	shape := slices.Clone(a.Shape)
	last, ok := shape[len(shape)-1].Mul(N(int64(a.DType.Size()))).Div(N(int64(t.Size())))
	if !ok {
		return c.errorf("the last dimension %s of %s does not hold whole %s", shape[len(shape)-1], a.DType, t)
	}
	shape[len(shape)-1] = last
	return one(Type{t, shape})
}

func inferNorm(c *Call) ([]Type, error) {
	x := c.In[0]
	if x.Rank() == 0 {
		return c.errorf("x is a scalar")
	}
	t := x.DType
	for i := 1; i < len(c.In); i++ {
		if !c.Has(i) {
			continue
		}
		if w := c.In[i]; w.Rank() != 1 || w.Shape[0] != x.Shape[x.Rank()-1] {
			return c.errorf("%s %s must be a vector of %s", c.Op.Operands[i].Name, dimsText(w.Shape), x.Shape[x.Rank()-1])
		}
		// MLX leaves the bias out of the type if there is no weight.
		if i == 1 || c.Has(1) {
			t = Promote(t, c.In[i].DType)
		}
	}
	if !t.IsFloat() {
		return c.errorf("needs floating point, got %s", t)
	}
	return one(Type{t, x.Shape})
}

func inferRope(c *Call) ([]Type, error) {
	x, off := c.In[0], c.In[1]
	dims, ok := c.Dim("dims").Const()
	switch {
	case x.Rank() < 3:
		return c.errorf("x needs at least 3 dimensions, has %d", x.Rank())
	case !x.DType.IsFloat():
		return c.errorf("x must be floating point, got %s", x.DType)
	case !off.DType.IsInteger() || off.Rank() > 1:
		return c.errorf("offset must be an integer or a vector of them, got %s", off)
	case off.Rank() == 1 && !off.Shape[0].Is(1) && off.Shape[0] != x.Shape[0]:
		return c.errorf("offset has %s elements for a batch of %s", off.Shape[0], x.Shape[0])
	case !ok || dims <= 0 || dims%2 != 0:
		return c.errorf("dims must be positive and even, got %s", c.Dim("dims"))
	case c.Has(2) == (c.Attr("base") != nil):
		return c.errorf("needs exactly one of freqs and base")
	}
	if d, ok := x.Shape[x.Rank()-1].Const(); ok && dims > d {
		return c.errorf("dims %d is more than head_dim %d", dims, d)
	}
	if c.Has(2) && (c.In[2].Rank() != 1 || !c.In[2].Shape[0].Is(dims/2)) {
		return c.errorf("freqs must be a vector of %d, got %s", dims/2, c.In[2])
	}
	return one(x)
}

func inferSDPA(c *Call) ([]Type, error) {
	q, k, v := c.In[0], c.In[1], c.In[2]
	for i, t := range c.In[:3] {
		if t.Rank() != 4 {
			return c.errorf("%s must have 4 dimensions, has %d", c.Op.Operands[i].Name, t.Rank())
		}
	}
	if q.Shape[0] != k.Shape[0] || q.Shape[0] != v.Shape[0] {
		return c.errorf("batches %s, %s and %s differ", q.Shape[0], k.Shape[0], v.Shape[0])
	}
	if q.Shape[3] != k.Shape[3] {
		return c.errorf("head_dim of q %s and k %s differ", q.Shape[3], k.Shape[3])
	}
	if k.Shape[1] != v.Shape[1] || k.Shape[2] != v.Shape[2] {
		return c.errorf("heads or rows of k %s and v %s differ", dimsText(k.Shape), dimsText(v.Shape))
	}
	if _, ok := q.Shape[1].Div(k.Shape[1]); !ok {
		return c.errorf("%s heads of q are not a multiple of %s", q.Shape[1], k.Shape[1])
	}
	mask := c.Str("mask")
	if (mask == "array") != c.Has(3) {
		return c.errorf("mask %q and operand mask_array do not go together", mask)
	}
	if (mask == "window") != (c.Attr("window") != nil) {
		return c.errorf("mask %q and attribute window do not go together", mask)
	}
	t := Promote(Promote(q.DType, k.DType), v.DType)
	if !t.IsFloat() {
		return c.errorf("needs floating point, got %s", t)
	}
	for i := 3; i < len(c.In); i++ {
		if c.Has(i) && Promote(c.In[i].DType, t) != t {
			return c.errorf("%s of %s does not promote to %s", c.Op.Operands[i].Name, c.In[i].DType, t)
		}
	}
	if c.Has(3) {
		scores := []Dim{q.Shape[0], q.Shape[1], q.Shape[2], k.Shape[2]}
		if c.Attr("kv_len") != nil {
			scores[3] = c.Dim("kv_len")
		}
		if d, err := Broadcast(c.In[3].Shape, scores); err != nil || !slices.Equal(d, scores) {
			return c.errorf("mask_array %s does not broadcast to scores %s", dimsText(c.In[3].Shape), dimsText(scores))
		}
	}
	if c.Has(4) && (c.In[4].Rank() != 1 || c.In[4].Shape[0] != q.Shape[1]) {
		return c.errorf("sinks %s are not one for each of %s heads", dimsText(c.In[4].Shape), q.Shape[1])
	}
	return one(Type{t, []Dim{q.Shape[0], q.Shape[1], q.Shape[2], v.Shape[3]}})
}

func inferKVAppend(c *Call) ([]Type, error) {
	cache, rows, off := c.In[0], c.In[1], c.In[2]
	if cache.Rank() != 4 || rows.Rank() != 4 || cache.Shape[0] != rows.Shape[0] || cache.Shape[1] != rows.Shape[1] || cache.Shape[3] != rows.Shape[3] {
		return c.errorf("cache %s and new rows %s must agree in batch, heads and head_dim", dimsText(cache.Shape), dimsText(rows.Shape))
	}
	if !off.DType.IsInteger() || off.Rank() > 1 {
		return c.errorf("offset must be an integer, got %s", off)
	}
	return one(cache)
}
