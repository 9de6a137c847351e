package normal

import (
	"fmt"
	"math"

	"zmlx-rewrite/graph"
)

// This file holds MLX's own fallbacks for its fast operations, operation by
// operation and constant by constant (mlx/fast.cpp and ops.cpp of 0.32.2). The same
// functions lower a graph and check what is raised.

// Target is what a graph is lowered for.
type Target string

const (
	// CPU has no code for fast operations: they become MLX's fallbacks.
	CPU Target = "cpu"
	// GPU keeps them. Only cache writes, which MLX has no operation for, are lowered,
	// and attention over a part of a cache.
	GPU Target = "gpu"
)

// lowerings says how each op that is not MLX's own on a target becomes others. A
// function returns None if it fails; err says why.
var lowerings map[string]lowerRow

type lowerRow struct {
	lower   func(*builder, *lowering) graph.ValueID
	targets []Target
}

// Set here, since the functions refer to the table by way of the builder.
func init() {
	lowerings = map[string]lowerRow{
		"rms_norm":   {lowerRMSNorm, []Target{CPU}},
		"layer_norm": {lowerLayerNorm, []Target{CPU}},
		"rope":       {lowerRope, []Target{CPU}},
		"sdpa":       {lowerSDPA, []Target{CPU}},
		"dequantize": {lowerDequantize, []Target{CPU}},
		"kv_append":  {lowerKVAppend, []Target{CPU, GPU}},
	}
}

// lowering is a call to be lowered.
type lowering struct {
	*graph.Call
	in  []graph.ValueID
	out graph.Type
}

// arg returns operand i, None if absent.
func (l *lowering) arg(i int) graph.ValueID {
	if i < len(l.in) {
		return l.in[i]
	}
	return graph.None
}

func (l *lowering) float(name string) float64 { f, _ := l.Attr(name).(graph.Float); return float64(f) }

// Lower replaces, in place, the operations that MLX does not have on the target by
// those that it falls back to. Equal nodes become one. The graph may be symbolic only
// where the fallbacks' constants do not depend on it.
func Lower(g *graph.Graph, target Target) error {
	if err := g.Compact(); err != nil {
		return err
	}
	b := newBuilder(g)
	b.target = target
	if err := b.walk(); err != nil {
		return fmt.Errorf("lowering for %s: %w", target, err)
	}
	return nil
}

// lowered returns what c becomes on b's target, and whether it becomes anything.
func (b *builder) lowered(c *graph.Call, in []graph.ValueID, out graph.Type) (graph.ValueID, bool) {
	row, ok := lowerings[c.Op.Name]
	if !ok || b.target == "" {
		return graph.None, false
	}
	l := &lowering{c, in, out}
	for _, t := range row.targets {
		if t == b.target {
			return row.lower(b, l), true
		}
	}
	if c.Op.Name == "sdpa" && l.Attr("kv_len") != nil {
		return lowerPartialSDPA(b, l)
	}
	return graph.None, false
}

func (b *builder) fail(format string, args ...any) graph.ValueID {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
	return graph.None
}

// Operations with attributes, as the fallbacks call them.

func (b *builder) astype(v graph.ValueID, t graph.DType) graph.ValueID {
	if b.dtype(v) == t {
		return v
	}
	return b.add("astype", []graph.ValueID{v}, t)
}
func (b *builder) sum(v graph.ValueID, axis int, keepdims bool) graph.ValueID {
	return b.add("sum", []graph.ValueID{v}, graph.DimsOf([]int{axis}), graph.Flag(keepdims))
}
func (b *builder) expandDims(v graph.ValueID, axes ...int) graph.ValueID {
	return b.add("expand_dims", []graph.ValueID{v}, graph.DimsOf(axes))
}
func (b *builder) reshape(v graph.ValueID, shape ...graph.Dim) graph.ValueID {
	return b.add("reshape", []graph.ValueID{v}, graph.Dims(shape))
}
func (b *builder) unflatten(v graph.ValueID, axis int, shape ...graph.Dim) graph.ValueID {
	return b.add("unflatten", []graph.ValueID{v}, graph.N(int64(axis)), graph.Dims(shape))
}
func (b *builder) broadcast(v graph.ValueID, shape ...graph.Dim) graph.ValueID {
	return b.add("broadcast_to", []graph.ValueID{v}, graph.Dims(shape))
}
func (b *builder) arange(start, stop graph.Dim, step int64, t graph.DType) graph.ValueID {
	return b.add("arange", nil, start, stop, graph.N(step), t)
}

