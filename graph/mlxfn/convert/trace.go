package convert

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
)

// array is a value of a trace.
type array struct {
	id    uint64
	dtype graph.DType
	shape []int
}

func (a array) ndim() int { return len(a.shape) }

// dim returns a dimension, counted from the end if negative.
func (a array) dim(i int) int {
	if i < 0 {
		i += len(a.shape)
	}
	return a.shape[i]
}

// tracer records primitives as mlx.core does when a function of its operations is
// exported. Its methods have the names of mlx.core's functions and do what
// mlx/ops.cpp of 0.32.2 does outside of shapeless traces: they leave out what would
// change nothing, convert and broadcast operands, and make several primitives where
// MLX does. Equal primitives are recorded once, as MLX merges them.
type tracer struct {
	fn      *mlxfn.Function
	ids     *idSource
	made    map[string]array
	entries map[uint64]*mlxfn.Entry // of operations and constants, by id
	version string
}

// idSource gives out ids: 1, 2, 3, ... A constant has one id in a whole file.
type idSource struct {
	last      uint64
	constants map[string]uint64
}

func (s *idSource) next() uint64 { s.last++; return s.last }

// failure is what stops an export; trace.run recovers it.
type failure struct{ message string }

func fail(format string, args ...any) { panic(failure{fmt.Sprintf(format, args...)}) }

// op records a primitive with one output.
func (t *tracer) op(primitive string, dtype graph.DType, shape []int, in []array, state ...mlxfn.Field) array {
	k := fmt.Sprint(primitive, dtype, shape, state)
	ids := make([]uint64, len(in))
	for i, a := range in {
		ids[i] = a.id
		k += fmt.Sprint(",", a.id)
	}
	if out, ok := t.made[k]; ok {
		return out
	}
	a := array{t.ids.next(), dtype, slices.Clone(shape)}
	t.entries[a.id] = &mlxfn.Entry{Kind: mlxfn.Operation, ID: a.id, Outputs: []mlxfn.Value{{ID: a.id, Type: mlxfn.TypeInfo{Shape: a.shape, DType: dtype}}},
		Primitive: primitive, Inputs: ids, State: state}
	t.made[k] = a
	return a
}

// order puts what the outputs need on the tape, in MLX's order: depth first,
// operands before operations, inputs where they are met.
func (t *tracer) order() {
	type frame struct {
		id   uint64
		next int
	}
	done := map[uint64]bool{}
	var stack []frame // graphs may be deeper than goroutine stacks
	for _, id := range t.fn.Outputs {
		stack = append(stack, frame{id, 0})
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			e := t.entries[f.id]
			switch {
			case done[f.id]:
				stack = stack[:len(stack)-1]
			case e != nil && f.next < len(e.Inputs):
				f.next++
				stack = append(stack, frame{e.Inputs[f.next-1], 0})
			default:
				done[f.id] = true
				if e == nil {
					e = &mlxfn.Entry{Kind: mlxfn.Input, ID: f.id}
				}
				t.fn.Tape = append(t.fn.Tape, *e)
				stack = stack[:len(stack)-1]
			}
		}
	}
}

func field(name string, value any) mlxfn.Field { return mlxfn.Field{Name: name, Value: value} }

// literal records a constant.
func (t *tracer) literal(l *graph.Literal) array {
	k := fmt.Sprint(l.DType, l.Shape, sha256.Sum256(l.Data))
	id, ok := t.ids.constants[k]
	if !ok {
		id = t.ids.next()
		t.ids.constants[k] = id
	}
	t.entries[id] = &mlxfn.Entry{Kind: mlxfn.Constant, ID: id, Outputs: []mlxfn.Value{{ID: id, Type: mlxfn.TypeInfo{Shape: l.Shape, DType: l.DType}}}, Data: l.Data}
	return array{id, l.DType, l.Shape}
}

func (t *tracer) scalar(dtype graph.DType, v float64) array {
	return t.literal(graph.ScalarLiteral(dtype, v))
}

func (t *tracer) astype(a array, dtype graph.DType) array {
	if a.dtype == dtype {
		return a
	}
	return t.op("AsType", dtype, a.shape, []array{a}, field("dtype", dtype))
}

