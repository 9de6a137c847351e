package normal

import (
	"math"
	"slices"

	"zmlx-rewrite/graph"
)

// OperandTypes returns the element types that MLX converts the operands of a call to
// before the primitive runs; NoDType where it takes the operand as it is.
func OperandTypes(c *graph.Call, result graph.DType) []graph.DType {
	want := make([]graph.DType, len(c.In))
	for i := range want {
		want[i] = graph.NoDType
	}
	all := func(t graph.DType, operands ...int) {
		for _, i := range operands {
			if c.Has(i) {
				want[i] = t
			}
		}
	}
	switch kind := operandKinds[c.Op.Name]; kind {
	case toResult:
		for i := range want {
			all(result, i)
		}
	case toCommon:
		all(graph.Promote(c.In[0].DType, c.In[1].DType), 0, 1)
	case toBool:
		for i := range want {
			all(graph.Bool, i)
		}
	case special:
		switch c.Op.Name {
		case "where":
			all(graph.Bool, 0)
			all(result, 1, 2)
		case "gather_mm":
			all(result, 0, 1)
			all(graph.Uint32, 2, 3)
		case "quantized_matmul", "gather_qmm":
			all(result, 0)
			if c.Str("mode") == "affine" {
				all(result, 2, 3)
			}
			all(graph.Uint32, 4, 5)
		case "slice_update", "slice_update_dynamic", "kv_append":
			all(result, 1)
		case "put_along_axis":
			all(result, 2)
		case "rope":
			if c.In[1].DType.Size() != 4 {
				all(graph.Int32, 1)
			}
			all(graph.Float32, 2)
		case "sdpa":
			all(result, 0, 1, 2, 4)
			if c.Has(3) && c.In[3].DType != graph.Bool {
				all(result, 3)
			}
		}
	}
	return want
}

type operandKind uint8

const (
	asIs operandKind = iota
	toResult
	toCommon // of both operands, for ops whose result is of another type
	toBool
	special
)

var operandKinds = func() map[string]operandKind {
	m := map[string]operandKind{}
	for kind, ops := range map[operandKind][]string{
		toResult: {
			"arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cos", "cosh", "erf", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2",
			"rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh",
			"add", "arctan2", "bitwise_and", "bitwise_or", "bitwise_xor", "divide", "floor_divide", "left_shift", "right_shift", "logaddexp", "maximum", "minimum",
			"multiply", "power", "remainder", "subtract",
			"matmul", "addmm", "conv1d", "concatenate", "softmax", "logsumexp", "rms_norm", "layer_norm",
		},
		toCommon: {"equal", "not_equal", "greater", "greater_equal", "less", "less_equal"},
		toBool:   {"logical_and", "logical_or", "logical_not"},
		special:  {"where", "gather_mm", "quantized_matmul", "gather_qmm", "slice_update", "slice_update_dynamic", "kv_append", "put_along_axis", "rope", "sdpa"},
	} {
		for _, op := range ops {
			m[op] = kind
		}
	}
	return m
}()