// sliceAxis is a[..., start:stop:stride, ...].
func (b *builder) sliceAxis(v graph.ValueID, axis int, start, stop graph.Dim, stride int64) graph.ValueID {
	return b.add("slice", []graph.ValueID{v}, graph.DimsOf([]int{axis}), graph.Dims{start}, graph.Dims{stop}, graph.Dims{graph.N(stride)})
}

// swapLast swaps the last two axes.
func (b *builder) swapLast(v graph.ValueID) graph.ValueID {
	rank := len(b.shape(v))
	if rank < 2 {
		return graph.None
	}
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = i
	}
	perm[rank-1], perm[rank-2] = rank-2, rank-1
	return b.add("transpose", []graph.ValueID{v}, graph.DimsOf(perm))
}

// mean is over the last axis, which it keeps: a sum times the reciprocal of the
// length, rounded.
func (b *builder) mean(v graph.ValueID, length int) graph.ValueID {
	return b.op("multiply", b.sum(v, -1, true), b.number(b.dtype(v), 1/float64(length)))
}

// width returns the length of the last axis of operand 0.
func (b *builder) width(l *lowering) (int, bool) {
	n, ok := l.In[0].Shape[l.In[0].Rank()-1].Const()
	if !ok {
		b.fail("%s: the length of the last axis, %s, is not a number", l.Op.Name, l.In[0].Shape[l.In[0].Rank()-1])
	}
	return int(n), ok
}

func lowerRMSNorm(b *builder, l *lowering) graph.ValueID {
	n, ok := b.width(l)
	if !ok {
		return graph.None
	}
	x := b.astype(l.in[0], graph.Float32)
	root := b.op("rsqrt", b.op("add", b.mean(b.op("square", x), n), b.number(graph.Float32, l.float("eps"))))
	x = b.astype(b.op("multiply", x, root), l.out.DType)
	if l.Has(1) {
		x = b.op("multiply", x, b.astype(l.in[1], l.out.DType))
	}
	return x
}

func lowerLayerNorm(b *builder, l *lowering) graph.ValueID {
	n, ok := b.width(l)
	if !ok {
		return graph.None
	}
	x := b.astype(l.in[0], graph.Float32)
	xc := b.op("subtract", x, b.mean(x, n))
	v := b.mean(b.op("square", xc), n)
	root := b.op("rsqrt", b.op("add", v, b.number(graph.Float32, l.float("eps"))))
	x = b.astype(b.op("multiply", xc, root), l.out.DType)
	if l.Has(1) {
		x = b.op("multiply", x, b.astype(l.in[1], l.out.DType))
	}
	if l.Has(2) {
		x = b.op("add", x, b.astype(l.in[2], l.out.DType))
	}
	return x
}

// ropeRate is log(base)/half in float32, as MLX computes it.
func ropeRate(base float64, half int) float64 {
	return float64(float32(math.Log(float64(float32(base)))) / float32(half))
}

