//go:build mlx

package mlx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
)

// plan is one case of a program, ready to run: what a step has to look up, and
// nothing that it would have to find out again.
type plan struct {
	c       *graph.Case
	ops     []op
	symbols []graph.Dim // the dimensions and attributes with symbols, each once
	checks  []*check
	inputs  []input
	outputs []output
	params  []slotParam
	consts  []slotArray
	gpu     []*gpuKernel // made so far
	// gradients are the plans of kernels' gradients, of which the graph was differentiated.
	gradients []*plan
}

// op is a node of the graph.
type op struct {
	emit emit     // nil if there is many
	many emitMany // of kernels and ops with several results
	in   []graph.ValueID
	out  []graph.ValueID
	node *graph.Node // for messages
}

type input struct {
	slot graph.ValueID
	name string
}

type output struct {
	slot  graph.ValueID
	name  string
	dtype graph.DType
	shape dims
}

type slotParam struct {
	slot graph.ValueID
	*param
}

type slotArray struct {
	slot graph.ValueID
	array
}

// dim is a dimension or an integer attribute: a number, or an entry of the plan's
// symbols.
type dim struct{ n, symbol int }

func (d dim) in(f *frame) int {
	if d.symbol < 0 {
		return d.n
	}
	return f.symbols[d.symbol]
}

// dims is a list of them; all is the list if all are numbers.
type dims struct {
	all  []int
	list []dim
}

// in returns the numbers. They must not be changed, and are good for this step.
func (d dims) in(f *frame) []int {
	if d.all != nil {
		return d.all
	}
	out := f.some(make([]int, len(d.list))...)
	for i, x := range d.list {
		out[i] = x.in(f)
	}
	return out
}

// node is a node while its emit is being made.
type node struct {
	*graph.Node
	plan  *plan
	types []graph.Type // of the operands; NoDType for absent ones
	call  *graph.Call
}

func (p *plan) dim(d graph.Dim) dim {
	if n, ok := d.Const(); ok {
		return dim{n: int(n), symbol: -1}
	}
	i := slices.Index(p.symbols, d)
	if i < 0 {
		i = len(p.symbols)
		p.symbols = append(p.symbols, d)
	}
	return dim{symbol: i}
}

func (p *plan) dims(list []graph.Dim) dims {
	out := dims{all: make([]int, len(list)), list: make([]dim, len(list))}
	for i, d := range list {
		out.list[i] = p.dim(d)
		if out.list[i].symbol >= 0 {
			out.all = nil
		} else if out.all != nil {
			out.all[i] = out.list[i].n
		}
	}
	return out
}

// Attributes of a node. number and numbers are for those that inference allows to
// be numbers only; numbers is never nil, since MLX takes that for all axes.
func (n *node) dim(name string) dim   { return n.plan.dim(n.Attr(name).(graph.Dim)) }
func (n *node) dims(name string) dims { return n.plan.dims(n.Attr(name).(graph.Dims)) }
func (n *node) number(name string) int {
	return n.Attr(name).(graph.Dim).Int()
}
func (n *node) numbers(name string) []int {
	list := n.Attr(name).(graph.Dims)
	out := make([]int, len(list))
	for i, d := range list {
		out[i] = d.Int()
	}
	return out
}
func (n *node) flag(name string) bool  { f, _ := n.Attr(name).(graph.Flag); return bool(f) }
func (n *node) str(name string) string { s, _ := n.Attr(name).(graph.Str); return string(s) }
func (n *node) float(name string) float32 {
	f, _ := n.Attr(name).(graph.Float)
	return float32(f)
}

func (n *node) quantization() quantization {
	return quantization{mode: n.str("mode"), groupSize: n.number("group_size"), bits: n.number("bits")}
}

// shape returns the dimensions of an operand, length one of them.
func (n *node) shape(operand int) dims { return n.plan.dims(n.types[operand].Shape) }
func (n *node) length(operand, axis int) dim {
	d, _ := n.types[operand].Dim(axis)
	return n.plan.dim(d)
}

// spans returns what slice and slice_update take of each axis.
func (n *node) spans() (start, stop dims, step []int) {
	shape := n.types[0].Shape
	from, to := make([]graph.Dim, len(shape)), slices.Clone(shape)
	step = make([]int, len(shape))
	for i := range step {
		step[i] = 1
	}
	spans, err := n.call.Spans()
	if err != nil {
		panic(err) // inference has asked for them before
	}
	for _, s := range spans {
		from[s.Axis], to[s.Axis], step[s.Axis] = s.Start, s.Stop, int(s.Stride)
	}
	return n.plan.dims(from), n.plan.dims(to), step
}

