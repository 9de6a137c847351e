package normal

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"zmlx-rewrite/graph"
)

// Note says why something was not raised that looks as if it could be.
type Note struct {
	Scope string // where in the model
	What  string
}

// candidate is an operation that may stand for the nodes behind a value.
type candidate struct {
	op    string
	in    []graph.ValueID
	attrs []graph.Attr
}

// raiser recognises the decompositions of one kind of op. Its function only guesses:
// it returns candidates for a node by looking for what tells the op's parameters. A
// candidate is accepted if its lowering, in normal form, is the very node.
type raiser struct {
	op    string
	roots []string // ops that a decomposition may end with
	guess func(b *builder, root graph.ValueID, n *graph.Node) []candidate
}

// The order matters: attention looks for the caches that it reads, and a layer norm
// has an rms norm inside.
var raisers = []raiser{
	{"kv_append", []string{"slice_update_dynamic"}, guessKVAppend},
	{"dequantize", []string{"reshape"}, guessDequantize},
	{"layer_norm", []string{"add", "multiply", "astype"}, guessLayerNorm},
	{"rms_norm", []string{"multiply", "astype"}, guessRMSNorm},
	{"rope", []string{"reshape", "concatenate"}, guessRope},
	{"sdpa", []string{"flatten", "matmul"}, guessSDPA},
}

// Raise brings g to normal form and replaces decompositions of norms, rope, attention
// and dequantization, and writes into caches, by the ops that they are lowered to.
// The result is in normal form. Notes name the places where something looked like
// one of these and is not.
func Raise(g *graph.Graph) (Counts, []Note, error) {
	counts := Counts{}
	form := func() error {
		c, err := spellOut(g)
		for name, n := range c {
			counts[name] += n
		}
		return err
	}
	if err := form(); err != nil {
		return nil, nil, err
	}
	var notes []Note
	for _, r := range raisers {
		n, more, err := r.run(g)
		if err != nil {
			return nil, nil, fmt.Errorf("raising %s: %w", r.op, err)
		}
		notes = append(notes, more...)
		if n == 0 {
			continue
		}
		counts["raise "+r.op] += n
		if err := form(); err != nil {
			return nil, nil, err
		}
	}
	return counts, notes, implicit(g, counts)
}

// run raises one kind of op in a graph in normal form, outermost first: a norm with
// weights is tried before the norm without that is inside it.
func (r *raiser) run(g *graph.Graph) (int, []Note, error) {
	b := newBuilder(g)
	b.passes = passesByOp
	if err := b.walk(); err != nil {
		return 0, nil, err
	}
	uses := g.Uses()
	inside := map[graph.NodeID]bool{} // of what was raised
	raised := 0
	var notes []Note
	for id := graph.NodeID(g.NumNodes() - 1); id >= 0; id-- {
		n := *g.Node(id)
		if !slices.Contains(r.roots, n.Op.Name) || inside[id] && !usedOutside(uses, n.Out[0], inside) {
			continue
		}
		root := n.Out[0]
		b.scope = n.Scope
		near := ""
		for _, c := range r.guess(b, root, &n) {
			if b.err != nil {
				return 0, nil, atScope(b.err, n.Scope)
			}
			found, missing := b.check(c, root)
			if !found {
				near = missing
				continue
			}
			v := b.add(c.op, c.in, c.attrs...)
			if b.err != nil {
				return 0, nil, atScope(b.err, n.Scope)
			}
			if err := g.Replace(root, v); err != nil {
				return 0, nil, atScope(err, n.Scope)
			}
			for _, s := range b.seen {
				inside[s] = true
			}
			raised++
			near = ""
			break
		}
		if b.err != nil {
			return 0, nil, atScope(b.err, n.Scope)
		}
		if near != "" {
			notes = append(notes, Note{n.Scope, fmt.Sprintf("looks like %s, but %s", r.op, near)})
		}
	}
	return raised, notes, g.Compact()
}

// usedOutside reports whether anything reads v but nodes that were raised.
func usedOutside(u *graph.Uses, v graph.ValueID, inside map[graph.NodeID]bool) bool {
	return u.IsOutput(v) || slices.ContainsFunc(u.Of(v), func(n graph.NodeID) bool { return !inside[n] })
}