func lowerRope(b *builder, l *lowering) graph.ValueID {
	const f32 = graph.Float32
	x, offset := l.in[0], l.in[1]
	shape := l.In[0].Shape
	if l.In[1].DType.Size() != 4 {
		offset = b.astype(offset, graph.Int32)
	}
	switch rank := len(shape); {
	case rank == 3:
		x = b.expandDims(x, 1)
	case rank > 4:
		x = b.add("flatten", []graph.ValueID{x}, graph.N(1), graph.N(int64(1+rank-4)))
	}
	four := b.shape(x)
	if four == nil {
		return graph.None
	}
	dims := l.Dim("dims").Int()
	half := dims / 2
	if l.In[1].Rank() == 1 && !l.In[1].Shape[0].Is(1) {
		offset = b.expandDims(offset, -1, -2)
	}
	rows := four[2]
	positions := b.op("multiply", b.op("add", b.arange(graph.N(0), rows, 1, f32), offset), b.number(f32, l.float("scale")))
	var freqs graph.ValueID
	if l.Has(2) {
		freqs = b.op("divide", b.number(f32, 1), b.astype(l.in[2], f32))
	} else {
		freqs = b.op("exp", b.op("multiply", b.arange(graph.N(0), graph.N(int64(-half)), -1, f32), b.number(f32, ropeRate(l.float("base"), half))))
	}
	theta := b.op("multiply", b.expandDims(positions, -1), freqs)
	cos, sin := b.astype(b.op("cos", theta), l.In[0].DType), b.astype(b.op("sin", theta), l.In[0].DType)
	rotate := func(x1, x2 graph.ValueID) []graph.ValueID {
		return []graph.ValueID{
			b.op("subtract", b.op("multiply", x1, cos), b.op("multiply", x2, sin)),
			b.op("add", b.op("multiply", x1, sin), b.op("multiply", x2, cos)),
		}
	}
	last := four[3]
	whole := last.Is(int64(dims))
	n := func(k int) graph.Dim { return graph.N(int64(k)) }
	var out graph.ValueID
	if l.Flag("traditional") {
		pair := rotate(b.sliceAxis(x, -1, n(0), n(dims), 2), b.sliceAxis(x, -1, n(1), n(dims), 2))
		for i, v := range pair {
			pair[i] = b.expandDims(v, -1)
		}
		out = b.reshape(b.add("concatenate", pair, n(-1)), four[0], four[1], rows, n(dims))
		if !whole {
			out = b.add("concatenate", []graph.ValueID{out, b.sliceAxis(x, -1, n(dims), last, 1)}, n(-1))
		}
	} else {
		parts := rotate(b.sliceAxis(x, -1, n(0), n(half), 1), b.sliceAxis(x, -1, n(half), n(dims), 1))
		if !whole {
			parts = append(parts, b.sliceAxis(x, -1, n(dims), last, 1))
		}
		out = b.add("concatenate", parts, n(-1))
	}
	if len(shape) == 4 {
		return out
	}
	return b.reshape(out, shape...)
}

func lowerSDPA(b *builder, l *lowering) graph.ValueID {
	t := l.out.DType
	q, k, v := b.astype(l.in[0], t), b.astype(l.in[1], t), b.astype(l.in[2], t)
	qs, ks := l.In[0].Shape, l.In[1].Shape
	mask, word := l.arg(3), l.Str("mask")
	if l.Attr("kv_len") != nil {
		var ok bool
		if mask, word, k, v, ok = b.seenRows(l, k, v); !ok {
			return graph.None
		}
		if ks = b.shape(k); ks == nil {
			return graph.None
		}
	} else if word == "window" {
		return b.fail("sdpa: MLX has no window mask over a whole cache")
	}
	heads, groups := qs[1], ks[1]
	repeats, ok := heads.Div(groups)
	if !ok {
		return b.fail("sdpa: %s heads are no multiple of %s", heads, groups)
	}
	grouped := !repeats.Is(1)
	q = b.op("multiply", b.number(t, l.float("scale")), q)
	if grouped {
		q, k, v = b.unflatten(q, 1, groups, repeats), b.expandDims(k, 2), b.expandDims(v, 2)
	}
	scores := b.op("matmul", q, b.swapLast(k))
	switch word {
	case "causal":
		from := ks[2].Sub(qs[2])
		rows := b.expandDims(b.arange(from, ks[2], 1, graph.Int32), 1)
		mask = b.op("greater_equal", rows, b.expandDims(b.arange(graph.N(0), ks[2], 1, graph.Int32), 0))
		scores = b.op("where", mask, scores, b.number(t, graph.Lowest(t)))
	case "array":
		boolean := b.dtype(mask) == graph.Bool
		if !boolean {
			mask = b.astype(mask, t)
		}
		mask = b.broadcast(mask, qs[0], qs[1], qs[2], ks[2])
		if grouped {
			mask = b.unflatten(mask, -3, groups, repeats)
		}
		if boolean {
			scores = b.op("where", mask, scores, b.number(t, graph.Lowest(t)))
		} else {
			scores = b.op("add", scores, mask)
		}
	}
	if sinks := l.arg(4); sinks != graph.None {
		sinks = b.expandDims(b.astype(sinks, t), 0, 2, 3)
		one := []graph.Dim{qs[0], qs[1], qs[2], graph.N(1)}
		if grouped {
			sinks = b.unflatten(sinks, 1, groups, repeats)
			one = []graph.Dim{qs[0], groups, repeats, qs[2], graph.N(1)}
		}
		scores = b.add("concatenate", []graph.ValueID{b.broadcast(sinks, one...), scores}, graph.N(-1))
	}
	scores = b.add("softmax", []graph.ValueID{scores}, graph.N(-1), graph.Flag(true))
	if l.arg(4) != graph.None {
		scores = b.sliceAxis(scores, -1, graph.N(1), ks[2].Add(graph.N(1)), 1)
	}
	out := b.op("matmul", scores, v)
	if grouped {
		out = b.add("flatten", []graph.ValueID{out}, graph.N(1), graph.N(2))
	}
	return out
}

