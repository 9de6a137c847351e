package models

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// sortedFrom is the number of chosen experts from which mlx-lm sorts tokens by
// expert (switch_layers.py: indices.size >= 64).
const sortedFrom = 64

// Build makes the program of a configuration: cases for one token (decode) and
// for several (prefill), and for models with experts, one each for few and for
// many chosen experts.
//
// Inputs are tokens int32[batch, seq_len], offset int32[] (the number of rows that
// the caches hold), and for layer N of those that attend, cache.N.keys and
// cache.N.values [batch, n_kv_heads, kv_cap, head_dim]. Of a layer with a sliding
// window the caches have window_cap rows, and the first of the new rows goes to
// window_offset int32[]. What else a layer keeps is cache.N.NAME, of one size. Outputs
// are logits [batch, seq_len, vocab] and the caches with seq_len rows more.
//
// src gives the weights' types; it is nil for a configuration alone. The error is
// a diag.List of all that does not fit.
func Build(c *Config, src TypeSource) (*graph.Program, error) {
	p := newParams(c, src)
	prog := &graph.Program{Name: c.ModelType}
	if n, ok := c.net.(slider); ok {
		prog.Window = n.window()
	}
	shapes := caseShapes(c.net.expertsPerToken())
	if n, ok := c.net.(splitter); ok {
		shapes = splitShapes(shapes, n.splitAt())
	}
	for _, s := range shapes {
		b := &builder{config: c, params: p, g: graph.New(), caseShape: s, shared: map[*graph.Literal]value{}, scalars: map[scalar]value{}}
		m := module{b: b}
		tokens := b.g.Input("tokens", graph.T(graph.Int32, s.batch, s.seqLen))
		b.offset = b.g.Input("offset", graph.T(graph.Int32))
		if prog.Window > 0 {
			b.windowOffset = b.g.Input("window_offset", graph.T(graph.Int32))
		}
		logits := c.net.forward(m, tokens)
		if b.err != nil {
			p.issues.Add(b.err)
			break // the other cases would only say it again
		}
		b.g.Output("logits", logits)
		for _, o := range b.state {
			b.g.Output(o.Name, o.Value)
		}
		if err := b.g.Compact(); err != nil {
			return nil, err
		}
		prog.Cases = append(prog.Cases, graph.Case{Name: s.name, When: s.when, Graph: b.g})
	}
	p.reportAdapter()
	p.reportUnused(c.net.drops)
	if err := p.issues.Err(); err != nil {
		return nil, err
	}
	prog.Params = p.list()
	return prog, nil
}

// caseShape is what the graph of one case is built for.
type caseShape struct {
	name          string
	when          graph.Cond
	batch, seqLen graph.Dim
	sorted        bool // tokens are sorted by expert
	beyond        bool // the caches hold more rows than a splitter's splitAt
}

// caseShapes lists the cases of a model that chooses k experts for each token.
// Their conditions exclude each other.
func caseShapes(k int) []caseShape {
	batch, seqLen, one := graph.Sym(graph.SymBatch), graph.Sym(graph.SymSeqLen), graph.N(1)
	decode := caseShape{name: "decode", when: graph.Compare(seqLen, graph.EQ, one), batch: batch, seqLen: one}
	prefill := caseShape{name: "prefill", when: graph.Compare(seqLen, graph.GT, one), batch: batch, seqLen: seqLen}
	if k == 0 {
		return []caseShape{decode, prefill}
	}
	// batch*seq_len*k >= 64, solved for what a call brings.
	from := graph.N(int64(sortedFrom+k-1) / int64(k))
	var all []caseShape
	for _, s := range []caseShape{decode, prefill} {
		tokens := batch.Mul(s.seqLen)
		few, many := s, s
		few.when = graph.And(s.when, graph.Compare(tokens, graph.LT, from))
		many.when = graph.And(s.when, graph.Compare(tokens, graph.GE, from))
		many.name, many.sorted = s.name+"_sorted", true
		if !from.Is(1) { // else even one token is many
			all = append(all, few)
		} else {
			many.when = s.when
		}
		all = append(all, many)
	}
	return all
}