// check looks for the lowering of a candidate in the graph, node by node, without
// adding any. The last one must be root; else it says what is missing.
func (b *builder) check(c candidate, root graph.ValueID) (bool, string) {
	op := graph.LookupOp(c.op)
	types := make([]graph.Type, len(c.in))
	for i, v := range c.in {
		types[i].DType = graph.NoDType
		if v != graph.None {
			types[i] = b.g.Type(v)
		}
	}
	for len(types) > 0 && types[len(types)-1].DType == graph.NoDType {
		types = types[:len(types)-1]
	}
	call, results, err := graph.Infer(op, types, c.attrs)
	if err != nil {
		return false, err.Error()
	}
	if want := b.g.Type(root); !results[0].Equal(want) {
		return false, fmt.Sprintf("it would give %s, not %s", results[0], want)
	}
	b.find, b.missing, b.seen = true, "", b.seen[:0]
	counts := b.counts
	b.counts = nil
	v := lowerings[c.op].lower(b, &lowering{call, c.in, results[0]})
	missing, err := b.missing, b.err
	b.find, b.missing, b.err, b.counts = false, "", nil, counts
	switch {
	case err != nil:
		return false, err.Error()
	case missing != "":
		return false, "MLX would have " + missing + " in it, with other operands or constants than are here"
	case v != root:
		return false, "MLX would end it with another node"
	}
	return true, ""
}

// Steps of recognition. Each returns None if the value is made otherwise.

// operand returns operand i of the op that made v.
func (b *builder) operand(v graph.ValueID, op string, i int) graph.ValueID {
	if n := b.is(v, op); n != nil && i < len(n.In) {
		return n.In[i]
	}
	return graph.None
}

// converted returns what v is a conversion of, or v.
func (b *builder) converted(v graph.ValueID) graph.ValueID {
	if n := b.is(v, "astype"); n != nil {
		return n.In[0]
	}
	return v
}

// unviewed returns what v is a view of that keeps the order of elements, or v. MLX
// never has more than a few in a row.
func (b *builder) unviewed(v graph.ValueID) graph.ValueID {
	for range 4 {
		if v == graph.None || !isReshape(b.node(v)) {
			break
		}
		v = b.node(v).In[0]
	}
	return v
}

// wide returns what x, in float32, is a conversion of, or x.
func (b *builder) wide(x graph.ValueID) graph.ValueID {
	if n := b.is(x, "astype"); n != nil && b.dtype(x) == graph.Float32 && b.dtype(n.In[0]).IsFloat() {
		return n.In[0]
	}
	return x
}

// rooted takes multiply(x, rsqrt(add(mean, eps))) apart; mean is the product of a sum
// over the last axis with a constant.
func (b *builder) rooted(v graph.ValueID) (x, summed graph.ValueID, eps float64, ok bool) {
	x = b.operand(v, "multiply", 0)
	inner := b.operand(b.operand(v, "multiply", 1), "rsqrt", 0)
	eps, ok = b.scalar(b.operand(inner, "add", 1))
	if !ok || b.dtype(x) != graph.Float32 {
		return graph.None, graph.None, 0, false
	}
	summed = b.summed(b.operand(inner, "add", 0))
	return x, summed, eps, summed != graph.None
}

// summed returns x of multiply(sum(x), constant).
func (b *builder) summed(mean graph.ValueID) graph.ValueID {
	if _, ok := b.scalar(b.operand(mean, "multiply", 1)); !ok {
		// A sum over an axis of length 1, and its factor, are not there.
		return graph.None
	}
	return b.operand(b.operand(mean, "multiply", 0), "sum", 0)
}

// vectorOf reports whether v can be the weight of a norm of x.
func (b *builder) vectorOf(v, x graph.ValueID) bool {
	s, t := b.shape(v), b.shape(x)
	return len(s) == 1 && len(t) > 0 && s[0] == t[len(t)-1]
}

func guessRMSNorm(b *builder, root graph.ValueID, n *graph.Node) []candidate {
	guess := func(v, weight graph.ValueID) []candidate {
		x, summed, eps, ok := b.rooted(b.converted(v))
		if !ok || b.operand(summed, "square", 0) != x {
			return nil
		}
		in := []graph.ValueID{b.wide(x)}
		if weight != graph.None {
			in = append(in, weight)
		}
		return []candidate{{"rms_norm", in, []graph.Attr{graph.Float(eps)}}, {"rms_norm", append([]graph.ValueID{x}, in[1:]...), []graph.Attr{graph.Float(eps)}}}
	}
	if n.Op.Name == "multiply" && b.vectorOf(n.In[1], n.In[0]) {
		if c := guess(n.In[0], n.In[1]); c != nil {
			return c
		}
	}
	return guess(root, graph.None)
}