// seenRows says which rows of k and v attention sees when kv_len says how many are
// there. The rows of a cache that was just written to are masked by position, since
// its offset is an array; otherwise kv_len is a number and the rest is cut off.
func (b *builder) seenRows(l *lowering, k, v graph.ValueID) (mask graph.ValueID, word string, keys, values graph.ValueID, ok bool) {
	word = l.Str("mask")
	offset := b.offsetOf(l.in[1])
	if offset == graph.None {
		n := l.Dim("kv_len")
		if _, isNumber := n.Const(); !isNumber {
			b.fail("sdpa: kv_len %s is not a number, and k is no cache that was appended to", n)
			return
		}
		if word == "window" {
			b.fail("sdpa: mask window needs a cache that was appended to")
			return
		}
		return l.arg(3), word, b.sliceAxis(k, 2, graph.N(0), n, 1), b.sliceAxis(v, 2, graph.N(0), n, 1), true
	}
	if word == "array" {
		b.fail("sdpa: an array mask over a part of a cache is not supported")
		return
	}
	// Query i stands at row offset+i of the cache, which holds capacity rows.
	length, capacity := l.In[0].Shape[2], l.In[1].Shape[2]
	if b.isRing(offset) && word == "none" && length.Is(1) {
		// A ring: the row may be anywhere, and all are seen that were written to.
		tokens := b.input(inputOffset)
		if tokens == graph.None {
			b.fail("sdpa: how many rows of a ring are there says the input %s, which the graph does not have", inputOffset)
			return
		}
		columns := b.expandDims(b.arange(graph.N(0), capacity, 1, graph.Int32), 0)
		return b.op("greater_equal", b.reshape(tokens, graph.N(1), graph.N(1)), columns), "array", k, v, b.err == nil && b.missing == ""
	}
	at := b.op("add", b.vector(offset), b.arange(graph.N(0), length, 1, graph.Int32))
	if word == "none" && !length.Is(1) { // all queries see what the last one does
		at = b.op("add", b.vector(offset), b.constant(&graph.Literal{DType: graph.Int32, Shape: []int{1}, Data: graph.AppendElem(nil, graph.Int32, float64(length.Int()-1))}))
	}
	rows, columns := b.expandDims(at, 1), b.expandDims(b.arange(graph.N(0), capacity, 1, graph.Int32), 0)
	mask = b.op("greater_equal", rows, columns)
	if word == "window" { // mlx_lm.models.base.create_causal_mask
		size := b.number(graph.Int32, float64(l.Dim("window").Int()))
		mask = b.op("logical_and", mask, b.op("less", rows, b.op("add", columns, size)))
	}
	return mask, "array", k, v, b.err == nil && b.missing == ""
}

// lowerPartialSDPA writes the mask of attention over a part of a cache, and leaves
// the attention to MLX.
func lowerPartialSDPA(b *builder, l *lowering) (graph.ValueID, bool) {
	mask, word, k, v, ok := b.seenRows(l, l.in[1], l.in[2])
	if !ok {
		return graph.None, true
	}
	return b.add("sdpa", []graph.ValueID{l.in[0], k, v, mask, l.arg(4)}, l.Attr("scale"), graph.Str(word)), true
}