func promoting() []string {
	var ops []string
	for op := range operandKinds {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	return ops
}

// promote writes out the conversions that MLX makes.
func promote(b *builder, c *call) (graph.ValueID, bool) {
	var in []graph.ValueID
	for i, t := range OperandTypes(c.Call, c.out.DType) {
		if t == graph.NoDType || t == c.In[i].DType {
			continue
		}
		if in == nil {
			in = slices.Clone(c.in)
		}
		in[i] = b.add("astype", []graph.ValueID{c.in[i]}, t)
	}
	if in == nil {
		return graph.None, false
	}
	return b.again(c, in), true
}

// demote drops the conversions that MLX would make by itself: all of them if it
// can, else one after the other from the last operand on.
func demote(b *builder, c *call) (graph.ValueID, bool) {
	want := OperandTypes(c.Call, c.out.DType)
	all, in, found := slices.Clone(c.in), slices.Clone(c.in), false
	for i := len(want) - 1; i >= 0; i-- {
		n := b.is(c.in[i], "astype")
		if n == nil || want[i] == graph.NoDType || b.dtype(c.in[i]) != want[i] {
			continue
		}
		all[i] = n.In[0]
		in[i] = n.In[0]
		if b.comesBack(c, in, want) {
			found = true
		} else {
			in[i] = c.in[i]
		}
	}
	if b.comesBack(c, all, want) {
		in = all
	} else if !found {
		return graph.None, false
	}
	if slices.Equal(in, c.in) {
		return graph.None, false
	}
	return b.again(c, in), true
}

// comesBack reports whether MLX would make the conversions that in lacks.
func (b *builder) comesBack(c *call, in []graph.ValueID, want []graph.DType) bool {
	if !b.fits(c, in) {
		return false
	}
	types := slices.Clone(c.In)
	for i, v := range in {
		if v != graph.None {
			types[i] = b.g.Type(v)
		}
	}
	for i, t := range OperandTypes(&graph.Call{Op: c.Op, In: types, Attrs: c.Attrs}, c.out.DType) {
		if in[i] != c.in[i] && t != want[i] {
			return false
		}
	}
	return true
}

// broadcasting are the ops whose operands MLX broadcasts.
var broadcasting = func() []string {
	ops := []string{"where", "matmul", "addmm", "quantized_matmul", "gather_qmm", "gather_mm", "take_along_axis", "put_along_axis", "slice_update", "sdpa"}
	for _, o := range graph.Ops() {
		if len(o.Operands) == 2 && o.Operands[0].Name == "a" && o.Operands[1].Name == "b" && len(o.Attrs) == 0 && o.Name != "matmul" {
			ops = append(ops, o.Name)
		}
	}
	return ops
}()

// dropBroadcast removes broadcast_to in front of an op that broadcasts itself, if
// MLX would then make the same primitive with the same operands.
func dropBroadcast(b *builder, c *call) (graph.ValueID, bool) {
	bare := slices.Clone(c.in)
	found := false
	for i, v := range c.in {
		if n := b.is(v, "broadcast_to"); n != nil && mayBroadcast(c, i, b.g.Type(n.In[0]), b.g.Type(v)) {
			bare[i], found = n.In[0], true
		}
	}
	if !found {
		return graph.None, false
	}
	if b.fits(c, bare) {
		return b.again(c, bare), true
	}
	// Not all at once: one operand has to say the shape.
	for i := range c.in {
		if bare[i] == c.in[i] {
			continue
		}
		if in := c.with(i, bare[i]); b.fits(c, in) {
			return b.again(c, in), true
		}
	}
	return graph.None, false
}

// mayBroadcast reports whether operand i of a call may be from instead of to, which
// is from repeated.
func mayBroadcast(c *call, i int, from, to graph.Type) bool {
	// Whether an operand has two dimensions or more decides how MLX multiplies.
	matrices := func(other int) bool {
		r := from.Rank()
		return r >= 2 && slices.Equal(from.Shape[r-2:], to.Shape[to.Rank()-2:]) && (r > 2 || other >= 0 && c.In[other].Rank() > 2)
	}
	switch c.Op.Name {
	case "matmul":
		if i == 0 {
			return matrices(1)
		}
		return matrices(-1)
	case "addmm":
		return i == 0 && (c.In[1].Rank() <= 2 || from.Rank() > 1)
	case "quantized_matmul":
		return from.Rank() > 2 && matrices(-1)
	case "gather_qmm":
		return i >= 4
	case "gather_mm":
		return i >= 2
	case "take_along_axis":
		return from.Rank() == to.Rank() && from.Shape[c.Dim("axis").Int()+from.Rank()] == to.Shape[c.Dim("axis").Int()+to.Rank()]
	case "put_along_axis":
		if i == 1 {
			return from.Rank() == to.Rank() && from.Shape[c.Dim("axis").Int()+from.Rank()] == to.Shape[c.Dim("axis").Int()+to.Rank()]
		}
		return i == 2
	case "slice_update":
		return i == 1
	case "sdpa":
		return i == 3
	}
	return true
}

// dropIndices removes the indices that MLX makes when none are given.
func dropIndices(b *builder, c *call) (graph.ValueID, bool) {
	lhs, matrices := len(c.Op.Operands)-2, [2]int{0, 1}
	if !c.Has(lhs) || !c.Has(lhs+1) {
		return graph.None, false // with neither it would be another op
	}
	for k, of := range matrices {
		t := b.g.Type(c.in[of])
		if !b.counts01(c.in[lhs+k], t.Shape[:t.Rank()-2]) {
			continue
		}
		in := c.with(lhs+k, graph.None)
		if !b.fits(c, in) {
			continue
		}
		// With both given, sorted_indices says nothing; with one, it would.
		attrs := slices.Clone(c.Attrs)
		attrs[c.Op.AttrIndex("sorted_indices")] = graph.Flag(false)
		return b.again(c, in, attrs...), true
	}
	return graph.None, false
}

// counts01 reports whether v is 0, 1, 2, ... in the given shape, repeated or not.
func (b *builder) counts01(v graph.ValueID, shape []graph.Dim) bool {
	n := b.node(v)
	if n.Op.Name == "broadcast_to" {
		v = n.In[0]
		n = b.node(v)
	}
	if !slices.Equal(b.shape(v), shape) {
		return false
	}
	if isReshape(n) {
		n = b.node(n.In[0])
	}
	if n.Op.Name != "arange" {
		return false
	}
	c := graph.Call{Op: n.Op, Attrs: n.Attrs}
	return c.Dim("start").Is(0) && c.Dim("step").Is(1) && c.Dim("stop") == graph.Product(shape)
}

// dropUnits removes operations with 0 and 1 that give every bit of the other operand.
func dropUnits(b *builder, c *call) (graph.ValueID, bool) {
	unit := func(i int) bool {
		v, ok := b.scalar(c.in[i])
		if !ok || b.dtype(c.in[i]) == graph.Bool {
			return false
		}
		negative := math.Signbit(v)
		switch c.Op.Name {
		case "multiply":
			return v == 1
		case "divide":
			return i == 1 && v == 1
		case "subtract": // -0.0 - 0.0 is -0.0
			return i == 1 && v == 0 && !negative
		}
		// -0.0 + 0.0 is 0.0, so only -0.0 adds nothing to every float.
		return v == 0 && (negative || c.out.DType.IsInteger())
	}
	for i := range c.in {
		if x := c.in[1-i]; unit(i) && b.g.Type(x).Equal(c.out) {
			return x, true
		}
	}
	return graph.None, false
}

// dropCausal: the only query sees all rows, as without a mask.
func dropCausal(b *builder, c *call) (graph.ValueID, bool) {
	if c.Str("mask") != "causal" || !c.In[0].Shape[2].Is(1) {
		return graph.None, false
	}
	attrs := slices.Clone(c.Attrs)
	attrs[c.Op.AttrIndex("mask")] = graph.Str("none")
	return b.again(c, c.in, attrs...), true
}