func guessLayerNorm(b *builder, root graph.ValueID, n *graph.Node) []candidate {
	weight, bias, v := graph.None, graph.None, root
	if n.Op.Name == "add" {
		if !b.vectorOf(n.In[1], n.In[0]) {
			return nil
		}
		bias, v = n.In[1], n.In[0]
	}
	take := func(v, weight graph.ValueID) []candidate {
		xc, summed, eps, ok := b.rooted(b.converted(v))
		x := b.operand(xc, "subtract", 0)
		if !ok || b.operand(summed, "square", 0) != xc || x == graph.None || b.summed(b.operand(xc, "subtract", 1)) != x {
			return nil
		}
		var all []candidate
		for _, x := range []graph.ValueID{b.wide(x), x} {
			all = append(all, candidate{"layer_norm", []graph.ValueID{x, weight, bias}, []graph.Attr{graph.Float(eps)}})
		}
		return all
	}
	if m := b.is(v, "multiply"); m != nil && b.vectorOf(m.In[1], m.In[0]) {
		weight = m.In[1]
		if c := take(m.In[0], weight); c != nil {
			return c
		}
	}
	return take(v, graph.None)
}

func guessRope(b *builder, root graph.ValueID, n *graph.Node) []candidate {
	// The last operation is concatenate, behind views if traditional.
	v := b.unviewed(root)
	traditional := false
	first := b.operand(v, "concatenate", 0)
	if first == graph.None {
		return nil
	}
	// Partial and traditional: concatenate(reshape(concatenate(...)), rest).
	if inner := b.operand(b.unviewed(first), "concatenate", 0); inner != graph.None {
		first = inner
	}
	if x := b.operand(first, "expand_dims", 0); x != graph.None {
		first, traditional = x, true
	}
	x1 := b.operand(b.operand(first, "subtract", 0), "multiply", 0)
	theta := b.operand(b.converted(b.operand(b.operand(first, "subtract", 0), "multiply", 1)), "cos", 0)
	x := b.operand(x1, "slice", 0)
	if x == graph.None || theta == graph.None || len(b.shape(x1)) == 0 {
		return nil
	}
	width, ok := b.shape(x1)[len(b.shape(x1))-1].Const()
	if !ok {
		return nil
	}
	if out := b.shape(root); len(out) == len(b.shape(x)) && len(out) > 0 && out[len(out)-1] != b.shape(x)[len(out)-1] {
		// A part of a value that has more: slices of slices are one.
		spans, err := spansOf(b.g, b.node(x1))
		if err != nil || len(spans) != 1 || spans[0].Axis != len(out)-1 {
			return nil
		}
		start := spans[0].Start
		stop := start.Add(out[len(out)-1])
		if n, ok := b.shape(x)[len(out)-1].Sub(stop).Const(); !ok || n < 0 {
			return nil
		}
		x = b.add("slice", []graph.ValueID{x}, graph.DimsOf([]int{-1}), graph.Dims{start}, graph.Dims{stop})
	}
	half := int(width)
	positions, rate := b.operand(theta, "multiply", 0), b.operand(theta, "multiply", 1)
	positions = b.operand(positions, "expand_dims", 0)
	scale := 1.0
	if s, ok := b.scalar(b.operand(positions, "multiply", 1)); ok {
		scale, positions = s, b.operand(positions, "multiply", 0)
	}
	offset := b.offsetGuess(b.operand(positions, "add", 1))
	if offset == graph.None {
		return nil
	}
	attrs := []graph.Attr{graph.N(int64(2 * half)), graph.Flag(traditional), nil, graph.Float(scale)}
	in := []graph.ValueID{x, offset}
	if freqs := b.operand(rate, "divide", 1); freqs != graph.None {
		in = append(in, freqs)
	} else {
		c, ok := b.scalar(b.operand(b.operand(rate, "exp", 0), "multiply", 1))
		if !ok {
			return nil
		}
		base, ok := ropeBase(c, half)
		if !ok {
			return nil
		}
		attrs[2] = graph.Float(base)
	}
	return []candidate{{"rope", in, attrs}}
}