// newPlan compiles a case. params gives the parameters by name. The plan is to be
// released even if there is an error.
func newPlan(e *mlxEngine, s *scope, c *graph.Case, params map[string]*param) (*plan, error) {
	g := c.Graph
	p := &plan{c: c}
	for _, id := range g.Inputs() {
		p.inputs = append(p.inputs, input{id, g.InputName(id)})
	}
	for name, id := range g.Params() {
		p.params = append(p.params, slotParam{id, params[name]})
	}
	for _, o := range g.Outputs() {
		t := g.Type(o.Value)
		p.outputs = append(p.outputs, output{o.Value, o.Name, t.DType, p.dims(t.Shape)})
	}
	checks := map[string]*check{}
	for i := range g.NumNodes() {
		n := g.Node(graph.NodeID(i))
		if l := g.Literal(n.Out[0]); l != nil {
			p.consts = append(p.consts, slotArray{n.Out[0], s.keep(s.fromBytes(l.Data, l.Shape, l.DType))})
			if s.err != nil {
				return p, s.err
			}
		}
		if n.Op.IsLeaf() {
			continue
		}
		o, err := p.compile(e, g, n)
		if err != nil {
			return p, err
		}
		p.ops = append(p.ops, o)
		if syms := symbolsOf(g, n); len(syms) > 0 {
			key := strings.Join(syms, " ")
			if checks[key] == nil {
				checks[key] = &check{symbols: syms, passed: make([]int64, len(syms))}
				p.checks = append(p.checks, checks[key])
			}
			checks[key].nodes = append(checks[key].nodes, n)
		}
	}
	return p, nil
}

func (p *plan) release() {
	for _, c := range p.consts {
		c.release()
	}
	for _, k := range p.gpu {
		k.free()
	}
	p.gpu = nil
	for _, g := range p.gradients {
		g.release()
	}
}

func (p *plan) compile(e *mlxEngine, g *graph.Graph, n *graph.Node) (op, error) {
	in := slices.Clone(n.In)
	for !n.Op.Variadic && len(in) < len(n.Op.Operands) {
		in = append(in, graph.None)
	}
	x := &node{Node: &graph.Node{Op: n.Op, In: in, Out: n.Out, Attrs: n.Attrs, Scope: n.Scope}, plan: p, types: typesOf(g, in)}
	x.call = &graph.Call{Op: n.Op, In: x.types, Attrs: n.Attrs}
	o := op{in: in, out: n.Out, node: n}
	if n.Op.IsKernel() {
		var err error
		o.many, err = p.kernelOf(e, g, x)
		return o, err
	}
	if many := manyEmitters[n.Op.Name]; many != nil {
		o.many = many(x)
		return o, nil
	}
	make := emitters[n.Op.Name]
	if make == nil {
		return op{}, diag.Errorf("engine/op", diag.Pos{}, "the MLX engine has no op %s", n.Op.Name).WithScope(n.Scope)
	}
	o.emit = make(x)
	return o, nil
}

func typesOf(g *graph.Graph, values []graph.ValueID) []graph.Type {
	types := make([]graph.Type, len(values))
	for i, v := range values {
		types[i].DType = graph.NoDType
		if v != graph.None {
			types[i] = g.Type(v)
		}
	}
	return types
}

// check is inference with numbers, for the nodes whose types and attributes depend
// on the same symbols. MLX itself clamps positions and counts negative ones from
// the end, and so would compute something else where inference with symbols was too
// hopeful. It is done again only when one of the symbols has another value, which
// in decoding is true for a few nodes a layer.
type check struct {
	symbols []string
	nodes   []*graph.Node
	passed  []int64 // the values that the nodes were last checked with
	done    bool
}

func symbolsOf(g *graph.Graph, n *graph.Node) []string {
	var syms []string
	add := func(list []graph.Dim) {
		for _, d := range list {
			syms = d.Symbols(syms)
		}
	}
	for _, v := range slices.Concat(n.In, n.Out) {
		if v != graph.None {
			add(g.Type(v).Shape)
		}
	}
	for _, a := range n.Attrs {
		switch a := a.(type) {
		case graph.Dim:
			add([]graph.Dim{a})
		case graph.Dims:
			add(a)
		}
	}
	slices.Sort(syms)
	return syms
}

func (c *check) run(g *graph.Graph, env map[string]int64) error {
	same := c.done
	for i, s := range c.symbols {
		v, ok := env[s]
		if !ok {
			return diag.Errorf("engine/input", diag.Pos{}, "symbol %s is bound by no input and not given", s)
		}
		same = same && c.passed[i] == v
	}
	if same {
		return nil
	}
	c.done = false
	for i, s := range c.symbols {
		c.passed[i] = env[s]
	}
	for _, n := range c.nodes {
		if err := checkNode(g, n, env); err != nil {
			return diag.Errorf("engine/op", diag.Pos{}, "%s: %v", n.Op.Name, err).WithScope(n.Scope)
		}
	}
	c.done = true
	return nil
}