// splitShapes makes two cases of each: for caches with up to n rows, and for more.
func splitShapes(shapes []caseShape, n int) []caseShape {
	var all []caseShape
	for _, s := range shapes {
		rows := graph.Sym(graph.SymKVLen)
		few, more := s, s
		few.when = graph.And(s.when, graph.Compare(rows, graph.LE, graph.N(int64(n))))
		more.when = graph.And(s.when, graph.Compare(rows, graph.GT, graph.N(int64(n))))
		more.name, more.beyond = s.name+"_sparse", true
		all = append(all, few, more)
	}
	return all
}

// value is a value of the graph being built.
type value = graph.ValueID

// builder builds the graph of one case. The first error sticks: later calls do
// nothing, so that the model's code can be read without error checks.
type builder struct {
	caseShape
	config *Config
	params *params
	g      *graph.Graph
	offset value
	// windowOffset is there if the program has a window.
	windowOffset value
	state        []graph.Output // caches, in the order of the layers
	shared       map[*graph.Literal]value
	scalars      map[scalar]value
	err          *diag.Issue
}

// module is the place in the model where operations are added: self in mlx-lm's
// classes. The path is part of parameters' names and the scope of nodes.
type module struct {
	b    *builder
	path string
}

// sub returns the module of that name inside m.
func (m module) sub(name string) module {
	if m.path != "" {
		name = m.path + "." + name
	}
	return module{m.b, name}
}

// layer returns the module of layer i of a list.
func (m module) layer(i int) module { return m.sub(fmt.Sprintf("layers.%d", i)) }

// add adds a node of one result.
func (m module) add(op *graph.Op, in []value, attrs ...graph.Attr) value {
	if m.b.err != nil {
		return 0
	}
	out, err := m.b.g.Add(op, m.path, in, attrs...)
	if err != nil {
		m.b.err = diag.Errorf("models/build", diag.Pos{File: m.b.config.File}, "%v", err).WithScope(m.path)
		return 0
	}
	return out[0]
}

// constant returns the value of a constant that several layers may use.
func (m module) constant(l *graph.Literal) value {
	id, ok := m.b.shared[l]
	if !ok {
		id = m.b.g.Constant(l)
		m.b.shared[l] = id
	}
	return id
}

// scalar is a number that a model's code computes with.
type scalar struct {
	t graph.DType
	v float64
}

// scalar returns the constant v of type t, which all who need it share.
func (m module) scalar(t graph.DType, v float64) value {
	key := scalar{t, v}
	id, ok := m.b.scalars[key]
	if !ok {
		id = m.b.g.Scalar(t, v)
		m.b.scalars[key] = id
	}
	return id
}

// scalarOf is a Python number beside x: it has the element type of x.
func (m module) scalarOf(x value, v float64) value { return m.scalar(m.typeOf(x).DType, v) }

func (m module) typeOf(x value) graph.Type {
	if m.b.err != nil {
		return graph.T(graph.Float32, graph.N(1), graph.N(1), graph.N(1), graph.N(1))
	}
	return m.b.g.Type(x)
}

// width returns the length of the last axis of x, which is always a number in the
// activations of a model.
func (m module) width(x value) int { d, _ := m.typeOf(x).Dim(-1); return d.Int() }

func mustOp(name string) *graph.Op {
	if op := graph.LookupOp(name); op != nil {
		return op
	}
	panic("models: no op " + name)
}