// offsetGuess returns the integer offset whose conversion was added to positions.
func (b *builder) offsetGuess(v graph.ValueID) graph.ValueID {
	if v == graph.None {
		return graph.None
	}
	if n, ok := b.scalar(v); ok { // a conversion of a constant is folded
		if n != math.Trunc(n) || math.Abs(n) > 1<<24 {
			return graph.None
		}
		return b.number(graph.Int32, n)
	}
	v = b.converted(v)
	if x := b.operand(v, "expand_dims", 0); x != graph.None && len(b.shape(v)) == 3 {
		v = b.converted(x) // one offset for each sequence
	}
	if !b.dtype(v).IsInteger() || len(b.shape(v)) > 1 {
		return graph.None
	}
	return v
}

// ropeBase finds a base whose log(base)/half is the constant c, bit for bit: of all
// such float32 the one that is shortest to write, as people choose them.
func ropeBase(c float64, half int) (float64, bool) {
	if half < 1 || math.IsNaN(c) || math.IsInf(c, 0) {
		return 0, false
	}
	near := math.Exp(c * float64(half))
	for digits := 1; digits <= 9; digits++ {
		base, err := strconv.ParseFloat(strconv.FormatFloat(near, 'e', digits-1, 64), 32)
		if err == nil && base > 0 && ropeRate(base, half) == c {
			return base, true
		}
	}
	// near is off by the error of c; look around.
	up, down := float32(near), float32(near)
	for range 64 {
		for _, f := range []float32{up, down} {
			if f > 0 && ropeRate(float64(f), half) == c {
				return float64(f), true
			}
		}
		up, down = math.Nextafter32(up, math.MaxFloat32), math.Nextafter32(down, 0)
	}
	return 0, false
}

func guessKVAppend(b *builder, root graph.ValueID, n *graph.Node) []candidate {
	if !isRowAxis(n.Attrs[0]) || len(b.shape(root)) != 4 || b.node(n.In[0]).Op.Name != "input" {
		return nil
	}
	offset := n.In[2]
	if x := b.unviewed(offset); len(b.shape(x)) == 0 {
		offset = x
	}
	return []candidate{{"kv_append", []graph.ValueID{n.In[0], n.In[1], offset}, nil}}
}

func guessDequantize(b *builder, root graph.ValueID, n *graph.Node) []candidate {
	sum := b.operand(root, "reshape", 0)
	scaled, biases := b.operand(sum, "add", 0), b.operand(b.operand(sum, "add", 1), "expand_dims", 0)
	if biases == graph.None { // scales of another type than biases
		biases = b.operand(b.converted(b.operand(sum, "add", 1)), "expand_dims", 0)
	}
	scales := b.operand(b.operand(b.converted(scaled), "multiply", 1), "expand_dims", 0)
	unpacked := b.operand(b.converted(scaled), "multiply", 0)
	if biases == graph.None || scales == graph.None || len(b.shape(unpacked)) < 3 {
		return nil
	}
	shape := b.shape(unpacked)
	group, ok := shape[len(shape)-1].Const()
	if !ok {
		return nil
	}
	v := b.unviewed(b.converted(unpacked))
	var w graph.ValueID
	var bits int64
	if part := b.operand(b.operand(v, "concatenate", 0), "expand_dims", 0); part != graph.None {
		// The first part of a word: (w << 32-bits) >> 32-bits.
		w = b.operand(b.operand(part, "right_shift", 0), "left_shift", 0)
		shift, ok := b.scalar(b.operand(part, "right_shift", 1))
		if !ok {
			return nil
		}
		bits = 32 - int64(shift)
	} else {
		shifted := b.operand(v, "sum", 0)
		s := b.shape(b.operand(shifted, "left_shift", 1))
		if len(s) != 1 {
			return nil
		}
		bits, _ = s[0].Const()
		words := b.unviewed(b.operand(shifted, "left_shift", 0))
		w = b.operand(b.operand(b.operand(words, "bitwise_and", 0), "right_shift", 0), "expand_dims", 0)
	}
	if w == graph.None || bits < 2 || bits > 8 {
		return nil
	}
	return []candidate{{"dequantize", []graph.ValueID{w, scales, biases}, []graph.Attr{graph.N(group), graph.N(bits)}}}
}