func checkNode(g *graph.Graph, n *graph.Node, env map[string]int64) error {
	types := typesOf(g, n.In)
	for i := range types {
		t, err := numbersOf(types[i].Shape, env)
		if err != nil {
			return err
		}
		types[i].Shape = t
	}
	attrs := slices.Clone(n.Attrs)
	for i, a := range attrs {
		var err error
		switch a := a.(type) {
		case graph.Dim:
			attrs[i], err = numberOf(a, env)
		case graph.Dims:
			var list []graph.Dim
			list, err = numbersOf(a, env)
			attrs[i] = graph.Dims(list)
		}
		if err != nil {
			return fmt.Errorf("attribute %s: %w", n.Op.Attrs[i].Name, err)
		}
	}
	_, results, err := graph.Infer(n.Op, types, attrs)
	if err != nil {
		return err
	}
	for i, v := range n.Out {
		want, err := numbersOf(g.Type(v).Shape, env)
		if err != nil {
			return err
		}
		if !slices.Equal(results[i].Shape, want) {
			return fmt.Errorf("the result is %s, but the graph says %s", results[i], g.Type(v))
		}
	}
	return nil
}

// numberOf evaluates a dimension. A plain number may be negative, a position from
// the end; a symbol that comes out so is an error.
func numberOf(d graph.Dim, env map[string]int64) (graph.Dim, error) {
	if _, ok := d.Const(); ok {
		return d, nil
	}
	v, err := d.Eval(env)
	if err == nil && v < 0 {
		err = fmt.Errorf("%s is %d", d, v)
	}
	return graph.N(v), err
}

func numbersOf(list []graph.Dim, env map[string]int64) ([]graph.Dim, error) {
	out := make([]graph.Dim, len(list))
	for i, d := range list {
		var err error
		if out[i], err = numberOf(d, env); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// frame is a step under way.
type frame struct {
	*scope
	values  []array
	host    []host // what is known of the inputs' elements
	symbols []int
	operand []array
	ints    []int // room for lists of the step

	env            map[string]int64
	each           func(engine.Traced) // is told of each node, which is computed at once; nil for none
	differentiated bool                // kernels are to be launched so that MLX can differentiate
	bug            any                 // of a panic in a function that MLX called
}

// host is what is known of an array's elements without asking the device: those of
// integers that the caller gave.
type host struct {
	low, high int64   // of all elements, if bounded
	values    []int64 // the elements, if they are few
	bounded   bool
}

// few is how many elements a host keeps: an offset for each sequence of a batch.
const few = 16

// hostOf looks at the elements of a new tensor.
func hostOf(t graph.DType, data []byte) host {
	if !t.IsInteger() || len(data) == 0 {
		return host{}
	}
	h := host{low: math.MaxInt64, high: math.MinInt64, bounded: true}
	size := t.Size()
	for i := 0; i < len(data); i += size {
		v, ok := integer(t, data[i:i+size])
		if !ok {
			return host{}
		}
		h.low, h.high = min(h.low, v), max(h.high, v)
		if len(data) <= few*size {
			h.values = append(h.values, v)
		}
	}
	return h
}

func integer(t graph.DType, b []byte) (int64, bool) {
	switch t {
	case graph.Int8:
		return int64(int8(b[0])), true
	case graph.Uint8:
		return int64(b[0]), true
	case graph.Int16:
		return int64(int16(binary.LittleEndian.Uint16(b))), true
	case graph.Uint16:
		return int64(binary.LittleEndian.Uint16(b)), true
	case graph.Int32:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case graph.Uint32:
		return int64(binary.LittleEndian.Uint32(b)), true
	case graph.Int64:
		return int64(binary.LittleEndian.Uint64(b)), true
	case graph.Uint64:
		v := binary.LittleEndian.Uint64(b)
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

// some returns a copy of list that is good for this step.
func (f *frame) some(list ...int) []int {
	at := len(f.ints)
	f.ints = append(f.ints, list...)
	return f.ints[at:len(f.ints):len(f.ints)]
}

// within checks indices that are known: MLX counts negative ones from the end.
func (f *frame) within(op string, indices graph.ValueID, n int) bool {
	h := f.host[indices]
	if h.bounded && (h.low < int64(-n) || h.high >= int64(n)) {
		f.refuse(op, "indices %d to %d are not all in an axis of %d", h.low, h.high, n)
		return false
	}
	return true
}

// value returns the one integer in a, which is computed now if it is not known.
func (f *frame) value(slot graph.ValueID, a array) (int, bool) {
	at := f.host[slot].values
	if len(at) == 0 {
		return f.itemInt(a), f.err == nil
	}
	if len(at) != 1 || at[0] != int64(int32(at[0])) {
		f.refuse("item", "want one position, have %v", at)
		return 0, false
	}
	return int(at[0]), true
}

// constant makes a scalar.
func (f *frame) constant(v int32) array {
	return f.fromBytes(binary.LittleEndian.AppendUint32(nil, uint32(v)), nil, graph.Int32)
}

// prepare evaluates and checks what depends on symbols.
func (p *plan) prepare(f *frame, env map[string]int64) error {
	for _, c := range p.checks {
		if err := c.run(p.c.Graph, env); err != nil {
			return err
		}
	}
	shape, err := engine.Shape(p.symbols, env)
	f.symbols, f.env = shape, env
	return err
}