var (
	opAdd, opMultiply, opDivide  = mustOp("add"), mustOp("multiply"), mustOp("divide")
	opFloorDivide, opSigmoid     = mustOp("floor_divide"), mustOp("sigmoid")
	opNegative, opErf, opTanh    = mustOp("negative"), mustOp("erf"), mustOp("tanh")
	opPower, opMinimum           = mustOp("power"), mustOp("minimum")
	opAstype, opSum, opSoftmax   = mustOp("astype"), mustOp("sum"), mustOp("softmax")
	opMatmul, opAddmm            = mustOp("matmul"), mustOp("addmm")
	opQuantizedMatmul            = mustOp("quantized_matmul")
	opDequantize                 = mustOp("dequantize")
	opGatherQMM, opGatherMM      = mustOp("gather_qmm"), mustOp("gather_mm")
	opArgsort, opArgpartition    = mustOp("argsort"), mustOp("argpartition")
	opTake, opTakeAlong, opSlice = mustOp("take"), mustOp("take_along_axis"), mustOp("slice")
	opReshape, opTranspose       = mustOp("reshape"), mustOp("transpose")
	opFlatten, opUnflatten       = mustOp("flatten"), mustOp("unflatten")
	opExpandDims, opSqueeze      = mustOp("expand_dims"), mustOp("squeeze")
	opPartition, opPutAlong      = mustOp("partition"), mustOp("put_along_axis")
	opArange, opGreaterEqual     = mustOp("arange"), mustOp("greater_equal")
	opWhere, opMaximum           = mustOp("where"), mustOp("maximum")
	opLayerNorm, opBitwiseAnd    = mustOp("layer_norm"), mustOp("bitwise_and")
	opBroadcastTo                = mustOp("broadcast_to")
	opSquare, opSqrt             = mustOp("square"), mustOp("sqrt")
	opRMSNorm, opRope, opSDPA    = mustOp("rms_norm"), mustOp("rope"), mustOp("sdpa")
	opConcatenate, opConv1D      = mustOp("concatenate"), mustOp("conv1d")
	opKVAppend, opSliceUpdate    = mustOp("kv_append"), mustOp("slice_update")
	opGatedDelta, opExp          = mustOp("gated_delta"), mustOp("exp")
	opLogAddExp, opSubtract      = mustOp("logaddexp"), mustOp("subtract")
)

func dims(list ...int) graph.Dims {
	out := make(graph.Dims, len(list))
	for i, n := range list {
		out[i] = graph.N(int64(n))
	}
	return out
}

// The operations that several blocks use, under mlx.core's names.

func (m module) plus(a, b value) value     { return m.add(opAdd, []value{a, b}) }
func (m module) multiply(a, b value) value { return m.add(opMultiply, []value{a, b}) }
func (m module) divide(a, b value) value   { return m.add(opDivide, []value{a, b}) }
func (m module) reshape(a value, shape ...graph.Dim) value {
	return m.add(opReshape, []value{a}, graph.Dims(shape))
}
func (m module) transpose(a value, axes ...int) value {
	return m.add(opTranspose, []value{a}, dims(axes...))
}
func (m module) take(a, indices value, axis int) value {
	return m.add(opTake, []value{a, indices}, graph.N(int64(axis)))
}
func (m module) expandDims(a value, axes ...int) value {
	return m.add(opExpandDims, []value{a}, dims(axes...))
}

// number is a Python number beside an array of that type: it is one in float32 first.
func (m module) number(t graph.DType, v float64) value {
	return m.b.g.Scalar(t, float64(float32(v)))
}

// astype is the conversion to another type; to its own it is nothing.
func (m module) astype(x value, t graph.DType) value {
	if m.typeOf(x).DType == t {
		return x
	}
	return m.add(opAstype, []value{x}, t)
}

// rmsNorm is nn.RMSNorm, the module of that name in m.
func (m module) rmsNorm(name string, x value, eps float64) value {
	w := m.sub(name).param("weight", m.width(x))
	return m.add(opRMSNorm, []value{x, w}, graph.Float(eps))
}

// linear is nn.Linear or nn.QuantizedLinear, the module of that name in m.
func (m module) linear(name string, x value, outputs int, bias bool) value {
	at := m.sub(name)
	inputs := m.width(x)
	w := at.matrix(outputs, inputs)
	if m.path == "" {
		m = at // lm_head stands in no block that could be its scope
	}
	l := at.lora(kindLinear, func(rank int) (a, b []int) { return []int{inputs, rank}, []int{rank, outputs} })
	b := graph.None
	if bias {
		b = at.param("bias", outputs)
	}
	switch {
	case l == nil:
		return m.affine(x, w, b)
	case l.dora:
		return l.doraLinear(m, x, w, b)
	}
	return l.linear(m, x, m.affine(x, w, b))
}