func (t *tracer) broadcastTo(a array, shape []int) array {
	if slices.Equal(a.shape, shape) {
		return a
	}
	return t.op("Broadcast", a.dtype, shape, []array{a}, field("shape", slices.Clone(shape)))
}

// broadcastShapes is the common shape of all.
func broadcastShapes(shapes ...[]int) []int {
	var out []int
	for _, s := range shapes {
		if len(s) > len(out) {
			out = append(make([]int, 0, len(s)), slices.Concat(ones(len(s)-len(out)), out)...)
		}
		for i, n := range s {
			if at := len(out) - len(s) + i; out[at] == 1 {
				out[at] = n
			} else if n != 1 && n != out[at] {
				fail("shapes %v cannot be broadcast", shapes)
			}
		}
	}
	return out
}

func ones(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

func (t *tracer) broadcastArrays(in ...array) []array {
	shapes := make([][]int, len(in))
	for i, a := range in {
		shapes[i] = a.shape
	}
	shape := broadcastShapes(shapes...)
	out := make([]array, len(in))
	for i, a := range in {
		out[i] = t.broadcastTo(a, shape)
	}
	return out
}

// broadcastExcept broadcasts all axes but the listed ones, which count from the end.
func (t *tracer) broadcastExcept(axes []int, in ...array) []array {
	shapes := make([][]int, len(in))
	for i, a := range in {
		shapes[i] = slices.Clone(a.shape)
		for _, ax := range axes {
			shapes[i][a.ndim()+ax] = 1
		}
	}
	shape := broadcastShapes(shapes...)
	out := make([]array, len(in))
	for i, a := range in {
		s := slices.Clone(shape)
		for _, ax := range axes {
			s[len(s)+ax] = a.dim(ax)
		}
		out[i] = t.broadcastTo(a, s)
	}
	return out
}

func (t *tracer) reshape(a array, shape []int) array {
	if slices.Equal(a.shape, shape) {
		return a
	}
	return t.op("Reshape", a.dtype, shape, []array{a}, field("shape", slices.Clone(shape)))
}

func (t *tracer) flatten(a array, start, end int) array {
	if start == end {
		return a
	}
	n := 1
	for _, d := range a.shape[start : end+1] {
		n *= d
	}
	shape := slices.Concat(a.shape[:start], []int{n}, a.shape[end+1:])
	return t.op("Flatten", a.dtype, shape, []array{a}, field("start_axis", start), field("end_axis", end))
}

func (t *tracer) unflatten(a array, axis int, shape []int) array {
	if len(shape) == 1 {
		return a
	}
	out := slices.Concat(a.shape[:axis], shape, a.shape[axis+1:])
	return t.op("Unflatten", a.dtype, out, []array{a}, field("axis", axis), field("shape", slices.Clone(shape)))
}

func (t *tracer) expandDims(a array, axes ...int) array {
	if len(axes) == 0 {
		return a
	}
	shape := make([]int, 0, a.ndim()+len(axes))
	next := 0
	for i := range cap(shape) {
		if slices.Contains(axes, i) {
			shape = append(shape, 1)
		} else {
			shape = append(shape, a.shape[next])
			next++
		}
	}
	return t.op("ExpandDims", a.dtype, shape, []array{a}, field("axes", slices.Clone(axes)))
}

func (t *tracer) squeeze(a array, axes ...int) array {
	if len(axes) == 0 {
		return a
	}
	var shape []int
	for i, n := range a.shape {
		if !slices.Contains(axes, i) {
			shape = append(shape, n)
		}
	}
	return t.op("Squeeze", a.dtype, shape, []array{a}, field("axes", slices.Clone(axes)))
}

func (t *tracer) transpose(a array, axes []int) array {
	shape := make([]int, len(axes))
	for i, ax := range axes {
		shape[i] = a.shape[ax]
	}
	return t.op("Transpose", a.dtype, shape, []array{a}, field("axes", slices.Clone(axes)))
}

// sliceShape is the shape of a slice, and the strides that MLX keeps: those of an
// axis of which one element is taken are 1.
func sliceShape(start, stop, strides []int) (shape, kept []int) {
	shape, kept = make([]int, len(start)), slices.Clone(strides)
	for i := range start {
		shape[i] = max(0, (stop[i]-start[i]+strides[i]-1)/strides[i])
		if shape[i] == 1 {
			kept[i] = 1
		}
	}
	return shape, kept
}

func (t *tracer) slice(a array, start, stop, strides []int) array {
	shape, strides := sliceShape(start, stop, strides)
	if slices.Equal(shape, a.shape) {
		return a
	}
	return t.op("Slice", a.dtype, shape, []array{a}, field("start", start), field("end", stop), field("strides", strides))
}

func (t *tracer) sliceUpdate(a, update array, start, stop, strides []int) array {
	shape, strides := sliceShape(start, stop, strides)
	update = t.broadcastTo(t.astype(update, a.dtype), shape)
	if slices.Equal(shape, a.shape) {
		return update
	}
	return t.op("SliceUpdate", a.dtype, a.shape, []array{a, update}, field("type", "None"), field("start", start), field("end", stop), field("strides", strides))
}

func (t *tracer) sliceUpdateDynamic(a, update, start array, axes []int) array {
	shape := slices.Clone(update.shape)
	lead := max(0, a.ndim()-len(shape))
	shape = slices.Concat(a.shape[:lead], shape)
	for i := lead; i < a.ndim(); i++ {
		shape[i] = min(shape[i], a.shape[i])
	}
	for _, ax := range axes {
		if ax < lead {
			shape[ax] = 1
		}
	}
	update = t.broadcastTo(t.astype(update, a.dtype), shape)
	return t.op("DynamicSliceUpdate", a.dtype, a.shape, []array{a, update, start}, field("axes", slices.Clone(axes)))
}

func (t *tracer) concatenate(in []array, axis int, dtype graph.DType) array {
	if len(in) == 1 {
		return in[0]
	}
	shape := slices.Clone(in[0].shape)
	for _, a := range in[1:] {
		shape[axis] += a.shape[axis]
	}
	return t.op("Concatenate", dtype, shape, in, field("axis", axis))
}

func (t *tracer) arange(start, stop, step int, dtype graph.DType, n int) array {
	return t.op("Arange", dtype, []int{n}, nil, field("start", float64(start)), field("stop", float64(stop)), field("step", float64(step)))
}

// elementwise is for primitives of one operand without broadcasting.
func (t *tracer) elementwise(primitive string, dtype graph.DType, a array, state ...mlxfn.Field) array {
	return t.op(primitive, dtype, a.shape, []array{a}, state...)
}

// binary is for primitives of operands that are broadcast; they have their types.
func (t *tracer) binary(primitive string, dtype graph.DType, in []array, state ...mlxfn.Field) array {
	in = t.broadcastArrays(in...)
	return t.op(primitive, dtype, in[0].shape, in, state...)
}

func (t *tracer) floorDivide(a, b array, dtype graph.DType) array {
	switch {
	case !slices.Contains([]string{"0.31.2", "0.32.0", "0.32.1", "0.32.2", "0.32.3"}, t.version):
		return t.binary("FloorDivide", dtype, []array{a, b})
	case dtype.IsFloat():
		return t.elementwise("Floor", dtype, t.binary("Divide", dtype, []array{a, b}))
	}
	return t.binary("Divide", dtype, []array{a, b})
}

// reduce is for Reduce, ArgReduce and LogSumExp, which keep the reduced axes.
func (t *tracer) reduce(op string, a array, axes []int, keepdims bool, dtype graph.DType) array {
	shape, same := slices.Clone(a.shape), true
	for _, ax := range axes {
		same = same && shape[ax] == 1
		shape[ax] = 1
	}
	prim := map[string]string{"all": "And", "any": "Or", "sum": "Sum", "prod": "Prod", "min": "Min", "max": "Max"}
	var out array
	switch {
	case op == "argmax" || op == "argmin":
		if same {
			out = t.broadcastTo(t.scalar(dtype, 0), shape)
			break
		}
		out = t.op("ArgReduce", dtype, shape, []array{a}, field("type", map[string]string{"argmax": "ArgMax", "argmin": "ArgMin"}[op]), field("axis", axes[0]))
	case op == "logsumexp":
		if !lastAxes(a, axes) {
			fail("logsumexp over axes %v of %v: only the last axis is one primitive in MLX", axes, a.shape)
		}
		out = t.op("LogSumExp", dtype, shape, []array{a})
	case same:
		out = t.astype(a, dtype)
	default:
		out = t.op("Reduce", dtype, shape, []array{a}, field("type", prim[op]), field("axes", slices.Clone(axes)))
	}
	if !keepdims {
		out = t.squeeze(out, axes...)
	}
	return out
}

// lastAxes reports whether axes are the last one, or several at the end of which all
// but the last have length 1.
func lastAxes(a array, axes []int) bool {
	for i, ax := range axes {
		if ax != a.ndim()-len(axes)+i || i < len(axes)-1 && a.shape[ax] != 1 {
			return false
		}
	}
	return len(axes) > 0
}

func (t *tracer) softmax(a array, axis int, precise bool, dtype graph.DType) array {
	if axis == a.ndim()-1 {
		return t.op("Softmax", dtype, a.shape, []array{a}, field("precise", precise))
	}
	in := a
	if precise {
		in = t.astype(a, graph.Float32)
	}
	exp := t.elementwise("Exp", in.dtype, t.binary("Subtract", in.dtype, []array{in, t.reduce("max", in, []int{axis}, true, in.dtype)}))
	sum := t.reduce("sum", exp, []int{axis}, true, exp.dtype)
	return t.astype(t.binary("Divide", exp.dtype, []array{exp, sum}), dtype)
}

func (t *tracer) matmul(a, b array, dtype graph.DType) array {
	rankA, rankB, shapeA := a.ndim(), b.ndim(), a.shape
	if rankA == 1 {
		a = t.expandDims(a, 0)
	}
	if rankB == 1 {
		b = t.expandDims(b, 1)
	}
	flat := rankA > 2 && rankB <= 2
	if flat {
		a = t.flatten(a, 0, rankA-2)
	} else if rankA > 2 || rankB > 2 {
		both := t.broadcastExcept([]int{-2, -1}, a, b)
		a, b = both[0], both[1]
	}
	shape := append(slices.Clone(a.shape[:a.ndim()-1]), b.dim(-1))
	out := t.op("Matmul", dtype, shape, []array{a, b})
	if flat {
		out = t.unflatten(out, 0, shapeA[:rankA-1])
	}
	return t.squeezeVectors(out, rankA, rankB)
}

// conv1d records conv_general over one axis. out is the result's type.
func (t *tracer) conv1d(x, w array, stride, padding, dilation, groups int, out array) array {
	one := func(n int) []int { return []int{n} }
	return t.op("Convolution", out.dtype, out.shape, []array{x, w}, field("stride", one(stride)), field("padding_lo", one(padding)), field("padding_hi", one(padding)),
		field("kernel_dilation", one(dilation)), field("input_dilation", one(1)), field("groups", groups), field("flip", false))
}

// squeezeVectors removes the axes that were added to vectors for a product.
func (t *tracer) squeezeVectors(out array, rankA, rankB int) array {
	var axes []int
	if rankA == 1 {
		axes = append(axes, out.ndim()-2)
	}
	if rankB == 1 {
		axes = append(axes, out.ndim()-1)
	}
	return t.squeeze(out, axes...)
}

func (t *tracer) addmm(c, a, b array, alpha, beta float32, dtype graph.DType) array {
	rankA, rankB := a.ndim(), b.ndim()
	if rankA == 1 || rankB == 1 {
		fail("addmm of a vector")
	}
	state := []mlxfn.Field{field("alpha", alpha), field("beta", beta)}
	if rankA > 2 && rankB == 2 && c.ndim() <= 1 {
		lead := a.shape[:rankA-1]
		rows := 1
		for _, n := range lead {
			rows *= n
		}
		a = t.reshape(a, []int{rows, a.dim(-1)})
		shape := []int{rows, b.dim(-1)}
		out := t.op("AddMM", dtype, shape, []array{a, b, t.broadcastTo(c, shape)}, state...)
		return t.reshape(out, append(slices.Clone(lead), b.dim(-1)))
	}
	if rankA > 2 || rankB > 2 {
		lead := broadcastShapes(a.shape[:rankA-2], b.shape[:rankB-2])
		a = t.broadcastTo(a, slices.Concat(lead, a.shape[rankA-2:]))
		b = t.broadcastTo(b, slices.Concat(lead, b.shape[rankB-2:]))
	}
	shape := append(slices.Clone(a.shape[:a.ndim()-1]), b.dim(-1))
	return t.op("AddMM", dtype, shape, []array{a, b, t.broadcastTo(c, shape)}, state...)
}

func (t *tracer) quantizedMatmul(in []array, outer int, dtype graph.DType, state []mlxfn.Field) array {
	if in[0].ndim() > 2 && in[1].ndim() > 2 {
		in = t.broadcastExcept([]int{-2, -1}, in...)
	}
	shape := append(slices.Clone(in[0].shape[:in[0].ndim()-1]), outer)
	return t.op("QuantizedMatmul", dtype, shape, in, state...)
}

// matrixIndices are the indices of all matrices of a, which stand for absent ones.
func (t *tracer) matrixIndices(a array) array {
	lead := a.shape[:a.ndim()-2]
	n := 1
	for _, d := range lead {
		n *= d
	}
	return t.reshape(t.arange(0, n, 1, graph.Uint32, n), lead)
}

// gatherMatrices is for gather_qmm and gather_mm. lhs or rhs may be nil.
func (t *tracer) gatherMatrices(primitive string, operands []array, lhs, rhs *array, outer int, sorted bool, dtype graph.DType, state []mlxfn.Field) array {
	state = append(state, field("left_sorted", sorted && rhs == nil), field("right_sorted", sorted && lhs == nil))
	index := func(given *array, of array) array {
		if given != nil {
			return *given
		}
		return t.matrixIndices(of)
	}
	both := t.broadcastArrays(index(lhs, operands[0]), index(rhs, operands[1]))
	shape := append(slices.Clone(both[0].shape), operands[0].dim(-2), outer)
	return t.op(primitive, dtype, shape, append(slices.Clone(operands), both...), state...)
}

func (t *tracer) take(a, indices array, axis int) array {
	sizes := slices.Clone(a.shape)
	sizes[axis] = 1
	k := indices.ndim()
	out := t.op("Gather", a.dtype, slices.Concat(indices.shape, sizes), []array{a, indices}, field("axes", []int{axis}), field("slice_sizes", sizes))
	if axis != 0 {
		var perm []int
		for i := range axis {
			perm = append(perm, k+i)
		}
		for i := range k {
			perm = append(perm, i)
		}
		for i := axis + k; i < out.ndim(); i++ {
			perm = append(perm, i)
		}
		out = t.transpose(out, perm)
	}
	return t.squeeze(out, k+axis)
}

func (t *tracer) takeAlongAxis(a, indices array, axis int) array {
	both := t.broadcastExcept([]int{axis - a.ndim()}, a, indices)
	return t.op("GatherAxis", a.dtype, both[1].shape, both, field("axis", axis))
}

func (t *tracer) putAlongAxis(a, indices, values array, axis int) array {
	if a.elements() == 0 {
		return a
	}
	if extra := values.ndim() - indices.ndim(); extra > 0 {
		axes := make([]int, extra)
		for i := range axes {
			axes[i] = i
		}
		values = t.squeeze(values, axes...)
	}
	both := t.broadcastArrays(indices, values)
	all := t.broadcastExcept([]int{axis - a.ndim()}, a, both[0], both[1])
	return t.op("ScatterAxis", a.dtype, all[0].shape, all, field("type", "None"), field("axis", axis))
}

func (a array) elements() int {
	n := 1
	for _, d := range a.shape {
		n *= d
	}
	return n
}