// offsetOf returns the offset at which the cache v was written to, or None.
func (b *builder) offsetOf(v graph.ValueID) graph.ValueID {
	if n := b.is(v, "kv_append"); n != nil {
		return n.In[2]
	}
	if n := b.is(v, "slice_update_dynamic"); n != nil && isRowAxis(n.Attrs[0]) {
		return n.In[2]
	}
	return graph.None
}

// The inputs that say where a step writes: tokens before it, and the first row of a ring.
const (
	inputOffset       = "offset"
	inputWindowOffset = "window_offset"
)

// isRing reports whether a cache that is written to at offset is a ring behind a
// sliding window.
func (b *builder) isRing(offset graph.ValueID) bool {
	offset = b.unviewed(offset) // which is a vector where the write is lowered already
	return offset != graph.None && b.g.InputName(offset) == inputWindowOffset
}

// input returns the input of that name, or None.
func (b *builder) input(name string) graph.ValueID {
	for _, v := range b.g.Inputs() {
		if b.g.InputName(v) == name {
			return v
		}
	}
	return graph.None
}

// isRowAxis reports whether a is the list of the axis of rows of a cache.
func isRowAxis(a graph.Attr) bool { return a.Equal(graph.Dims{graph.N(-2)}) }

// vector makes a vector of one element of an offset.
func (b *builder) vector(offset graph.ValueID) graph.ValueID {
	if len(b.shape(offset)) == 0 {
		return b.reshape(offset, graph.N(1))
	}
	return offset
}

func lowerKVAppend(b *builder, l *lowering) graph.ValueID {
	if l.In[2].Rank() == 1 && !l.In[2].Shape[0].Is(1) {
		return b.fail("kv_append: MLX writes all sequences at the same offset")
	}
	rows := b.astype(l.in[1], l.out.DType)
	return b.add("slice_update_dynamic", []graph.ValueID{l.in[0], rows, b.vector(l.in[2])}, graph.Dims{graph.N(-2)})
}

// lowerDequantize is affine_dequantize.
func lowerDequantize(b *builder, l *lowering) graph.ValueID {
	const u32 = graph.Uint32
	if mode := l.Str("mode"); mode != "affine" {
		return b.fail("dequantize: MLX cannot export mode %s on the CPU", mode)
	}
	w, bits, group := l.in[0], l.Dim("bits").Int(), l.Dim("group_size")
	number := func(n int) graph.ValueID { return b.number(u32, float64(n)) }
	lead := l.In[0].Shape[:l.In[0].Rank()-1]
	packed := l.In[0].Shape[len(lead)]
	if bits&(bits-1) == 0 {
		var parts []graph.ValueID
		for start := 0; start < 32; start += bits {
			part := b.op("right_shift", b.op("left_shift", w, number(32-(start+bits))), number(32-bits))
			parts = append(parts, b.expandDims(part, -1))
		}
		w = b.add("concatenate", parts, graph.N(-1))
	} else {
		w = b.op("right_shift", b.expandDims(w, -1), b.arange(graph.N(0), graph.N(32), 1, u32))
		one := b.constant(&graph.Literal{DType: u32, Shape: []int{1}, Data: graph.AppendElem(nil, u32, 1)})
		w = b.op("bitwise_and", w, one)
		count, ok := packed.Mul(graph.N(32)).Div(graph.N(int64(bits)))
		if !ok {
			return b.fail("dequantize: %s words do not hold whole numbers of %d bits", packed, bits)
		}
		w = b.reshape(w, append(append([]graph.Dim{}, lead...), count, graph.N(int64(bits)))...)
		w = b.sum(b.op("left_shift", w, b.arange(graph.N(0), graph.N(int64(bits)), 1, u32)), -1, false)
	}
	groups := l.In[1].Shape[len(lead)]
	w = b.reshape(w, append(append([]graph.Dim{}, lead...), groups, group)...)
	w = b.op("multiply", w, b.expandDims(l.in[1], -1))
	w = b.op("add", w, b.expandDims(l.in[2], -1))
	w = b.reshape(w, l.out.Shape...)
	return b.astype(w, l.out.DType)
}