// affine is nn.Linear's or nn.QuantizedLinear's product with a bias, if that is not graph.None.
func (m module) affine(x value, w matrix, bias value) value {
	switch {
	case w.quant != nil:
		x = m.quantizedMatmul(x, w)
		if bias != graph.None {
			x = m.plus(x, bias)
		}
		return x
	case bias != graph.None:
		return m.add(opAddmm, []value{bias, x, m.transpose(w.weight, 1, 0)})
	}
	return m.add(opMatmul, []value{x, m.transpose(w.weight, 1, 0)})
}

func (m module) quantizedMatmul(x value, w matrix) value {
	return m.add(opQuantizedMatmul, []value{x, w.weight, w.scales, w.biases},
		graph.Flag(true), w.groupSize(), w.bits(), w.mode())
}

// embedding is nn.Embedding or nn.QuantizedEmbedding; m is the module itself.
func (m module) embedding(tokens value, vocab, width int) value {
	w := m.matrix(vocab, width)
	x := m.take(w.weight, tokens, 0)
	if w.quant != nil {
		biases := graph.None
		scales := m.take(w.scales, tokens, 0)
		if w.biases != graph.None {
			biases = m.take(w.biases, tokens, 0)
		}
		x = m.add(opDequantize, []value{x, scales, biases}, w.groupSize(), w.bits(), w.mode())
	}
	if l := m.loraEmbedding(vocab, width); l != nil {
		return l.embedding(m, tokens, x)
	}
	return x
}

func (m module) loraEmbedding(vocab, width int) *lora {
	return m.lora(kindEmbedding, func(rank int) (a, b []int) { return []int{vocab, rank}, []int{rank, width} })
}

// asLinear is Embedding.as_linear, the head of a model with tied embeddings.
func (m module) asLinear(x value, vocab int) value {
	width := m.width(x)
	y := m.affine(x, m.matrix(vocab, width), graph.None)
	if l := m.loraEmbedding(vocab, width); l != nil {
		return l.asLinear(m, x, y)
	}
	return y
}

// cached appends new rows to a cache of layer number layer, "keys" or "values",
// and returns the whole of it. The cache becomes an input and a result.
func (m module) cached(layer int, kind string, rows value) value {
	return m.appended(layer, kind, rows, graph.SymKVCap, m.b.offset)
}

// slid is cached for a layer with a sliding window, of which attention sees
// graph.SymWindowLen rows.
func (m module) slid(layer int, kind string, rows value) value {
	return m.appended(layer, kind, rows, graph.SymWindowCap, m.b.windowOffset)
}

func (m module) appended(layer int, kind string, rows value, capacity string, at value) value {
	if m.b.err != nil {
		return 0
	}
	t := m.typeOf(rows)
	shape := slices.Clone(t.Shape)
	shape[2] = graph.Sym(capacity)
	old := m.state(layer, kind, t.DType, shape...)
	out := m.add(opKVAppend, []value{old, rows, at})
	m.keep(layer, kind, out)
	return out
}

// state is what layer number layer was told to keep under that name: an input, zeros in
// the first call. The layer keeps it again, or something in its place.
func (m module) state(layer int, name string, t graph.DType, shape ...graph.Dim) value {
	if m.b.err != nil {
		return 0
	}
	return m.b.g.Input(stateName(layer, name), graph.T(t, shape...))
}

// keep gives the next call what it will get as state.
func (m module) keep(layer int, name string, x value) {
	m.b.state = append(m.b.state, graph.Output{Name: stateName(layer, name), Value: x})
}

func stateName(layer int, name string) string { return fmt.Sprintf("cache.%d.%s", layer, name) }

// parent returns the path without its last name.
func parent(path string) string { return path[:strings.LastIndexByte(path, '.')] }