func guessSDPA(b *builder, root graph.ValueID, n *graph.Node) []candidate {
	grouped := n.Op.Name == "flatten"
	product := n
	if grouped {
		if product = b.is(n.In[0], "matmul"); product == nil || len(b.shape(n.In[0])) != 5 {
			return nil
		}
	}
	probabilities, v := product.In[0], product.In[1]
	sinks := graph.None
	scores := b.operand(probabilities, "softmax", 0)
	if scores == graph.None {
		cut := b.operand(probabilities, "slice", 0)
		both := b.is(b.operand(cut, "softmax", 0), "concatenate")
		if both == nil || len(both.In) != 2 {
			return nil
		}
		scores = both.In[1]
		sinks = b.unviewed(b.repeated(both.In[0]))
		if len(b.shape(sinks)) != 1 {
			return nil
		}
	}
	// The mask, then scale * q @ k.T.
	mask := graph.None
	if where := b.is(scores, "where"); where != nil {
		mask, scores = where.In[0], where.In[1]
	} else if add := b.is(scores, "add"); add != nil {
		scores, mask = add.In[0], add.In[1]
	}
	dot := b.is(scores, "matmul")
	if dot == nil {
		return nil
	}
	// Undoing views by views: they fold to what was there before.
	q, k := dot.In[0], b.swapLast(dot.In[1])
	if grouped {
		if len(b.shape(q)) != 5 || len(b.shape(k)) != 5 || len(b.shape(v)) != 5 || !b.shape(k)[2].Is(1) || !b.shape(v)[2].Is(1) {
			return nil
		}
		q = b.add("flatten", []graph.ValueID{q}, graph.N(1), graph.N(2))
		two := graph.Dims{graph.N(2)}
		k, v = b.add("squeeze", []graph.ValueID{k}, two), b.add("squeeze", []graph.ValueID{v}, two)
	}
	scale, ok := b.scalar(b.operand(q, "multiply", 0))
	if q = b.operand(q, "multiply", 1); !ok || len(b.shape(q)) != 4 || len(b.shape(k)) != 4 || len(b.shape(v)) != 4 {
		return nil
	}
	// A scale that the element type rounded: most likely head_dim ** -0.5.
	if d, ok := b.shape(q)[3].Const(); ok && d > 0 {
		if usual := math.Pow(float64(d), -0.5); graph.Round(b.dtype(q), usual) == scale {
			scale = usual
		}
	}
	guess := func(word string, array graph.ValueID, window, kvLen graph.Attr) candidate {
		return candidate{"sdpa", []graph.ValueID{q, k, v, array, sinks}, []graph.Attr{graph.Float(scale), graph.Str(word), window, kvLen}}
	}
	if mask == graph.None {
		return []candidate{guess("none", graph.None, nil, nil)}
	}
	var all []candidate
	if offset := b.offsetOf(k); offset != graph.None {
		seen := graph.Sym(graph.SymKVLen)
		if b.isRing(offset) {
			seen = graph.Sym(graph.SymWindowLen)
		}
		if window, ok := b.windowOf(b.repeated(mask)); ok {
			all = append(all, guess("window", graph.None, graph.N(window), seen))
		} else if b.shape(q)[2].Is(1) {
			all = append(all, guess("none", graph.None, nil, seen))
		} else {
			all = append(all, guess("causal", graph.None, nil, seen))
		}
	}
	all = append(all, guess("causal", graph.None, nil, nil))
	for _, m := range []graph.ValueID{b.repeated(mask), mask} {
		if len(b.shape(m)) <= 4 {
			all = append(all, guess("array", m, nil, nil))
		}
	}
	return all
}

// windowOf returns the size of a window from its mask: rows >= columns and
// rows < columns + size.
func (b *builder) windowOf(mask graph.ValueID) (int64, bool) {
	ends := b.operand(b.operand(mask, "logical_and", 1), "less", 1)
	size, ok := b.scalar(b.operand(ends, "add", 1))
	return int64(size), ok && size >= 1 && size == math.Trunc(size) && size <= 1<<30
}

// repeated returns what v repeats, if it is a view of a broadcast; else v without
// its views.
func (b *builder) repeated(v graph.ValueID) graph.ValueID {
	x := b.unviewed(v)
	if n := b.is(x, "broadcast_to"); n != nil {
		return n.In[0]
	}
	if len(b.shape(v)) == 5 {
		// [b, g, h/g, l, m] to [b, h, l, m]
		return b.add("flatten", []graph.ValueID{v}, graph.N(1), graph.N(2))
	}
	return v
}
